//===- TransformerToKernels.cpp - Fused form to kernel form ---------------===//

#include "chorus/Conversion/TransformerToKernels/TransformerToKernels.h"

#include "EntryLowering.h"

using namespace mlir;

namespace chorus {

FailureOr<KernelModule> lowerToKernels(ModuleOp source, const WeightPlan &weights,
                                       const CPUTarget &target) {
  KernelModule result;
  result.module = ModuleOp::create(source.getLoc());
  KernelBuilder k(*result.module, target);
  for (auto function : source.getOps<func::FuncOp>()) {
    if (!function.isPublic())
      continue;
    EntryPlan plan(function);
    if (failed(plan.build()) || failed(EntryLowering(plan, weights, k).emit()))
      return failure();
    result.entries.push_back(plan.info);
  }
  emitSamplingMasses(k);
  return result;
}

} // namespace chorus
