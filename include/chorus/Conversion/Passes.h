//===- Passes.h - Conversions of the transformer dialect --------*- C++ -*-===//

#ifndef CHORUS_CONVERSION_PASSES_H
#define CHORUS_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

#include <string>

namespace chorus {

#define GEN_PASS_DECL
#include "chorus/Conversion/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "chorus/Conversion/Passes.h.inc"

} // namespace chorus

#endif // CHORUS_CONVERSION_PASSES_H
