//===- Dequantize.cpp - GGUF blocks to f32 --------------------------------===//

#include "chorus/Import/GGUF/Dequantize.h"

#include <cassert>
#include <cstring>

namespace chorus::gguf {

static float floatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

float halfToFloat(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  uint32_t exponent = (half >> 10) & 0x1F;
  uint32_t mantissa = half & 0x3FF;
  if (exponent == 0x1F) {
    uint32_t quiet = mantissa != 0 ? 0x400000 : 0;
    return floatOfBits(sign | 0x7F800000 | quiet | (mantissa << 13));
  }
  if (exponent != 0)
    return floatOfBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  // Subnormal: mantissa units of 2^-24, exact in f32.
  float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -magnitude : magnitude;
}

static uint16_t loadHalf(const uint8_t *bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

static constexpr uint64_t blockElements = 32; // Of Q8_0, Q4_0 and Q4_1.

static void dequantizeQ8_0(const uint8_t *block, float *out) {
  float scale = halfToFloat(loadHalf(block));
  for (uint64_t i = 0; i < blockElements; ++i)
    out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * scale;
}

/// Low nibbles hold the first half of the block, high ones the second.
static void dequantizeQ4_0(const uint8_t *block, float *out) {
  float scale = halfToFloat(loadHalf(block));
  const uint8_t *quants = block + 2;
  for (uint64_t i = 0; i < blockElements / 2; ++i) {
    out[i] = scale * static_cast<float>((quants[i] & 15) - 8);
    out[i + blockElements / 2] =
        scale * static_cast<float>((quants[i] >> 4) - 8);
  }
}

static void dequantizeQ4_1(const uint8_t *block, float *out) {
  float scale = halfToFloat(loadHalf(block));
  float minimum = halfToFloat(loadHalf(block + 2));
  const uint8_t *quants = block + 4;
  for (uint64_t i = 0; i < blockElements / 2; ++i) {
    out[i] = scale * static_cast<float>(quants[i] & 15) + minimum;
    out[i + blockElements / 2] =
        scale * static_cast<float>(quants[i] >> 4) + minimum;
  }
}

void dequantize(TensorType type, const uint8_t *blocks, uint64_t elements,
                float *out) {
  const TensorTypeInfo &info = tensorTypeInfo(type);
  assert(info.supported && elements % info.blockElements == 0);
  const uint8_t *end = blocks + elements / info.blockElements * info.blockBytes;
  switch (type) {
  case TensorType::F32:
    std::memcpy(out, blocks, elements * sizeof(float));
    return;
  case TensorType::F16:
    for (; blocks != end; blocks += 2)
      *out++ = halfToFloat(loadHalf(blocks));
    return;
  case TensorType::BF16:
    for (; blocks != end; blocks += 2)
      *out++ = floatOfBits(static_cast<uint32_t>(loadHalf(blocks)) << 16);
    return;
  case TensorType::Q8_0:
    for (; blocks != end; blocks += info.blockBytes, out += blockElements)
      dequantizeQ8_0(blocks, out);
    return;
  case TensorType::Q4_0:
    for (; blocks != end; blocks += info.blockBytes, out += blockElements)
      dequantizeQ4_0(blocks, out);
    return;
  case TensorType::Q4_1:
    for (; blocks != end; blocks += info.blockBytes, out += blockElements)
      dequantizeQ4_1(blocks, out);
    return;
  default:
    assert(false && "type is not supported");
  }
}

} // namespace chorus::gguf
