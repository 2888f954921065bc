//===- ModelMetadata.h - What a model is beside its code --------*- C++ -*-===//
//
// Facts and tables that travel from a source file to the artifact unchanged:
// an entry of the artifact's `models[]` (runtime/schema/artifact.fbs) without
// its code, weights and states.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_IMPORT_MODELMETADATA_H
#define CHORUS_IMPORT_MODELMETADATA_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace chorus {

/// Sizes of a decoder, for people; nothing is computed from them.
struct ModelDimensions {
  uint32_t dModel = 0;
  uint32_t dFF = 0;
  uint32_t numLayers = 0;
  uint32_t numHeads = 0;
  uint32_t numKVHeads = 0;
  uint32_t headDim = 0;
};

/// Sampling defaults of the model's file; absent values are Chorus's own.
struct SamplingDefaults {
  std::optional<double> temperature;
  std::optional<double> topP;
  std::optional<uint32_t> topK;
  std::optional<double> minP;
};

/// Everything is empty or 0 where the source does not say it, as in MLIR text.
/// Texts are those of the source, except `warnings`: escape them before
/// printing.
struct ModelMetadata {
  std::string name;
  std::string architecture;
  std::string license;
  /// SHA-256 of the source file, 64 lower-case hexadecimal digits, and its
  /// size.
  std::string sourceSha256;
  uint64_t sourceBytes = 0;
  /// Values of all tensors that the model uses; a tied one counts once.
  uint64_t numParameters = 0;
  ModelDimensions dimensions;

  /// Ids are in [0, vocabSize).
  uint32_t vocabSize = 0;
  /// Largest number of positions of one sequence.
  uint32_t contextLength = 0;
  /// Ids after which generation stops, ascending.
  std::vector<uint32_t> stopIds;
  SamplingDefaults sampling;
  std::string chatTemplate;
  /// Bytes of the tokenizer segment; empty where the model has none.
  std::string tokenizerSegment;

  /// Things that the user should hear once, one line each, safe to print.
  std::vector<std::string> warnings;
};

} // namespace chorus

#endif // CHORUS_IMPORT_MODELMETADATA_H
