//===- ArtifactMetadata.cpp - The checked metadata of an artifact ---------===//

#include "ArtifactMetadata.h"

#include "chorus_rt/schema/artifact_generated.h"
#include "chorus_rt/step_abi.h"

#include <algorithm>
#include <cmath>

using namespace chorus::rt;
namespace fb = chorus::artifact;

namespace {

// A model's metadata stays far below these; they bound what a hostile file can
// make the loader allocate, together with the size limit of the metadata.
constexpr unsigned maxDepth = 16;
/// A vector of names is walked once for each table that points to it, so tables
/// times bytes bounds the verifier's work.
constexpr uint64_t maxTables = 16384;
constexpr uint64_t maxTablesTimesBytes = uint64_t(1) << 28;
constexpr uint32_t maxRank = 16;
constexpr uint32_t maxSymbols = 64;
constexpr uint32_t maxTermSymbols = 4;
constexpr uint32_t maxFeatures = 256;
constexpr uint32_t maxKernels = 65536;
constexpr uint32_t maxStopIds = 65536;
constexpr uint64_t maxBytes = uint64_t(1)
                              << 48; ///< Of a tensor, an arena term.
constexpr uint32_t maxContext = 0x7FFFFFFF;

/// "codes", 3 ==> "codes[3]".
std::string item(const std::string &list, size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

std::string quoted(std::string_view text) {
  return "'" + escapeForMessage(text) + "'";
}

/// The index of a name that an earlier item has too, in any order of items.
template <typename List, typename NameOf>
const std::string_view *repeatedName(const List &list, NameOf nameOf,
                                     std::vector<std::string_view> &names) {
  names.clear();
  for (const auto &element : list)
    names.push_back(nameOf(element));
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  return twice == names.end() ? nullptr : &*twice;
}

/// a * b unless the product passes `limit`.
bool multiplyWithin(uint64_t &a, uint64_t b, uint64_t limit) {
  if (a != 0 && b > limit / a)
    return false;
  a *= b;
  return true;
}

class Decoder {
public:
  Decoder(const std::vector<uint8_t> &bytes, const std::string &file)
      : bytes(bytes), file(file) {}

  Status decode(ArtifactMetadata &out);

private:
  Status error(const char *code, const std::string &path,
               const std::string &message) const {
    return refused(code, file + ": metadata." + path, message);
  }

  /// `text` or, where the field is absent, nothing.
  static std::string_view optionalText(const flatbuffers::String *text) {
    return text ? std::string_view(text->c_str(), text->size())
                : std::string_view();
  }
  Status text(const flatbuffers::String *text, const std::string &path,
              std::string_view &out) const;
  Status name(const flatbuffers::String *text, const std::string &path,
              std::string_view &out) const;
  template <typename Vector>
  Status texts(const Vector *list, const std::string &path, uint32_t limit,
               std::vector<std::string_view> &out) const;
  template <typename List, typename NameOf>
  Status noneTwice(const List &list, const std::string &path,
                   NameOf nameOf) const;
  Status dtype(fb::DType value, const std::string &path, DType &out) const;
  /// `index` must name one of the file's segments, of kind `kind`.
  Status segmentIndex(uint64_t index, SegmentKind kind,
                      const std::string &path) const;

  Status versions(const fb::Artifact &root, ArtifactMetadata &out) const;
  Status segment(const fb::Segment *in, const std::string &path,
                 SegmentInfo &out) const;
  Status dim(const fb::Dim &in, const std::string &path, size_t numSymbols,
             DimInfo &out) const;
  Status tensor(const fb::Tensor *in, const std::string &path,
                size_t numSymbols, TensorInfo &out) const;
  template <typename Vector>
  Status tensors(const Vector *list, const std::string &path, size_t numSymbols,
                 std::vector<TensorInfo> &out) const;
  Status entry(const fb::Entry *in, const std::string &path,
               EntryInfo &out) const;
  Status bounds(const fb::Entry *in, const std::string &path,
                EntryInfo &out) const;
  Status plainEntry(const EntryInfo &entry, const std::string &path) const;
  Status stepEntry(const EntryInfo &entry, const ModelInfo &model,
                   const std::string &path) const;
  Status state(const fb::State *in, const std::string &path,
               StateInfo &out) const;
  Status code(const fb::Code *in, const std::string &path, CodeInfo &out) const;
  Status sampling(const fb::SamplingDefaults *in, const std::string &path,
                  SamplingDefaultsInfo &out) const;
  Status model(const fb::Model *in, const std::string &path,
               ModelInfo &out) const;
  Status modelEntries(const fb::Model *in, const std::string &path,
                      ModelInfo &out) const;

  Status valueHead(const fb::ValueHead &in, const ModelInfo &model,
                   ValueHeadInfo &out) const;

  const std::vector<uint8_t> &bytes;
  const std::string &file;
  std::vector<SegmentInfo> segments;
};

Status Decoder::text(const flatbuffers::String *text, const std::string &path,
                     std::string_view &out) const {
  if (!text)
    return error("A04", path, "absent, needed");
  out = optionalText(text);
  return Status();
}

Status Decoder::name(const flatbuffers::String *in, const std::string &path,
                     std::string_view &out) const {
  CHORUS_RETURN_IF_ERROR(text(in, path, out));
  if (out.empty())
    return error("A04", path, "empty, a name is needed");
  if (out.find('\0') != std::string_view::npos)
    return error("A04", path, quoted(out) + " holds a NUL");
  return Status();
}

template <typename Vector>
Status Decoder::texts(const Vector *list, const std::string &path,
                      uint32_t limit,
                      std::vector<std::string_view> &out) const {
  if (!list)
    return Status();
  if (list->size() > limit)
    return error("A04", path,
                 std::to_string(list->size()) + " items, at most " +
                     std::to_string(limit) + " are allowed");
  out.resize(list->size());
  for (uint32_t i = 0; i < list->size(); ++i)
    CHORUS_RETURN_IF_ERROR(name(list->Get(i), item(path, i), out[i]));
  return Status();
}

template <typename List, typename NameOf>
Status Decoder::noneTwice(const List &list, const std::string &path,
                          NameOf nameOf) const {
  std::vector<std::string_view> names;
  if (const std::string_view *twice = repeatedName(list, nameOf, names))
    return error("A05", path, quoted(*twice) + " is there twice");
  return Status();
}

Status Decoder::dtype(fb::DType value, const std::string &path,
                      DType &out) const {
  if (value > fb::DType::MAX)
    return error("A08", path,
                 "element type " + std::to_string(static_cast<int>(value)) +
                     ", known are 0 to " +
                     std::to_string(static_cast<int>(fb::DType::MAX)));
  out = static_cast<DType>(value);
  return Status();
}

Status Decoder::segmentIndex(uint64_t index, SegmentKind kind,
                             const std::string &path) const {
  if (index >= segments.size())
    return error("A08", path,
                 "segment " + std::to_string(index) + " of " +
                     std::to_string(segments.size()));
  if (segments[index].kind != kind)
    return error("A08", path,
                 "segment " + std::to_string(index) + " has kind " +
                     std::to_string(static_cast<int>(segments[index].kind)) +
                     ", needed " + std::to_string(static_cast<int>(kind)));
  return Status();
}

Status Decoder::versions(const fb::Artifact &root,
                         ArtifactMetadata &out) const {
  out.abiVersion = root.abi_version();
  if (out.abiVersion == 0 || out.abiVersion > CHORUS_STEP_ABI_VERSION)
    return error("A03", "abi_version",
                 "step ABI " + std::to_string(out.abiVersion) +
                     ", this version runs 1 to " +
                     std::to_string(CHORUS_STEP_ABI_VERSION));
  CHORUS_RETURN_IF_ERROR(texts(root.required_features(), "required_features",
                               maxFeatures, out.requiredFeatures));
  // Version 1.0 has no features to require.
  if (!out.requiredFeatures.empty())
    return error("A03", "required_features",
                 "feature " + quoted(out.requiredFeatures.front()) +
                     " is unknown to format version 1.0; a newer Chorus is "
                     "needed");
  return Status();
}

Status Decoder::segment(const fb::Segment *in, const std::string &path,
                        SegmentInfo &out) const {
  out.kind = static_cast<SegmentKind>(in->kind());
  out.offset = in->offset();
  out.size = in->size();
  if (!in->sha256() || in->sha256()->size() != out.sha256.size())
    return error("A04", path + ".sha256",
                 std::to_string(in->sha256() ? in->sha256()->size() : 0) +
                     " bytes, needed 32");
  std::copy(in->sha256()->begin(), in->sha256()->end(), out.sha256.begin());
  return Status();
}

Status Decoder::dim(const fb::Dim &in, const std::string &path,
                    size_t numSymbols, DimInfo &out) const {
  out = {in.fixed() < 0 ? -1 : in.fixed(), in.fixed() < 0 ? in.symbol() : 0};
  if (out.isSymbol() && out.symbol >= numSymbols)
    return error("A08", path,
                 "symbol " + std::to_string(out.symbol) + " of " +
                     std::to_string(numSymbols));
  return Status();
}

Status Decoder::tensor(const fb::Tensor *in, const std::string &path,
                       size_t numSymbols, TensorInfo &out) const {
  CHORUS_RETURN_IF_ERROR(name(in->name(), path + ".name", out.name));
  CHORUS_RETURN_IF_ERROR(dtype(in->dtype(), path + ".dtype", out.dtype));
  if (!in->dims())
    return Status();
  // The verifier checks where the vector's length lies, not its structs.
  if (reinterpret_cast<uintptr_t>(in->dims()->Data()) % alignof(fb::Dim))
    return error("A04", path + ".dims", "unaligned");
  if (in->dims()->size() > maxRank)
    return error("A07", path + ".dims",
                 "rank " + std::to_string(in->dims()->size()) + ", at most " +
                     std::to_string(maxRank) + " is allowed");
  uint64_t size = dtypeSize(out.dtype);
  for (uint32_t i = 0; i < in->dims()->size(); ++i) {
    DimInfo info;
    CHORUS_RETURN_IF_ERROR(
        dim(*in->dims()->Get(i), item(path + ".dims", i), numSymbols, info));
    if (!info.isSymbol() &&
        !multiplyWithin(size, static_cast<uint64_t>(info.fixed), maxBytes))
      return error("A07", path + ".dims", "size exceeds 2^48 bytes");
    out.dims.push_back(info);
  }
  return Status();
}

template <typename Vector>
Status Decoder::tensors(const Vector *list, const std::string &path,
                        size_t numSymbols, std::vector<TensorInfo> &out) const {
  if (!list)
    return Status();
  out.resize(list->size());
  for (uint32_t i = 0; i < list->size(); ++i)
    CHORUS_RETURN_IF_ERROR(
        tensor(list->Get(i), item(path, i), numSymbols, out[i]));
  return noneTwice(out, path, [](const TensorInfo &t) { return t.name; });
}

Status Decoder::entry(const fb::Entry *in, const std::string &path,
                      EntryInfo &out) const {
  CHORUS_RETURN_IF_ERROR(name(in->name(), path + ".name", out.name));
  CHORUS_RETURN_IF_ERROR(
      name(in->function(), path + ".function", out.function));
  if (in->kind() > fb::EntryKind::MAX)
    return error("A08", path + ".kind",
                 "kind " + std::to_string(static_cast<int>(in->kind())) +
                     ", known are 0 (step) and 1 (plain)");
  out.kind = static_cast<EntryKind>(in->kind());
  CHORUS_RETURN_IF_ERROR(
      texts(in->symbols(), path + ".symbols", maxSymbols, out.symbols));
  CHORUS_RETURN_IF_ERROR(noneTwice(out.symbols, path + ".symbols",
                                   [](std::string_view s) { return s; }));
  CHORUS_RETURN_IF_ERROR(
      tensors(in->inputs(), path + ".inputs", out.symbols.size(), out.inputs));
  CHORUS_RETURN_IF_ERROR(tensors(in->outputs(), path + ".outputs",
                                 out.symbols.size(), out.outputs));
  CHORUS_RETURN_IF_ERROR(bounds(in, path, out));
  if (!in->arena())
    return Status();
  out.arena.resize(in->arena()->size());
  uint64_t fixedBytes = 0;
  for (uint32_t i = 0; i < out.arena.size(); ++i) {
    const fb::ArenaTerm *term = in->arena()->Get(i);
    std::string termPath = item(path + ".arena", i);
    out.arena[i].bytes = term->bytes();
    fixedBytes += std::min(term->bytes(), maxBytes + 1);
    if (fixedBytes > maxBytes)
      return error("A07", termPath + ".bytes", "sum exceeds 2^48 bytes");
    if (!term->symbols())
      continue;
    if (term->symbols()->size() > maxTermSymbols)
      return error("A07", termPath + ".symbols",
                   std::to_string(term->symbols()->size()) +
                       " symbols, at most 4 are allowed");
    for (uint32_t symbol : *term->symbols()) {
      if (symbol >= out.symbols.size())
        return error("A08", termPath + ".symbols",
                     "symbol " + std::to_string(symbol) + " of " +
                         std::to_string(out.symbols.size()));
      out.arena[i].symbols.push_back(symbol);
    }
  }
  return Status();
}

Status Decoder::bounds(const fb::Entry *in, const std::string &path,
                       EntryInfo &out) const {
  size_t numSymbols = out.symbols.size();
  auto read = [&](const fb::Dim *from, const std::string &dimPath,
                  DimInfo &to) {
    return from ? dim(*from, dimPath, numSymbols, to)
                : error("A04", dimPath, "absent, needed");
  };
  if (in->index_bounds())
    out.indexBounds.resize(in->index_bounds()->size());
  for (uint32_t i = 0; i < out.indexBounds.size(); ++i) {
    const fb::IndexBound *bound = in->index_bounds()->Get(i);
    std::string boundPath = item(path + ".index_bounds", i);
    uint32_t input = out.indexBounds[i].input = bound->input();
    if (input >= out.inputs.size())
      return error("A08", boundPath + ".input",
                   "input " + std::to_string(input) + " of " +
                       std::to_string(out.inputs.size()));
    if (!isInteger(out.inputs[input].dtype))
      return error("A07", boundPath + ".input",
                   quoted(out.inputs[input].name) + " has elements of type " +
                       std::string(dtypeName(out.inputs[input].dtype)) +
                       ", needed integers");
    CHORUS_RETURN_IF_ERROR(
        read(bound->below(), boundPath + ".below", out.indexBounds[i].below));
  }
  if (in->size_bounds())
    out.sizeBounds.resize(in->size_bounds()->size());
  for (uint32_t i = 0; i < out.sizeBounds.size(); ++i) {
    const fb::SizeBound *bound = in->size_bounds()->Get(i);
    std::string boundPath = item(path + ".size_bounds", i);
    CHORUS_RETURN_IF_ERROR(
        read(bound->size(), boundPath + ".size", out.sizeBounds[i].size));
    CHORUS_RETURN_IF_ERROR(read(bound->at_most(), boundPath + ".at_most",
                                out.sizeBounds[i].atMost));
  }
  return Status();
}

/// A call binds a symbol from the inputs' shapes, so each must be in one.
Status Decoder::plainEntry(const EntryInfo &entry,
                           const std::string &path) const {
  std::vector<bool> bound(entry.symbols.size());
  for (const TensorInfo &input : entry.inputs)
    for (const DimInfo &dim : input.dims)
      if (dim.isSymbol())
        bound[dim.symbol] = true;
  for (size_t i = 0; i < bound.size(); ++i)
    if (!bound[i])
      return error("A08", item(path + ".symbols", i),
                   quoted(entry.symbols[i]) + " is in no input's shape");
  return Status();
}

/// The step entry's arguments are fixed by step_abi.h; the runtime passes them
/// without looking at the metadata.
Status Decoder::stepEntry(const EntryInfo &entry, const ModelInfo &model,
                          const std::string &path) const {
  struct Expected {
    std::string_view name;
    DType dtype;
    std::vector<DimInfo> dims;
  };
  const DimInfo rows{-1, 0}, outputRows{-1, 1},
      vocab{static_cast<int64_t>(model.vocabSize), 0};
  auto check = [&](const std::vector<TensorInfo> &found,
                   const std::vector<Expected> &needed,
                   const std::string &listPath) {
    if (found.size() != needed.size())
      return error("A07", listPath,
                   std::to_string(found.size()) +
                       " tensors, the step ABI has " +
                       std::to_string(needed.size()));
    for (size_t i = 0; i < needed.size(); ++i) {
      const TensorInfo &tensor = found[i];
      auto same = [](const DimInfo &a, const DimInfo &b) {
        return a.fixed == b.fixed && (!a.isSymbol() || a.symbol == b.symbol);
      };
      if (tensor.name != needed[i].name || tensor.dtype != needed[i].dtype ||
          !std::equal(tensor.dims.begin(), tensor.dims.end(),
                      needed[i].dims.begin(), needed[i].dims.end(), same))
        return error("A07", item(listPath, i),
                     quoted(tensor.name) + " differs from the step ABI's " +
                         std::string(needed[i].name) +
                         " in name, element type or shape");
    }
    return Status();
  };
  if (entry.symbols != std::vector<std::string_view>{"T", "R"})
    return error("A07", path + ".symbols", "the step ABI has T and R");
  CHORUS_RETURN_IF_ERROR(check(entry.inputs,
                               {{"tokens", DType::I32, {rows}},
                                {"positions", DType::I32, {rows}},
                                {"output_rows", DType::I32, {outputRows}}},
                               path + ".inputs"));
  std::vector<Expected> outputs = {{"logits", DType::F32, {outputRows, vocab}},
                                   {"log_sum_exp", DType::F32, {outputRows}}};
  if (entry.outputs.size() > outputs.size())
    outputs.push_back({"value", DType::F32, {outputRows, DimInfo{1, 0}}});
  CHORUS_RETURN_IF_ERROR(check(entry.outputs, outputs, path + ".outputs"));
  if (model.states.size() != 1)
    return error("A07", path,
                 "the step ABI has 1 state, the model " +
                     std::to_string(model.states.size()));
  return Status();
}

Status Decoder::state(const fb::State *in, const std::string &path,
                      StateInfo &out) const {
  if (in->kind() > fb::StateKind::MAX)
    return error("A08", path + ".kind",
                 "kind " + std::to_string(static_cast<int>(in->kind())) +
                     ", known is 0 (paged key-value cache)");
  out.kind = static_cast<StateKind>(in->kind());
  CHORUS_RETURN_IF_ERROR(dtype(in->dtype(), path + ".dtype", out.dtype));
  if (out.dtype != DType::F16 && out.dtype != DType::F32)
    return error("A08", path + ".dtype",
                 std::string(dtypeName(out.dtype)) + ", needed f16 or f32");
  out.layers = in->layers();
  out.kvHeads = in->kv_heads();
  out.headDim = in->head_dim();
  out.pagePositions = in->page_positions();
  out.pageBytes = in->page_bytes();
  if (out.pagePositions != CHORUS_PAGE_POSITIONS)
    return error("A07", path + ".page_positions",
                 std::to_string(out.pagePositions) + ", needed " +
                     std::to_string(CHORUS_PAGE_POSITIONS));
  std::optional<uint64_t> needed =
      pagedStateBytes(out.layers, out.kvHeads, out.headDim, out.dtype);
  if (!needed || *needed == 0)
    return error("A07", path,
                 "layers, kv_heads and head_dim must be positive and a page at "
                 "most 2^48 bytes");
  if (out.pageBytes != *needed)
    return error("A07", path + ".page_bytes",
                 std::to_string(out.pageBytes) + ", needed " +
                     std::to_string(*needed));
  return Status();
}

Status Decoder::code(const fb::Code *in, const std::string &path,
                     CodeInfo &out) const {
  CHORUS_RETURN_IF_ERROR(name(in->target(), path + ".target", out.target));
  CHORUS_RETURN_IF_ERROR(
      texts(in->features(), path + ".features", maxFeatures, out.features));
  out.segment = in->segment();
  uint32_t kernels = in->kernels() ? in->kernels()->size() : 0;
  if (kernels > maxKernels)
    return error("A08", path + ".kernels",
                 std::to_string(kernels) + ", allowed are " +
                     std::to_string(maxKernels));
  for (uint32_t i = 0; i < kernels; ++i) {
    const fb::Kernel *kernel = in->kernels()->Get(i);
    KernelInfo &info = out.kernels.emplace_back();
    CHORUS_RETURN_IF_ERROR(
        name(kernel->name(), item(path + ".kernels", i) + ".name", info.name));
    info.int8Operations = kernel->int8_operations();
    info.f32Operations = kernel->f32_operations();
    info.perPosition = kernel->per_position();
    info.weightBytes = kernel->weight_bytes();
    info.rowsSymbol = kernel->rows_symbol();
  }
  return segmentIndex(out.segment, SegmentKind::Code, path + ".segment");
}

Status Decoder::sampling(const fb::SamplingDefaults *in,
                         const std::string &path,
                         SamplingDefaultsInfo &out) const {
  if (!in)
    return Status();
  auto read = [&](const std::optional<double> &value, const char *field,
                  double largest, std::optional<double> &result) {
    if (!value.has_value())
      return Status();
    if (!(*value >= 0 && *value <= largest))
      return error("A08", path + "." + field, "out of range");
    result = value;
    return Status();
  };
  CHORUS_RETURN_IF_ERROR(
      read(in->temperature(), "temperature", 1e6, out.temperature));
  CHORUS_RETURN_IF_ERROR(read(in->top_p(), "top_p", 1, out.topP));
  CHORUS_RETURN_IF_ERROR(read(in->min_p(), "min_p", 1, out.minP));
  out.topK = in->top_k();
  return Status();
}

Status Decoder::modelEntries(const fb::Model *in, const std::string &path,
                             ModelInfo &out) const {
  if (!in->entries() || in->entries()->size() == 0)
    return error("A04", path + ".entries", "absent, at least 1 is needed");
  out.entries.resize(in->entries()->size());
  const EntryInfo *step = nullptr;
  for (uint32_t i = 0; i < out.entries.size(); ++i) {
    EntryInfo &info = out.entries[i];
    std::string entryPath = item(path + ".entries", i);
    CHORUS_RETURN_IF_ERROR(entry(in->entries()->Get(i), entryPath, info));
    if (info.kind == EntryKind::Plain) {
      CHORUS_RETURN_IF_ERROR(plainEntry(info, entryPath));
      continue;
    }
    if (step)
      return error("A05", entryPath, "a second step entry");
    step = &info;
    CHORUS_RETURN_IF_ERROR(stepEntry(info, out, entryPath));
  }
  if (step && (out.vocabSize == 0 || out.contextLength == 0))
    return error("A07", path, "vocab_size and context_length must be positive");
  return noneTwice(out.entries, path + ".entries",
                   [](const EntryInfo &e) { return e.name; });
}

Status Decoder::model(const fb::Model *in, const std::string &path,
                      ModelInfo &out) const {
  CHORUS_RETURN_IF_ERROR(name(in->name(), path + ".name", out.name));
  out.chatTemplate = optionalText(in->chat_template());
  out.vocabSize = in->vocab_size();
  out.contextLength = in->context_length();
  if (out.contextLength > maxContext || out.vocabSize > maxContext)
    return error("A07", path, "vocab_size or context_length over 2^31-1");

  if (in->states()) {
    out.states.resize(in->states()->size());
    for (uint32_t i = 0; i < out.states.size(); ++i)
      CHORUS_RETURN_IF_ERROR(state(in->states()->Get(i),
                                   item(path + ".states", i), out.states[i]));
  }
  CHORUS_RETURN_IF_ERROR(modelEntries(in, path, out));

  if (!in->codes() || in->codes()->size() == 0)
    return error("A04", path + ".codes", "absent, at least 1 is needed");
  out.codes.resize(in->codes()->size());
  for (uint32_t i = 0; i < out.codes.size(); ++i)
    CHORUS_RETURN_IF_ERROR(
        code(in->codes()->Get(i), item(path + ".codes", i), out.codes[i]));
  CHORUS_RETURN_IF_ERROR(noneTwice(out.codes, path + ".codes",
                                   [](const CodeInfo &c) { return c.target; }));

  out.weightsSegment = in->weights_segment();
  CHORUS_RETURN_IF_ERROR(segmentIndex(out.weightsSegment, SegmentKind::Weights,
                                      path + ".weights_segment"));
  uint64_t weightsSize = segments[out.weightsSegment].size;
  if (in->weights_bytes() != weightsSize)
    return error("A07", path + ".weights_bytes",
                 "the code addresses " + std::to_string(in->weights_bytes()) +
                     " bytes, the segment has " + std::to_string(weightsSize));
  if (in->tokenizer_segment() < -1)
    return error("A08", path + ".tokenizer_segment",
                 std::to_string(in->tokenizer_segment()) +
                     ", needed -1 or an index");
  if (in->tokenizer_segment() >= 0) {
    out.tokenizerSegment = static_cast<uint32_t>(in->tokenizer_segment());
    CHORUS_RETURN_IF_ERROR(segmentIndex(*out.tokenizerSegment,
                                        SegmentKind::Tokenizer,
                                        path + ".tokenizer_segment"));
  }

  if (in->stop_ids()) {
    if (in->stop_ids()->size() > maxStopIds)
      return error("A08", path + ".stop_ids", "more than 65536 ids");
    for (uint32_t id : *in->stop_ids()) {
      if (id >= out.vocabSize)
        return error("A08", path + ".stop_ids",
                     "id " + std::to_string(id) + " of " +
                         std::to_string(out.vocabSize));
      if (!out.stopIds.empty() && id <= out.stopIds.back())
        return error("A08", path + ".stop_ids",
                     "id " + std::to_string(id) + " is not ascending");
      out.stopIds.push_back(id);
    }
  }
  if (const fb::Facts *facts = in->facts()) {
    ModelFacts info;
    info.name = optionalText(facts->name());
    info.architecture = optionalText(facts->architecture());
    info.license = optionalText(facts->license());
    info.sourceSha256 = optionalText(facts->source_sha256());
    info.sourceBytes = facts->source_bytes();
    info.parameters = facts->parameters();
    info.dModel = facts->d_model();
    info.dFF = facts->d_ff();
    info.numLayers = facts->num_layers();
    info.numHeads = facts->num_heads();
    info.numKVHeads = facts->num_kv_heads();
    info.headDim = facts->head_dim();
    info.packedLinearBytes = facts->packed_linear_bytes();
    out.facts = info;
  }
  return sampling(in->sampling(), path + ".sampling", out.sampling);
}

Status Decoder::valueHead(const fb::ValueHead &in, const ModelInfo &model,
                          ValueHeadInfo &out) const {
  out.gain = in.gain();
  out.bias = in.bias();
  if (!std::isfinite(out.gain) || !std::isfinite(out.bias))
    return error("A08", "scoring.value_head", "gain or bias is not finite");
  if (in.token() >= 0) {
    if (static_cast<uint32_t>(in.token()) >= model.vocabSize)
      return error("A08", "scoring.value_head.token",
                   std::to_string(in.token()) + " of " +
                       std::to_string(model.vocabSize));
    out.token = in.token();
    return Status();
  }
  // The entry that generates.
  const EntryInfo *entry = model.stepEntry();
  if (!entry)
    entry = model.findEntry("main");
  if (!entry || entry->outputs.size() != 3 || entry->outputs[2].name != "value")
    return error("A07", "scoring.value_head",
                 "needs a third output \"value\" of the model's entry step or "
                 "main");
  return Status();
}

Status Decoder::decode(ArtifactMetadata &out) {
  uint64_t tables =
      std::min(maxTables, maxTablesTimesBytes / (bytes.size() + 1));
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), maxDepth,
                                 static_cast<unsigned>(tables));
  if (!fb::VerifyArtifactBuffer(verifier))
    return refused("A04", file + ": metadata",
                   "not a well-formed FlatBuffers structure of this format");
  const fb::Artifact &root = *fb::GetArtifact(bytes.data());
  CHORUS_RETURN_IF_ERROR(versions(root, out));
  out.producer = optionalText(root.producer());
  out.numericProfile = optionalText(root.numeric_profile());

