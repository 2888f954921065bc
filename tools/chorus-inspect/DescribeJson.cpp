//===- DescribeJson.cpp - An artifact's metadata as JSON ------------------===//

#include "Describe.h"

#include <nlohmann/json.hpp>

using namespace chorus;
using namespace chorus::inspect;

using Json = nlohmann::ordered_json;

/// Null where there is nothing.
template <typename T> static Json orNull(const std::optional<T> &value) {
  return value ? Json(*value) : Json();
}

static Json idOrNull(int32_t id) { return id < 0 ? Json() : Json(id); }

static Json dimJson(const rt::EntryInfo &entry, const rt::DimInfo &dim) {
  return dim.isSymbol() ? Json(entry.symbols[dim.symbol]) : Json(dim.fixed);
}

static Json tensorJson(const rt::EntryInfo &entry,
                       const rt::TensorInfo &tensor) {
  Json dims = Json::array();
  for (const rt::DimInfo &dim : tensor.dims)
    dims.push_back(dimJson(entry, dim));
  return {{"name", tensor.name},
          {"dtype", rt::dtypeName(tensor.dtype)},
          {"shape", dims}};
}

static Json entryJson(const rt::EntryInfo &entry) {
  Json inputs = Json::array(), outputs = Json::array(), arena = Json::array();
  for (const rt::TensorInfo &tensor : entry.inputs)
    inputs.push_back(tensorJson(entry, tensor));
  for (const rt::TensorInfo &tensor : entry.outputs)
    outputs.push_back(tensorJson(entry, tensor));
  for (const rt::ArenaTermInfo &term : entry.arena) {
    Json symbols = Json::array();
    for (uint32_t symbol : term.symbols)
      symbols.push_back(entry.symbols[symbol]);
    arena.push_back({{"bytes", term.bytes}, {"symbols", symbols}});
  }
  Json indexBounds = Json::array(), sizeBounds = Json::array();
  for (const rt::IndexBoundInfo &bound : entry.indexBounds)
    indexBounds.push_back({{"input", entry.inputs[bound.input].name},
                           {"below", dimJson(entry, bound.below)}});
  for (const rt::SizeBoundInfo &bound : entry.sizeBounds)
    sizeBounds.push_back({{"size", dimJson(entry, bound.size)},
                          {"at_most", dimJson(entry, bound.atMost)}});
  return {{"name", entry.name},
          {"kind", entry.kind == rt::EntryKind::Step ? "step" : "plain"},
          {"function", entry.function},
          {"symbols", entry.symbols},
          {"inputs", inputs},
          {"outputs", outputs},
          {"index_bounds", indexBounds},
          {"size_bounds", sizeBounds},
          {"arena", arena}};
}

static Json factsJson(const rt::ModelFacts &facts) {
  return {{"name", facts.name},
          {"architecture", facts.architecture},
          {"license", facts.license},
          {"source_sha256", facts.sourceSha256},
          {"source_bytes", facts.sourceBytes},
          {"parameters", facts.parameters},
          {"d_model", facts.dModel},
          {"d_ff", facts.dFF},
          {"num_layers", facts.numLayers},
          {"num_heads", facts.numHeads},
          {"num_kv_heads", facts.numKVHeads},
          {"head_dim", facts.headDim},
          {"packed_linear_bytes", facts.packedLinearBytes}};
}

static Json tokenizerJson(const std::optional<TokenizerSummary> &tokenizer,
                          const rt::ModelInfo &model) {
  if (!tokenizer)
    return Json();
  return {{"kind", "byte-level-bpe"},
          {"segment", orNull(model.tokenizerSegment)},
          {"pre", tokenizer->pre},
          {"tokens", tokenizer->tokens},
          {"merges", tokenizer->merges},
          {"bos_id", idOrNull(tokenizer->bosId)},
          {"eos_id", idOrNull(tokenizer->eosId)},
          {"unknown_id", idOrNull(tokenizer->unknownId)},
          {"padding_id", idOrNull(tokenizer->paddingId)},
          {"add_bos", tokenizer->addBos},
          {"add_eos", tokenizer->addEos}};
}

