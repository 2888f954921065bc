//===- FiniteCheck.cpp - NaN and infinity in weights ----------------------===//

#include "chorus/Import/GGUF/FiniteCheck.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace chorus::gguf {

namespace {

/// Where the floats of a type lie: `count` of them at the start of each unit of
/// `unitBytes`, with an exponent under `mask`. All ones there: NaN or infinity.
struct FloatLayout {
  uint32_t unitBytes, count, floatBytes, exponentMask;
};

std::optional<FloatLayout> floatLayout(TensorType type) {
  constexpr uint32_t f32Exponent = 0x7F800000, f16Exponent = 0x7C00,
                     bf16Exponent = 0x7F80;
  switch (type) {
  case TensorType::F32:
    return FloatLayout{4, 1, 4, f32Exponent};
  case TensorType::F16:
    return FloatLayout{2, 1, 2, f16Exponent};
  case TensorType::BF16:
    return FloatLayout{2, 1, 2, bf16Exponent};
  case TensorType::Q8_0:
    return FloatLayout{34, 1, 2, f16Exponent};
  case TensorType::Q4_0:
    return FloatLayout{18, 1, 2, f16Exponent};
  case TensorType::Q4_1:
    return FloatLayout{20, 2, 2, f16Exponent};
  default:
    return std::nullopt;
  }
}

template <typename Bits> bool isNonFinite(const uint8_t *at, Bits mask) {
  Bits bits;
  std::memcpy(&bits, at, sizeof bits);
  return (bits & mask) == mask;
}

/// Counts the non-finite floats of `units` units.
template <typename Bits>
uint64_t countNonFinite(const uint8_t *data, uint64_t units,
                        const FloatLayout &layout) {
  Bits mask = static_cast<Bits>(layout.exponentMask);
  uint64_t found = 0;
  if (layout.unitBytes ==
      sizeof(Bits)) { // Contiguous: the compiler vectorizes.
    for (uint64_t i = 0; i < units; ++i)
      found += isNonFinite(data + i * sizeof(Bits), mask);
    return found;
  }
  for (uint64_t i = 0; i < units; ++i, data += layout.unitBytes)
    for (uint32_t j = 0; j < layout.count; ++j)
      found += isNonFinite(data + j * sizeof(Bits), mask);
  return found;
}

uint64_t countNonFinite(const uint8_t *data, uint64_t units,
                        const FloatLayout &layout) {
  return layout.floatBytes == 4 ? countNonFinite<uint32_t>(data, units, layout)
                                : countNonFinite<uint16_t>(data, units, layout);
}

} // namespace

rt::Status checkFinite(const TensorBytes &tensor,
                       const rt::FileMapping *mapping) {
  std::optional<FloatLayout> layout = floatLayout(tensor.type);
  const TensorTypeInfo &info = tensorTypeInfo(tensor.type);
  if (!layout)
    return rt::unsupported(tensor.place,
                           std::string("element type ") + info.name +
                               " is not supported; supported are " +
                               supportedTensorTypes());
  // A whole number of units of every type, and small beside a tensor.
  uint64_t pieceUnits = (1 << 20) / layout->unitBytes;
  uint64_t units = tensor.sizeBytes / layout->unitBytes;
  uint64_t unitElements = info.blockElements;
  uint64_t found = 0, firstUnit = 0;
  for (uint64_t unit = 0; unit < units; unit += pieceUnits) {
    const uint8_t *piece = tensor.data + unit * layout->unitBytes;
    uint64_t count = std::min(pieceUnits, units - unit);
    uint64_t inPiece = countNonFinite(piece, count, *layout);
    if (inPiece != 0 && found == 0)
      for (firstUnit = unit;
           countNonFinite(tensor.data + firstUnit * layout->unitBytes, 1,
                          *layout) == 0;)
        ++firstUnit;
    found += inPiece;
    if (mapping)
      mapping->release(piece, count * layout->unitBytes);
  }
  if (found == 0)
    return {};
  bool isBlock = unitElements > 1;
  return rt::refused(
      "G23", tensor.place,
      std::to_string(found) +
          (isBlock ? " block scales or minima" : " values") +
          " are NaN or infinite, the first in row " +
          std::to_string(firstUnit * unitElements / tensor.rowElements));
}

} // namespace chorus::gguf
