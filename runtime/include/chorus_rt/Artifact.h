//===- Artifact.h - A verified .chorus file ---------------------*- C++ -*-===//
//
// Opening maps the file and verifies all of it: header, structure, every index
// and size, and the SHA-256 of the metadata and of every segment. What comes
// after may rely on it. No byte of the file is executable before that; Program
// loads the code.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_ARTIFACT_H
#define CHORUS_RT_ARTIFACT_H

#include "chorus_rt/FileMapping.h"
#include "chorus_rt/Status.h"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// Element types of tensors at an entry's border, numbered as in the file.
enum class DType : uint8_t { F32, F16, BF16, I8, I32, I64, U8, Bool, F64 };

/// Bytes of one element.
uint64_t dtypeSize(DType dtype);
/// Whether elements can be indices.
bool isInteger(DType dtype);
/// "f32", "i8", "bool": as MLIR writes types, save bool.
std::string_view dtypeName(DType dtype);

enum class SegmentKind : uint8_t { Weights, Code, Tokenizer };
enum class EntryKind : uint8_t { Step, Plain };
enum class StateKind : uint8_t { PagedKV };

struct SegmentInfo {
  /// A newer minor version may have kinds that are unknown here.
  SegmentKind kind;
  uint64_t offset; ///< In the file, a multiple of 4096.
  uint64_t size;   ///< In bytes, may be 0.
  std::array<uint8_t, 32> sha256;
};

/// One dimension: a fixed size, or a symbol whose value a call binds.
struct DimInfo {
  int64_t fixed = 0;   ///< -1 for a symbol.
  uint32_t symbol = 0; ///< Index into EntryInfo::symbols where fixed is -1.
  bool isSymbol() const { return fixed < 0; }
};

struct TensorInfo {
  std::string_view name;
  DType dtype;
  std::vector<DimInfo> dims; ///< At most 16; empty for a scalar.
};

/// `bytes` times the values of `symbols`.
struct ArenaTermInfo {
  uint64_t bytes;
  std::vector<uint32_t> symbols; ///< At most 4.
};

/// Every element of input `input`, of integers, lies in [0, below).
struct IndexBoundInfo {
  uint32_t input;
  DimInfo below;
};

/// size <= atMost.
struct SizeBoundInfo {
  DimInfo size, atMost;
};

struct EntryInfo {
  std::string_view name;
  EntryKind kind;
  std::string_view function; ///< Name in every code segment.
  std::vector<std::string_view> symbols;
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::vector<ArenaTermInfo> arena;
  std::vector<IndexBoundInfo> indexBounds; ///< Before a plain entry's call.
  std::vector<SizeBoundInfo> sizeBounds;
};

struct StateInfo {
  StateKind kind;
  DType dtype; ///< F16 or F32.
  uint32_t layers, kvHeads, headDim;
  uint32_t pagePositions; ///< CHORUS_PAGE_POSITIONS.
  uint64_t pageBytes;     ///< As recomputed by pagedStateBytes().
};

/// A kernel of a code segment. Work is that of one row, or of one row and one
/// position that it attends to; a multiply-add is two operations.
struct KernelInfo {
  std::string_view name;
  uint64_t int8Operations = 0, f32Operations = 0;
  bool perPosition = false;
  uint64_t weightBytes = 0; ///< Read by one run.
  uint32_t rowsSymbol = 0;  ///< Of the entry, counts the rows.
};

struct CodeInfo {
  std::string_view target; ///< "x86-64-v3", "x86-64-v4", "x86-64-v4-amx".
  std::vector<std::string_view> features;
  uint32_t segment;
  std::vector<KernelInfo> kernels; ///< Empty for code of ABI 1.
};

/// For people; nothing is computed from these.
struct ModelFacts {
  std::string_view name, architecture, license;
  std::string_view sourceSha256; ///< Hexadecimal.
  uint64_t sourceBytes = 0, parameters = 0;
  uint32_t dModel = 0, dFF = 0, numLayers = 0, numHeads = 0, numKVHeads = 0,
           headDim = 0;
  /// Packed weights that products read; 0 in files that do not say.
  uint64_t packedLinearBytes = 0;
};

/// Sampling defaults of the model's own file.
struct SamplingDefaultsInfo {
  std::optional<double> temperature, topP, minP;
  std::optional<uint32_t> topK;
};

