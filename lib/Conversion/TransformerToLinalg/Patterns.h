//===- Patterns.h - Definitions, grouped by file ----------------*- C++ -*-===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_PATTERNS_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_PATTERNS_H

#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/Transforms/DialectConversion.h"

namespace chorus {

/// embedding, quantize_activations, linear: DecomposeLinear.cpp.
void populateLinearPatterns(const mlir::TypeConverter &converter,
                            mlir::RewritePatternSet &patterns);
/// rotary, round_to_cache, attention: DecomposeAttention.cpp.
void populateAttentionPatterns(const mlir::TypeConverter &converter,
                               mlir::RewritePatternSet &patterns);

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_PATTERNS_H
