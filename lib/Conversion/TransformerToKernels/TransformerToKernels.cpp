//===- TransformerToKernels.cpp - Fused form to kernel form ---------------===//

#include "chorus/Conversion/TransformerToKernels/TransformerToKernels.h"

#include "EntryLowering.h"

#include "chorus/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace chorus {

#define GEN_PASS_DEF_CONVERTTRANSFORMERTOKERNELSPASS
#include "chorus/Conversion/Passes.h.inc"

FailureOr<KernelModule> lowerToKernels(ModuleOp source,
                                       const WeightPlan &weights,
                                       const CPUTarget &target,
                                       bool orderFree) {
  KernelModule result;
  result.module = ModuleOp::create(source.getLoc());
  KernelBuilder k(*result.module, target, orderFree);
  for (auto function : source.getOps<func::FuncOp>()) {
    if (!function.isPublic())
      continue;
    EntryPlan plan(function);
    if (failed(plan.build()) || failed(EntryLowering(plan, weights, k).emit()))
      return failure();
    result.entries.push_back(plan.info);
  }
  emitSamplingFunctions(k);
  emitScalarFunctions(k);
  result.kernels = std::move(k.kernels);
  return result;
}

namespace {

struct ConvertTransformerToKernelsPass
    : impl::ConvertTransformerToKernelsPassBase<
          ConvertTransformerToKernelsPass> {
  using ConvertTransformerToKernelsPassBase::
      ConvertTransformerToKernelsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    const CPUTarget *found =
        llvm::find_if(getCPUTargets(), [&](const CPUTarget &each) {
          return each.name == target;
        });
    if (found == getCPUTargets().end()) {
      InFlightDiagnostic error = module.emitError()
                                 << "target '" << target
                                 << "' is unknown, expected one of ";
      llvm::interleaveComma(getCPUTargets(), error,
                            [&](const CPUTarget &each) { error << each.name; });
      return signalPassFailure();
    }
    WeightPlan weights;
    if (failed(weights.build(module)))
      return signalPassFailure();
    FailureOr<KernelModule> kernels =
        lowerToKernels(module, weights, *found, /*orderFree=*/false);
    if (failed(kernels))
      return signalPassFailure();
    module.getBodyRegion().takeBody(
        kernels->module->getBodyRegion()); // NOLINT(*optional-access)
  }
};

} // namespace

} // namespace chorus
