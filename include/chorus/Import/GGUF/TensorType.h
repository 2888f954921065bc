//===- TensorType.h - Element types of GGUF tensors -------------*- C++ -*-===//

#ifndef CHORUS_IMPORT_GGUF_TENSORTYPE_H
#define CHORUS_IMPORT_GGUF_TENSORTYPE_H

#include <cstdint>

namespace chorus::gguf {

/// GGML's element types; the values are those in the file. Numbers left out
/// were removed from the format or never given.
enum class TensorType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q8_1 = 9,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  Q8_K = 15,
  IQ2_XXS = 16,
  IQ2_XS = 17,
  IQ3_XXS = 18,
  IQ1_S = 19,
  IQ4_NL = 20,
  IQ3_S = 21,
  IQ2_S = 22,
  IQ4_XS = 23,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  IQ1_M = 29,
  BF16 = 30,
  TQ1_0 = 34,
  TQ2_0 = 35,
  MXFP4 = 39,
  NVFP4 = 40,
  Q1_0 = 41,
  Q2_0 = 42,
};

/// How a type is stored: rows are sequences of blocks.
struct TensorTypeInfo {
  const char *name;
  uint32_t blockElements;
  uint32_t blockBytes;
  /// Whether Chorus can dequantize and compile it now.
  bool supported;
};

/// Null for a number that names no type; `removedName`, if given, is then set
/// to the name of a type that the format once had, or null.
const TensorTypeInfo *findTensorType(uint32_t number,
                                     const char **removedName = nullptr);

/// Facts of a type that exists.
const TensorTypeInfo &tensorTypeInfo(TensorType type);

/// "F32, F16, ...": the types that are supported, for messages.
const char *supportedTensorTypes();

} // namespace chorus::gguf

#endif // CHORUS_IMPORT_GGUF_TENSORTYPE_H