  if (root.options())
    for (const fb::CompileOption *option : *root.options())
      out.options.push_back(
          {optionalText(option->name()), optionalText(option->value())});
  if (root.segments()) {
    out.segments.resize(root.segments()->size());
    for (uint32_t i = 0; i < out.segments.size(); ++i)
      CHORUS_RETURN_IF_ERROR(segment(root.segments()->Get(i),
                                     item("segments", i), out.segments[i]));
  }
  segments = out.segments;

  if (!root.models() || root.models()->size() == 0)
    return error("A04", "models", "absent, at least 1 is needed");
  out.models.resize(root.models()->size());
  for (uint32_t i = 0; i < out.models.size(); ++i)
    CHORUS_RETURN_IF_ERROR(
        model(root.models()->Get(i), item("models", i), out.models[i]));
  CHORUS_RETURN_IF_ERROR(noneTwice(out.models, "models",
                                   [](const ModelInfo &m) { return m.name; }));
  const fb::Scoring *scoring = root.scoring();
  if (scoring && scoring->value_head()) {
    CHORUS_RETURN_IF_ERROR(valueHead(*scoring->value_head(), out.models.front(),
                                     out.valueHead.emplace()));
  } else if (scoring) {
    VerifierInfo &info = out.verifier.emplace();
    info.model = scoring->model();
    if (info.model >= out.models.size())
      return error("A08", "scoring.model",
                   std::to_string(info.model) + " of " +
                       std::to_string(out.models.size()));
    CHORUS_RETURN_IF_ERROR(text(scoring->template_text(),
                                "scoring.template_text", info.templateText));
    CHORUS_RETURN_IF_ERROR(text(scoring->score(), "scoring.score", info.score));
  }
  return Status();
}

} // namespace

