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

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONSPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// Whether `value`, token-wise ops aside, is a query, key or value of an
/// attention.
bool feedsAttention(Value value) {
  return llvm::any_of(value.getUsers(), [](Operation *user) {
    if (isa<AttentionOp>(user))
      return true;
    return isa<RotaryOp, RoundToCacheOp, tensor::ExtractSliceOp>(user) &&
           feedsAttention(user->getResult(0));
  });
}

struct QuantizeActivationsPass
    : chorus::impl::QuantizeActivationsPassBase<QuantizeActivationsPass> {
  void runOnOperation() override {
    // Rounding the input of queries, keys and values costs as much accuracy as
    // all other roundings together: it gets two terms.
    DenseMap<std::pair<Value, int64_t>, Value> quantized;
    getOperation().walk([&](LinearOp linear) {
      auto input = cast<RankedTensorType>(linear.getInput().getType());
      auto weight = cast<RankedTensorType>(linear.getWeights()[0].getType());
      if (!input.getElementType().isF32() ||
          !getBlockFormat(weight.getElementType()))
        return;
      int64_t terms = feedsAttention(linear.getResult()) ? 2 : 1;
      Value &rounded = quantized[{linear.getInput(), terms}];
      if (!rounded) {
        OpBuilder builder(&getContext());
        builder.setInsertionPointAfterValue(linear.getInput());
        rounded = QuantizeActivationsOp::create(
            builder, linear.getLoc(),
            input.clone(ActQ8Type::get(&getContext(), terms)),
            linear.getInput());
      }
      linear.getInputMutable().assign(rounded);
    });
  }
};

} // namespace
