//===- FuseLinears.cpp - Join products that read the same input -----------===//
//
// Q/K/V and gate/up: one product reads and quantises its input once, and has
// enough rows of weights to keep all threads busy. A row of the result is the
// same sequence of operations before and after.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_FUSELINEARSPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// Weights are packed in panels of this many rows, so that a slice begins at a
/// panel's border only if the outputs before it are a multiple of it.
constexpr int64_t panelRows = 16;

Type getWeightType(LinearOp linear) {
  return cast<RankedTensorType>(linear.getWeights()[0].getType())
      .getElementType();
}

int64_t getNumOutputs(LinearOp linear) {
  return cast<RankedTensorType>(linear.getResult().getType()).getShape().back();
}

struct FuseLinearsPass : chorus::impl::FuseLinearsPassBase<FuseLinearsPass> {
  void runOnOperation() override {
    if (chorus::isStepFunction(getOperation()))
      getOperation().walk([&](Block *block) { fuseBlock(*block); });
  }

  void missed(LinearOp linear, const Twine &reason) {
    remark::missed(linear.getLoc(), remark::RemarkOpts::name("fuse-linears")
                                        .category(getArgument())
                                        .function(getOperation().getSymName()))
        << ("product not joined with others of the same input: " + reason)
               .str();
  }

  void fuseBlock(Block &block) {
    llvm::MapVector<Value, SmallVector<LinearOp>> byInput;
    DenseMap<Operation *, unsigned> order;
    for (Operation &op : block) {
      order[&op] = order.size();
      if (auto linear = dyn_cast<LinearOp>(op))
        byInput[linear.getInput()].push_back(linear);
    }
    for (auto &[input, linears] : byInput) {
      if (linears.size() < 2)
        continue;
      llvm::MapVector<Type, SmallVector<LinearOp>> byType;
      for (LinearOp linear : linears) {
        int64_t outputs = getNumOutputs(linear);
        if (linear.getResidual())
          missed(linear, "it has a residual");
        else if (outputs % panelRows)
          missed(linear, "it has " + Twine(outputs) +
                             " outputs, expected a multiple of " +
                             Twine(panelRows));
        else if (!moveWeightsBefore(linear, linears.front(), order))
          missed(linear, "its weights are computed after the first product");
        else
          byType[getWeightType(linear)].push_back(linear);
      }
      for (auto &[type, group] : byType) {
        if (group.size() > 1)
          fuse(group);
        else if (byType.size() > 1)
          missed(group.front(), "no other has weights of its type");
      }
    }
  }

  /// Makes the weights of `linear` available at `first`, or changes nothing.
  static bool moveWeightsBefore(LinearOp linear, LinearOp first,
                                const DenseMap<Operation *, unsigned> &order) {
    // An op of another block that `linear` may use is before `first` as well.
    auto isBefore = [&](Value value, Operation *op) {
      auto it = order.find(value.getDefiningOp());
      return it == order.end() || it->second < order.at(op);
    };
    SmallVector<Operation *> late;
    for (Value weight : linear.getWeights()) {
      if (isBefore(weight, first))
        continue;
      Operation *definition = weight.getDefiningOp();
      if (!isPure(definition) ||
          !llvm::all_of(definition->getOperands(),
                        [&](Value v) { return isBefore(v, first); }))
        return false;
      late.push_back(definition);
    }
    for (Operation *definition : late)
      definition->moveBefore(first);
    return true;
  }

  static void fuse(ArrayRef<LinearOp> group) {
    LinearOp first = group.front();
    SmallVector<Value> weights;
    SmallVector<Location> locations;
    SmallVector<int64_t> terms;
    int64_t outputs = 0;
    for (LinearOp linear : group) {
      llvm::append_range(weights, linear.getWeights());
      for (unsigned i = 0; i < linear.getWeights().size(); ++i)
        terms.push_back(linear.getTermsOf(i));
      locations.push_back(linear.getLoc());
      outputs += getNumOutputs(linear);
    }
    bool namesTerms = llvm::any_of(
        group, [](LinearOp linear) { return linear.getTerms().has_value(); });
    OpBuilder builder(first);
    Location loc = builder.getFusedLoc(locations);
    auto type = cast<RankedTensorType>(first.getResult().getType());
    auto withColumns = [&](int64_t columns) {
      SmallVector<int64_t> shape(type.getShape());
      shape.back() = columns;
      return type.clone(shape);
    };
    Value fused = LinearOp::create(
        builder, loc, withColumns(outputs), first.getInput(), weights, Value(),
        namesTerms ? builder.getDenseI64ArrayAttr(terms) : nullptr);
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, loc, fused);
    SmallVector<OpFoldResult> offsets(sizes.size(), builder.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(sizes.size(), builder.getIndexAttr(1));
    int64_t offset = 0;
    for (LinearOp linear : group) {
      int64_t columns = getNumOutputs(linear);
      offsets.back() = builder.getIndexAttr(offset);
      sizes.back() = builder.getIndexAttr(columns);
      offset += columns;
      Value slice = tensor::ExtractSliceOp::create(builder, linear.getLoc(),
                                                   withColumns(columns), fused,
                                                   offsets, sizes, strides);
      linear.getResult().replaceAllUsesWith(slice);
    }
    for (LinearOp linear : group)
      linear.erase();
  }
};

} // namespace
