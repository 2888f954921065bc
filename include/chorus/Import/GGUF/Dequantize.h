//===- Dequantize.h - GGUF blocks to f32 ------------------------*- C++ -*-===//

#ifndef CHORUS_IMPORT_GGUF_DEQUANTIZE_H
#define CHORUS_IMPORT_GGUF_DEQUANTIZE_H

#include "chorus/Import/GGUF/TensorType.h"

#include <cstdint>

namespace chorus::gguf {

/// The f32 with the value of an IEEE half; exact. NaN becomes quiet.
float halfToFloat(uint16_t half);

/// Writes `elements` f32 values, a multiple of the type's block, decoded from
/// `blocks`, which may have any alignment. `type` must be supported. The bits
/// are those of the Python package `gguf`: one f32 product per element, and for
/// Q4_1 a separate f32 sum.
void dequantize(TensorType type, const uint8_t *blocks, uint64_t elements,
                float *out);

} // namespace chorus::gguf

#endif // CHORUS_IMPORT_GGUF_DEQUANTIZE_H
