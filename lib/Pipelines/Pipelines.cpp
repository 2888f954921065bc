//===- Pipelines.cpp - Which passes lead to which form --------------------===//
//
// The only place that puts passes in order.
//
//===----------------------------------------------------------------------===//

#include "chorus/Pipelines/Pipelines.h"

#include "chorus/Conversion/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace chorus {

namespace {

struct NamedPhase {
  Phase phase;
  llvm::StringLiteral name;     ///< Of the form.
  llvm::StringLiteral pipeline; ///< That leads to it.
  llvm::StringLiteral summary;
};

constexpr NamedPhase phases[] = {
    {Phase::Graph, "graph", "chorus-graph",
     "Bring a stateless model to the graph form"},
    {Phase::Raised, "raised", "chorus-raise",
     "From the graph form to the raised form: numeric choices are ops"},
    {Phase::Step, "step", "chorus-derive",
     "From the raised form to the step form: rows of many sequences"},
    {Phase::Fused, "fused", "chorus-fuse",
     "From the step form to the fused form: joined products, rolled layers"},
};

struct PhaseOptions : PassPipelineOptions<PhaseOptions> {
  Option<Activations> activations{
      *this, "activations",
      llvm::cl::desc("inputs of products with block weights"),
      llvm::cl::init(Activations::Int8),
      llvm::cl::values(clEnumValN(Activations::Int8, "int8", "blocks of int8"),
                       clEnumValN(Activations::F32, "f32", "unrounded"))};
  Option<CacheType> cacheType{
      *this, "kv-cache", llvm::cl::desc("element type of the cache"),
      llvm::cl::init(CacheType::F16),
      llvm::cl::values(clEnumValN(CacheType::F16, "f16", "half precision"),
                       clEnumValN(CacheType::F32, "f32", "single precision"))};
};

/// Removes what the passes before left over and shares what they made twice.
void addCleanup(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createCanonicalizerPass());
  manager.addNestedPass<func::FuncOp>(createCSEPass());
}

} // namespace

StringRef stringifyPhase(Phase phase) {
  return phases[static_cast<size_t>(phase)].name;
}

std::optional<Phase> symbolizePhase(StringRef name) {
  for (const NamedPhase &named : phases)
    if (named.name == name)
      return named.phase;
  return std::nullopt;
}

void addNumericChoices(OpPassManager &manager, const NumericOptions &options) {
  if (options.activations == Activations::Int8)
    manager.addNestedPass<func::FuncOp>(createQuantizeActivationsPass());
  manager.addNestedPass<func::FuncOp>(
      createRoundKeysAndValuesPass({options.cacheType}));
}

void addPhase(OpPassManager &manager, Phase phase,
              const NumericOptions &options) {
  switch (phase) {
  case Phase::Graph:
    addCleanup(manager);
    manager.addPass(createVerifyFormPass({Form::Graph}));
    return;
  case Phase::Raised:
    addNumericChoices(manager, options);
    manager.addPass(createVerifyFormPass({Form::Graph}));
    return;
  case Phase::Step:
    manager.addPass(createDeriveStepPass({options.cacheType}));
    addCleanup(manager);
    manager.addPass(createVerifyFormPass({Form::Step}));
    return;
  case Phase::Fused:
    manager.addNestedPass<func::FuncOp>(createFuseLinearsPass());
    manager.addNestedPass<func::FuncOp>(createFuseResidualsPass());
    manager.addNestedPass<func::FuncOp>(createRollLayersPass());
    manager.addNestedPass<func::FuncOp>(createHoistRowSelectionPass());
    manager.addNestedPass<func::FuncOp>(createCSEPass());
    manager.addPass(createVerifyFormPass({Form::Fused}));
    return;
  }
}

void addKernelPreparation(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createRequireIndicesPass());
  manager.addNestedPass<func::FuncOp>(createDecomposeWithoutKernelPass());
}

void addReference(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createDeriveReferencePass());
  manager.addNestedPass<func::FuncOp>(createRequireIndicesPass());
  manager.addNestedPass<func::FuncOp>(createConvertTransformerToLinalgPass());
}

void registerPipelines() {
  for (const NamedPhase &named : phases) {
    static_assert(std::size(phases) == static_cast<size_t>(Phase::Fused) + 1);
    PassPipelineRegistration<PhaseOptions>(
        named.pipeline, named.summary,
        [phase = named.phase](OpPassManager &manager,
                              const PhaseOptions &options) {
          addPhase(manager, phase, {options.activations, options.cacheType});
        });
  }
  PassPipelineRegistration<>("chorus-reference",
                             "From the raised form to the reference: every op "
                             "through its definition",
                             addReference);
}

} // namespace chorus