struct ModelInfo {
  std::string_view name;
  std::vector<EntryInfo> entries;
  std::vector<StateInfo> states;
  std::vector<CodeInfo> codes;
  uint32_t weightsSegment = 0;
  std::optional<uint32_t> tokenizerSegment;
  std::string_view chatTemplate; ///< Empty: none.
  uint32_t vocabSize = 0;
  uint32_t contextLength = 0;
  std::vector<uint32_t> stopIds; ///< Strictly ascending.
  std::optional<ModelFacts> facts;
  SamplingDefaultsInfo sampling;

  /// The entry of that name, null if there is none.
  const EntryInfo *findEntry(std::string_view entryName) const;
  /// The step entry, null if the model has none.
  const EntryInfo *stepEntry() const;
};

/// A verifier that reads a template with a candidate of models()[0].
struct VerifierInfo {
  uint32_t model = 0; ///< Reads the rendered template; 0: the generator itself.
  std::string_view templateText, score;
};

/// The value after a token of models()[0] is gain * x + bias, where x is the
/// logit of `token`, or without one the output "value" of its entry.
struct ValueHeadInfo {
  std::optional<int32_t> token;
  float gain = 1, bias = 0;
};

struct CompileOptionInfo {
  std::string_view name, value;
};

/// All of the metadata; texts point into the Artifact's own copy of it.
struct ArtifactMetadata {
  std::string_view producer;
  uint32_t abiVersion = 0;
  std::vector<std::string_view> requiredFeatures;
  std::string_view numericProfile;
  std::vector<CompileOptionInfo> options;
  std::vector<SegmentInfo> segments;
  std::vector<ModelInfo> models;
  /// At most one of the two.
  std::optional<VerifierInfo> verifier;
  std::optional<ValueHeadInfo> valueHead;
};

/// Bytes of one page of a paged key-value cache: per layer and kv head keys
/// [headDim][32] and values [32][headDim rounded up to 16]. Nothing on
/// overflow.
std::optional<uint64_t> pagedStateBytes(uint64_t layers, uint64_t kvHeads,
                                        uint64_t headDim, DType dtype);

/// An open file. Immutable; any number of threads may read it.
class Artifact {
public:
  /// Maps and verifies the file. Errors: A01 to A05, A07, A08, A15 (exit 3),
  /// or what the file system says (exit 5).
  static StatusOr<std::shared_ptr<const Artifact>>
  open(const std::string &path);

  Artifact(const Artifact &) = delete;
  Artifact &operator=(const Artifact &) = delete;

  const std::string &path() const { return filePath; }
  uint16_t majorVersion() const { return major; }
  uint16_t minorVersion() const { return minor; }
  uint64_t fileSize() const { return mapping.size(); }
  /// The header's hash over header and metadata, which hold all other hashes:
  /// 64 hexadecimal digits that name the file's whole content.
  const std::string &artifactSha256() const { return sha256Hex; }

  const ArtifactMetadata &metadata() const { return content; }
  const std::vector<ModelInfo> &models() const { return content.models; }
  /// Index of the model of that name, if there is one.
  std::optional<size_t> findModel(std::string_view name) const;

  /// A segment's bytes in the read-only mapping, aligned to 4096; alive as long
  /// as the Artifact. `index` < metadata().segments.size().
  const uint8_t *segmentData(uint32_t index) const;
  uint64_t segmentSize(uint32_t index) const {
    return content.segments[index].size;
  }
  std::string_view segmentBytes(uint32_t index) const;

  /// A13 (exit code 5) if a page of the file could not be read so far: it was
  /// cut, or its device failed. What was computed since is worth nothing. Costs
  /// no system call; needs FileMapping::installFaultHandler().
  Status checkPages() const;

  /// Hashes all segments again, for a file that may have changed since.
  Status verifySegments() const;

private:
  explicit Artifact(FileMapping file);
  Status readHeader(const uint8_t *bytes, uint64_t &metadataOffset,
                    uint64_t &metadataSize);
  Status checkLayout(uint64_t metadataOffset) const;
  std::string place(const std::string &field) const;

  std::string filePath;
  std::string escapedPath;
  FileMapping mapping;
  std::vector<uint8_t> metadataBytes;
  ArtifactMetadata content;
  std::string sha256Hex;
  uint16_t major = 0, minor = 0;
};

} // namespace chorus::rt

#endif // CHORUS_RT_ARTIFACT_H