uint64_t chorus::rt::dtypeSize(DType dtype) {
  switch (dtype) {
  case DType::I8:
  case DType::U8:
  case DType::Bool:
    return 1;
  case DType::F16:
  case DType::BF16:
    return 2;
  case DType::F32:
  case DType::I32:
    return 4;
  case DType::I64:
  case DType::F64:
    return 8;
  }
  return 0;
}

bool chorus::rt::isInteger(DType dtype) {
  return dtype == DType::I8 || dtype == DType::I32 || dtype == DType::I64 ||
         dtype == DType::U8 || dtype == DType::Bool;
}

std::string_view chorus::rt::dtypeName(DType dtype) {
  constexpr std::string_view names[] = {"f32", "f16", "bf16", "i8", "i32",
                                        "i64", "u8",  "bool", "f64"};
  return names[static_cast<size_t>(dtype)];
}

std::optional<uint64_t> chorus::rt::pagedStateBytes(uint64_t layers,
                                                    uint64_t kvHeads,
                                                    uint64_t headDim,
                                                    DType dtype) {
  if (headDim > (uint64_t(1) << 32))
    return std::nullopt;
  uint64_t valueChannels = (headDim + 15) / 16 * 16;
  uint64_t bytes = CHORUS_PAGE_POSITIONS * (headDim + valueChannels);
  if (!multiplyWithin(bytes, layers, maxBytes) ||
      !multiplyWithin(bytes, kvHeads, maxBytes) ||
      !multiplyWithin(bytes, dtypeSize(dtype), maxBytes))
    return std::nullopt;
  return bytes;
}

const EntryInfo *ModelInfo::findEntry(std::string_view entryName) const {
  for (const EntryInfo &entry : entries)
    if (entry.name == entryName)
      return &entry;
  return nullptr;
}

const EntryInfo *ModelInfo::stepEntry() const {
  for (const EntryInfo &entry : entries)
    if (entry.kind == EntryKind::Step)
      return &entry;
  return nullptr;
}

StatusOr<ArtifactMetadata>
chorus::rt::decodeMetadata(const std::vector<uint8_t> &bytes,
                           const std::string &file) {
  ArtifactMetadata metadata;
  Status status = Decoder(bytes, file).decode(metadata);
  if (!status.ok())
    return status;
  return metadata;
}
