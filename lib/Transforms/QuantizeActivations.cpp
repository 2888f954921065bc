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

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_QUANTIZEACTIVATIONSPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

struct QuantizeActivationsPass
    : chorus::impl::QuantizeActivationsPassBase<QuantizeActivationsPass> {
  void runOnOperation() override {
    DenseMap<Value, Value> quantized;
    getOperation().walk([&](LinearOp linear) {
      auto input = cast<RankedTensorType>(linear.getInput().getType());
      auto weight = cast<RankedTensorType>(linear.getWeights()[0].getType());
      if (!input.getElementType().isF32() ||
          !getBlockFormat(weight.getElementType()))
        return;
      Value &rounded = quantized[linear.getInput()];
      if (!rounded) {
        OpBuilder builder(&getContext());
        builder.setInsertionPointAfterValue(linear.getInput());
        rounded = QuantizeActivationsOp::create(
            builder, linear.getLoc(),
            input.clone(ActQ8Type::get(&getContext())), linear.getInput());
      }
      linear.getInputMutable().assign(rounded);
    });
  }
};

} // namespace
