//===- DecomposeWithoutKernel.cpp - Ops that no kernel handles ------------===//
//
// The step form has kernels for all that it may hold. Plain functions may hold
// more: what is left over runs through its definition.
//
//===----------------------------------------------------------------------===//

#include "EntryPlan.h"

#include "chorus/Conversion/Passes.h"
#include "chorus/Conversion/TransformerToKernels/TransformerToKernels.h"
#include "chorus/Conversion/TransformerToLinalg/TransformerToLinalg.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

#define GEN_PASS_DEF_DECOMPOSEWITHOUTKERNELPASS
#include "chorus/Conversion/Passes.h.inc"

bool hasKernel(Operation *op) {
  auto isParameter = [](Value value) {
    return value.getDefiningOp<ParameterOp>() != nullptr;
  };
  auto hasRows = [](Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    return type.getRank() > 0 && !type.isDynamicDim(type.getRank() - 1);
  };
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case<QuantizeActivationsOp, SelectRowsOp, LogSumExpOp>(
          [](auto) { return true; })
      .Case([&](LinearOp linear) {
        return llvm::all_of(linear.getWeights(), isParameter);
      })
      .Case([&](EmbeddingOp embedding) {
        return isParameter(embedding.getTable());
      })
      .Case([&](RMSNormOp norm) { return isParameter(norm.getWeight()); })
      .Case([&](RotaryOp rotary) {
        return rotary.getPositions() && isWeightLeaf(rotary.getTable());
      })
      .Case([&](AttentionOp attention) {
        return static_cast<bool>(attention.getCache());
      })
      .Case<RoundToCacheOp, GLUOp>(
          [&](Operation *rows) { return hasRows(rows->getResult(0)); })
      .Case([&](arith::AddFOp add) {
        auto type = dyn_cast<RankedTensorType>(add.getType());
        return type && type.getElementType().isF32() &&
               hasRows(add.getResult());
      })
      .Default([](Operation *) { return false; });
}

namespace {

struct DecomposeWithoutKernelPass
    : impl::DecomposeWithoutKernelPassBase<DecomposeWithoutKernelPass> {
  void runOnOperation() override {
    if (failed(decompose(getOperation(), hasKernel)))
      return signalPassFailure();
    getOperation().walk([](ParameterOp parameter) {
      auto uses = parameter.getResult().getUses();
      if (llvm::none_of(uses, readsPanels) || llvm::all_of(uses, readsPanels))
        return;
      OpBuilder builder(parameter);
      Value plain = builder.clone(*parameter)->getResult(0);
      parameter.getResult().replaceUsesWithIf(
          plain, [](OpOperand &use) { return !readsPanels(use); });
    });
  }
};

} // namespace

} // namespace chorus
