//===- DequantizeTest.cpp -------------------------------------------------===//

#include "chorus/Import/GGUF/Dequantize.h"

#include "chorus_rt/Safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

using namespace chorus;
using namespace chorus::gguf;

static uint32_t bitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// Compares with what the Python package gguf made of random blocks
/// (test/tools/make_dequantize_goldens.py), bit for bit.
static void compareWithPackage(TensorType type) {
  rt::StatusOr<rt::SafetensorsFile> goldens = rt::SafetensorsFile::open(
      CHORUS_SOURCE_DIR "/test/data/dequantize/blocks.safetensors");
  ASSERT_TRUE(goldens.ok()) << goldens.status().line("test");
  std::string name = tensorTypeInfo(type).name;
  const rt::SafetensorsTensor *blocks = goldens->find(name + ".blocks");
  const rt::SafetensorsTensor *values = goldens->find(name + ".values");
  ASSERT_TRUE(blocks && values);
  std::vector<float> expected(values->sizeBytes / sizeof(float));
  std::memcpy(expected.data(), values->data, values->sizeBytes);
  ASSERT_GE(expected.size(), 512u);
  std::vector<float> found(expected.size());
  dequantize(type, blocks->data, found.size(), found.data());
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(bitsOf(found[i]), bitsOf(expected[i])) << name << " " << i;
}

TEST(Dequantize, F32EqualsPackage) { compareWithPackage(TensorType::F32); }
TEST(Dequantize, F16EqualsPackage) { compareWithPackage(TensorType::F16); }
TEST(Dequantize, BF16EqualsPackage) { compareWithPackage(TensorType::BF16); }
TEST(Dequantize, Q8_0EqualsPackage) { compareWithPackage(TensorType::Q8_0); }
TEST(Dequantize, Q4_0EqualsPackage) { compareWithPackage(TensorType::Q4_0); }
TEST(Dequantize, Q4_1EqualsPackage) { compareWithPackage(TensorType::Q4_1); }

TEST(Dequantize, EveryHalfEqualsTheCompilersConversion) {
  for (uint32_t half = 0; half < 0x10000; ++half) {
    uint16_t bits = static_cast<uint16_t>(half);
    _Float16 value;
    std::memcpy(&value, &bits, sizeof value);
    float expected = static_cast<float>(value);
    float found = halfToFloat(bits);
    if (std::isnan(expected))
      ASSERT_TRUE(std::isnan(found)) << half;
    else
      ASSERT_EQ(bitsOf(found), bitsOf(expected)) << half;
  }
}

TEST(Dequantize, NaNScaleGivesNaN) {
  uint8_t block[18] = {0x01, 0x7C, 0x12, 0x34}; // 0x7C01: a signalling NaN.
  float values[32];
  dequantize(TensorType::Q4_0, block, 32, values);
  for (float value : values)
    EXPECT_TRUE(std::isnan(value));
}
