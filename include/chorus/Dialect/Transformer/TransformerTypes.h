//===- TransformerTypes.h - Block formats and states ------------*- C++ -*-===//
#ifndef CHORUS_DIALECT_TRANSFORMER_TRANSFORMERTYPES_H
#define CHORUS_DIALECT_TRANSFORMER_TRANSFORMERTYPES_H

#include "mlir/IR/BuiltinTypes.h"

#include <optional>

#define GET_TYPEDEF_CLASSES
#include "chorus/Dialect/Transformer/TransformerTypes.h.inc"

namespace chorus::transformer {

/// Values in one block of every block format.
constexpr int64_t blockSize = 32;

/// What a weight's element type says about its bytes.
struct BlockFormat {
  int64_t sourceBytes; ///< Bytes of one block of 32 in a GGUF file.
  int64_t zeroPoint;   ///< value = d * (stored - zeroPoint) (+ m), where the
                       ///< stored integer is unsigned when packed.
  bool hasMinimum;     ///< Whether each block has an f16 minimum.
  int64_t bits;        ///< Bits of one stored integer.
};

/// The format of a block element type, nothing for f32, f16 and bf16.
std::optional<BlockFormat> getBlockFormat(mlir::Type elementType);

} // namespace chorus::transformer

#endif // CHORUS_DIALECT_TRANSFORMER_TRANSFORMERTYPES_H