static Json modelJson(const rt::ModelInfo &model,
                      const std::optional<TokenizerSummary> &tokenizer) {
  Json entries = Json::array(), states = Json::array(), codes = Json::array();
  for (const rt::EntryInfo &entry : model.entries)
    entries.push_back(entryJson(entry));
  for (const rt::StateInfo &state : model.states)
    states.push_back({{"kind", "paged-kv"},
                      {"dtype", rt::dtypeName(state.dtype)},
                      {"layers", state.layers},
                      {"kv_heads", state.kvHeads},
                      {"head_dim", state.headDim},
                      {"page_positions", state.pagePositions},
                      {"page_bytes", state.pageBytes}});
  for (const rt::CodeInfo &code : model.codes) {
    Json kernels = Json::array();
    for (const rt::KernelInfo &kernel : code.kernels)
      kernels.push_back(kernel.name);
    codes.push_back({{"target", code.target},
                     {"features", code.features},
                     {"segment", code.segment},
                     {"kernels", kernels}});
  }
  Json sampling = {{"temperature", orNull(model.sampling.temperature)},
                   {"top_p", orNull(model.sampling.topP)},
                   {"top_k", orNull(model.sampling.topK)},
                   {"min_p", orNull(model.sampling.minP)}};
  return {{"name", model.name},
          {"facts", model.facts ? factsJson(*model.facts) : Json()},
          {"vocab_size", model.vocabSize},
          {"context_length", model.contextLength},
          {"entries", entries},
          {"states", states},
          {"codes", codes},
          {"weights_segment", model.weightsSegment},
          {"tokenizer", tokenizerJson(tokenizer, model)},
          {"chat_template",
           model.chatTemplate.empty() ? Json() : Json(model.chatTemplate)},
          {"stop_ids", model.stopIds},
          {"sampling", sampling}};
}

static Json verifierJson(const rt::ArtifactMetadata &metadata) {
  if (!metadata.verifier)
    return nullptr;
  return {{"model", metadata.models[metadata.verifier->model].name},
          {"template", metadata.verifier->templateText},
          {"score", metadata.verifier->score}};
}

static Json valueHeadJson(const rt::ArtifactMetadata &metadata) {
  const std::optional<rt::ValueHeadInfo> &head = metadata.valueHead;
  if (!head)
    return nullptr;
  Json token = head->token ? Json(*head->token) : Json(nullptr);
  return {{"token", token}, {"gain", head->gain}, {"bias", head->bias}};
}

std::string inspect::describeJson(
    const rt::Artifact &artifact,
    const std::vector<std::optional<TokenizerSummary>> &tokenizers) {
  const rt::ArtifactMetadata &metadata = artifact.metadata();
  Json models = Json::array(), segments = Json::array(),
       options = Json::object();
  for (size_t i = 0; i < metadata.models.size(); ++i)
    models.push_back(modelJson(metadata.models[i], tokenizers[i]));
  for (const rt::SegmentInfo &segment : metadata.segments)
    segments.push_back({{"kind", segmentKindName(segment.kind)},
                        {"offset", segment.offset},
                        {"size", segment.size},
                        {"sha256", rt::toHex(segment.sha256)}});
  for (const rt::CompileOptionInfo &option : metadata.options)
    options[std::string(option.name)] = option.value;
  Json root = {{"path", artifact.path()},
               {"artifact_sha256", artifact.artifactSha256()},
               {"format_version", std::to_string(artifact.majorVersion()) +
                                      "." +
                                      std::to_string(artifact.minorVersion())},
               {"abi_version", metadata.abiVersion},
               {"size", artifact.fileSize()},
               {"producer", metadata.producer},
               {"required_features", metadata.requiredFeatures},
               {"numeric_profile", metadata.numericProfile},
               {"options", options},
               {"models", models},
               {"verifier", verifierJson(metadata)},
               {"value_head", valueHeadJson(metadata)},
               {"segments", segments}};
  // Names come from files: bytes that are no UTF-8 are replaced.
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}
