//===- Pipelines.h - Which passes lead to which form ------------*- C++ -*-===//

#ifndef CHORUS_PIPELINES_PIPELINES_H
#define CHORUS_PIPELINES_PIPELINES_H

#include "chorus/Pipelines/Phases.h"
#include "chorus/Transforms/Passes.h"

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace chorus {

/// Whether products with block weights round their inputs to int8.
enum class Activations { Int8, F32 };

/// The numeric choices of a compilation, as of docs/NumericContract.md.
struct NumericOptions {
  Activations activations = Activations::Int8;
  CacheType cacheType = CacheType::F16;
};

/// Adds to `manager`, which runs on a module, the ops of `options` that a
/// stateless model computes with, the reference included.
void addNumericChoices(mlir::OpPassManager &manager,
                       const NumericOptions &options);

/// Adds the passes that lead from the form before `phase` to `phase` and the
/// check of its contract.
void addPhase(mlir::OpPassManager &manager, Phase phase,
              const NumericOptions &options);

/// Adds the passes that make the fused form, plain functions included, one that
/// kernels and loops can compute.
void addKernelPreparation(mlir::OpPassManager &manager);

/// Adds the passes that lead from the raised form to the reference: every op
/// through its definition.
void addReference(mlir::OpPassManager &manager);

/// Makes the pipelines known to chorus-opt by name: chorus-graph, chorus-raise,
/// chorus-derive, chorus-fuse and chorus-reference. To be called once.
void registerPipelines();

} // namespace chorus

#endif // CHORUS_PIPELINES_PIPELINES_H
