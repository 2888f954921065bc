//===- QuantizeActivations.cpp - int8 inputs for block weights ------------===//
//
// Products of int8 rows with weights in blocks are several times faster than
// those of f32 rows. What that costs in accuracy is docs/NumericContract.md's
// subject; the choice is an op, so that the reference has it too.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONSPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// Whether `value`, rounding to the cache aside, holds values of an attention.
bool holdsValues(Value value) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (auto attention = dyn_cast<AttentionOp>(user))
      return attention.getValue() == value;
    return isa<RoundToCacheOp, tensor::ExtractSliceOp>(user) &&
           holdsValues(user->getResult(0));
  });
}

struct QuantizeActivationsPass
    : chorus::impl::QuantizeActivationsPassBase<QuantizeActivationsPass> {
  void runOnOperation() override {
    llvm::MapVector<Value, SmallVector<LinearOp>> readers;
    getOperation().walk([&](LinearOp linear) {
      auto input = cast<RankedTensorType>(linear.getInput().getType());
      auto weight = cast<RankedTensorType>(linear.getWeights()[0].getType());
      if (input.getElementType().isF32() &&
          getBlockFormat(weight.getElementType()))
        readers[linear.getInput()].push_back(linear);
    });
    // An error in the values reaches the result undamped, one in queries and
    // keys only the weights of the sum: values read two terms, all others one.
    for (auto &[input, linears] : readers) {
      auto holds = [](LinearOp linear) {
        return holdsValues(linear.getResult());
      };
      int64_t terms = llvm::any_of(linears, holds) ? 2 : 1;
      OpBuilder builder(&getContext());
      builder.setInsertionPointAfterValue(input);
      Value rounded = QuantizeActivationsOp::create(
          builder, linears.front().getLoc(),
          cast<RankedTensorType>(input.getType())
              .clone(ActQ8Type::get(&getContext(), terms)),
          input);
      for (LinearOp linear : linears) {
        linear.getInputMutable().assign(rounded);
        if (!holds(linear) && terms > 1)
          linear.setTerms(SmallVector<int64_t>(linear.getWeights().size(), 1));
      }
    }
  }
};

} // namespace
