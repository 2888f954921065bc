//===- Phases.h - The forms through which a model passes --------*- C++ -*-===//

#ifndef CHORUS_PIPELINES_PHASES_H
#define CHORUS_PIPELINES_PHASES_H

#include "llvm/ADT/StringRef.h"

#include <optional>

namespace chorus {

/// The forms of docs/Phases.md, in the order in which they are reached.
enum class Phase { Graph, Raised, Step, Fused };

/// The name of `phase` on command lines.
llvm::StringRef stringifyPhase(Phase phase);

/// The phase of that name, if there is one.
std::optional<Phase> symbolizePhase(llvm::StringRef name);

} // namespace chorus

#endif // CHORUS_PIPELINES_PHASES_H
