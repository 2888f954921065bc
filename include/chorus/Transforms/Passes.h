//===- Passes.h - Rewrites from graph form to fused form --------*- C++ -*-===//
//
// The forms that these passes connect are described in docs/Phases.md; the
// order in which they run is that of lib/Pipelines.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TRANSFORMS_PASSES_H
#define CHORUS_TRANSFORMS_PASSES_H

#include "mlir/Pass/Pass.h"

namespace chorus {

/// The element type in which a cache holds keys and values.
enum class CacheType { F16, F32 };

/// The contracts that VerifyForm knows.
enum class Form { Graph, Step, Fused };

#define GEN_PASS_DECL
#include "chorus/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "chorus/Transforms/Passes.h.inc"

} // namespace chorus

#endif // CHORUS_TRANSFORMS_PASSES_H
