//===- TensorType.cpp - Element types of GGUF tensors ---------------------===//

#include "chorus/Import/GGUF/TensorType.h"

namespace chorus::gguf {

const TensorTypeInfo *findTensorType(uint32_t number,
                                     const char **removedName) {
  // Indexed by the number in the file. blockBytes 0: removed or never given.
  static constexpr TensorTypeInfo types[] = {
      {"F32", 1, 4, true},         {"F16", 1, 2, true},
      {"Q4_0", 32, 18, true},      {"Q4_1", 32, 20, true},
      {"Q4_2", 0, 0, false},       {"Q4_3", 0, 0, false},
      {"Q5_0", 32, 22, false},     {"Q5_1", 32, 24, false},
      {"Q8_0", 32, 34, true},      {"Q8_1", 32, 36, false},
      {"Q2_K", 256, 84, false},    {"Q3_K", 256, 110, false},
      {"Q4_K", 256, 144, false},   {"Q5_K", 256, 176, false},
      {"Q6_K", 256, 210, false},   {"Q8_K", 256, 292, false},
      {"IQ2_XXS", 256, 66, false}, {"IQ2_XS", 256, 74, false},
      {"IQ3_XXS", 256, 98, false}, {"IQ1_S", 256, 50, false},
      {"IQ4_NL", 32, 18, false},   {"IQ3_S", 256, 110, false},
      {"IQ2_S", 256, 82, false},   {"IQ4_XS", 256, 136, false},
      {"I8", 1, 1, false},         {"I16", 1, 2, false},
      {"I32", 1, 4, false},        {"I64", 1, 8, false},
      {"F64", 1, 8, false},        {"IQ1_M", 256, 56, false},
      {"BF16", 1, 2, true},        {"Q4_0_4_4", 0, 0, false},
      {"Q4_0_4_8", 0, 0, false},   {"Q4_0_8_8", 0, 0, false},
      {"TQ1_0", 256, 54, false},   {"TQ2_0", 256, 66, false},
      {"IQ4_NL_4_4", 0, 0, false}, {"IQ4_NL_4_8", 0, 0, false},
      {"IQ4_NL_8_8", 0, 0, false}, {"MXFP4", 32, 17, false},
      {"NVFP4", 64, 36, false},    {"Q1_0", 128, 18, false},
      {"Q2_0", 64, 18, false},
  };
  constexpr uint32_t count = sizeof types / sizeof types[0];
  static_assert(count == static_cast<uint32_t>(TensorType::Q2_0) + 1);
  if (removedName)
    *removedName = nullptr;
  if (number >= count)
    return nullptr;
  if (types[number].blockBytes != 0)
    return &types[number];
  if (removedName)
    *removedName = types[number].name;
  return nullptr;
}

const TensorTypeInfo &tensorTypeInfo(TensorType type) {
  return *findTensorType(static_cast<uint32_t>(type));
}

const char *supportedTensorTypes() {
  return "F32, F16, BF16, Q8_0, Q4_0, Q4_1";
}

} // namespace chorus::gguf
