//===- DescribeText.cpp - An artifact's metadata for people ---------------===//

#include "Describe.h"

#include <cstdio>

using namespace chorus;
using namespace chorus::inspect;

std::string inspect::segmentKindName(rt::SegmentKind kind) {
  switch (kind) {
  case rt::SegmentKind::Weights:
    return "weights";
  case rt::SegmentKind::Code:
    return "code";
  case rt::SegmentKind::Tokenizer:
    return "tokenizer";
  }
  return "kind " + std::to_string(static_cast<int>(kind));
}

static std::string clean(std::string_view text, size_t maxBytes = 200) {
  return rt::escapeForMessage(text, maxBytes);
}

/// "98362432 bytes (98.4 MB)".
static std::string sizeText(uint64_t bytes) {
  std::string text = std::to_string(bytes) + " bytes";
  const char *units[] = {"kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  while (value >= 1000 && unit < 3) {
    value /= 1000;
    ++unit;
  }
  if (bytes < 1000)
    return text;
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, " (%.1f %s)", value, units[unit]);
  return text + buffer;
}

static std::string dimText(const rt::EntryInfo &entry, const rt::DimInfo &dim) {
  return dim.isSymbol() ? clean(entry.symbols[dim.symbol])
                        : std::to_string(dim.fixed);
}

static std::string typeText(const rt::EntryInfo &entry,
                            const rt::TensorInfo &tensor) {
  std::string text(rt::dtypeName(tensor.dtype));
  text += " [";
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    text += i ? ", " : "";
    text += dimText(entry, tensor.dims[i]);
  }
  return text + "]";
}

static std::string arenaText(const rt::EntryInfo &entry) {
  std::string text;
  for (const rt::ArenaTermInfo &term : entry.arena) {
    text += (text.empty() ? "" : " + ") + std::to_string(term.bytes);
    for (uint32_t symbol : term.symbols)
      text += "*" + clean(entry.symbols[symbol]);
  }
  return text.empty() ? "none" : text + " bytes";
}

static std::string factsText(const rt::ModelFacts &facts) {
  std::string text;
  auto line = [&](const char *name, const std::string &value) {
    if (!value.empty() && value != "0")
      text += "  " + std::string(name) +
              std::string(16 - std::string(name).size(), ' ') + value + "\n";
  };
  line("name", clean(facts.name));
  line("architecture", clean(facts.architecture));
  line("license", clean(facts.license));
  line("parameters", std::to_string(facts.parameters));
  line("layers", std::to_string(facts.numLayers));
  line("d_model", std::to_string(facts.dModel));
  line("d_ff", std::to_string(facts.dFF));
  line("heads", std::to_string(facts.numHeads));
  line("kv heads", std::to_string(facts.numKVHeads));
  line("head_dim", std::to_string(facts.headDim));
  if (facts.packedLinearBytes)
    line("packed linear", sizeText(facts.packedLinearBytes));
  if (facts.sourceBytes)
    line("source", sizeText(facts.sourceBytes));
  line("source sha256", clean(facts.sourceSha256));
  return text;
}

static std::string entryText(const rt::EntryInfo &entry) {
  std::string text = "  entry " + clean(entry.name) +
                     (entry.kind == rt::EntryKind::Step ? " (step)" : "") +
                     ", function " + clean(entry.function) + "\n";
  for (const rt::TensorInfo &tensor : entry.inputs)
    text += "    input   " + clean(tensor.name) + ": " +
            typeText(entry, tensor) + "\n";
  for (const rt::TensorInfo &tensor : entry.outputs)
    text += "    output  " + clean(tensor.name) + ": " +
            typeText(entry, tensor) + "\n";
  for (const rt::IndexBoundInfo &bound : entry.indexBounds)
    text += "    checked " + clean(entry.inputs[bound.input].name) +
            ": values of 0 to below " + dimText(entry, bound.below) + "\n";
  for (const rt::SizeBoundInfo &bound : entry.sizeBounds)
    text += "    checked size " + dimText(entry, bound.size) + ": at most " +
            dimText(entry, bound.atMost) + "\n";
  return text + "    scratch " + arenaText(entry) + "\n";
}

static std::string stateText(const rt::StateInfo &state) {
  return "  state paged key-value cache: " +
         std::string(rt::dtypeName(state.dtype)) + ", " +
         std::to_string(state.layers) + " layers x " +
         std::to_string(state.kvHeads) + " kv heads x " +
         std::to_string(state.headDim) + ", " + sizeText(state.pageBytes) +
         " for " + std::to_string(state.pagePositions) + " positions\n";
}

static std::string codeText(const rt::CodeInfo &code) {
  std::string text = "  code " + clean(code.target) + ": segment " +
                     std::to_string(code.segment) + ", needs";
  for (std::string_view feature : code.features)
    text += " " + clean(feature);
  return text + (code.features.empty() ? " nothing more\n" : "\n");
}

static std::string idText(int32_t id) {
  return id < 0 ? "none" : std::to_string(id);
}

static std::string tokenizerText(const std::optional<TokenizerSummary> &t) {
  if (!t)
    return "  tokenizer none\n";
  return "  tokenizer byte-level BPE, " + clean(t->pre) + ": " +
         std::to_string(t->tokens) + " tokens, " + std::to_string(t->merges) +
         " merges, bos " + idText(t->bosId) + (t->addBos ? " (added)" : "") +
         ", eos " + idText(t->eosId) + (t->addEos ? " (added)" : "") +
         ", unknown " + idText(t->unknownId) + ", padding " +
         idText(t->paddingId) + "\n";
}

static std::string samplingText(const rt::SamplingDefaultsInfo &sampling) {
  std::string text;
  auto add = [&](const char *name, const auto &value) {
    if (!value)
      return;
    char buffer[48];
    std::snprintf(buffer, sizeof buffer, " %s %g", name,
                  static_cast<double>(*value));
    text += buffer;
  };
  add("temperature", sampling.temperature);
  add("top-p", sampling.topP);
  add("top-k", sampling.topK);
  add("min-p", sampling.minP);
  return text.empty() ? "" : "  sampling defaults:" + text + "\n";
}

static std::string modelText(const rt::ModelInfo &model,
                             const std::optional<TokenizerSummary> &tokenizer) {
  std::string text = "\nmodel " + clean(model.name) + "\n";
  if (model.facts)
    text += factsText(*model.facts);
  if (model.vocabSize)
    text += "  vocabulary      " + std::to_string(model.vocabSize) + "\n";
  if (model.contextLength)
    text += "  context length  " + std::to_string(model.contextLength) + "\n";
  for (const rt::EntryInfo &entry : model.entries)
    text += entryText(entry);
  for (const rt::StateInfo &state : model.states)
    text += stateText(state);
  for (const rt::CodeInfo &code : model.codes)
    text += codeText(code);
  text += "  weights: segment " + std::to_string(model.weightsSegment) + "\n";
  text += tokenizerText(tokenizer);
  if (!model.chatTemplate.empty())
    text += "  chat template " + sizeText(model.chatTemplate.size()) + "\n";
  if (!model.stopIds.empty()) {
    text += "  stop ids";
    for (uint32_t id : model.stopIds)
      text += " " + std::to_string(id);
    text += "\n";
  }
  return text + samplingText(model.sampling);
}

std::string inspect::describeText(
    const rt::Artifact &artifact,
    const std::vector<std::optional<TokenizerSummary>> &tokenizers) {
  const rt::ArtifactMetadata &metadata = artifact.metadata();
  std::string text = clean(artifact.path()) + ": format " +
                     std::to_string(artifact.majorVersion()) + "." +
                     std::to_string(artifact.minorVersion()) + ", step ABI " +
                     std::to_string(metadata.abiVersion) + ", " +
                     sizeText(artifact.fileSize()) + "\n";
  text += "sha256    " + artifact.artifactSha256() + "\n";
  text += "producer  " + clean(metadata.producer) + "\n";
  text += "profile   " + clean(metadata.numericProfile, 1000) + "\n";
  for (const rt::CompileOptionInfo &option : metadata.options)
    text +=
        "option    " + clean(option.name) + " = " + clean(option.value) + "\n";
  for (size_t i = 0; i < metadata.models.size(); ++i)
    text += modelText(metadata.models[i], tokenizers[i]);
  if (const auto &verifier = metadata.verifier)
    text += "\nverifier " + clean(metadata.models[verifier->model].name) +
            "\n  template " + sizeText(verifier->templateText.size()) +
            "\n  score    " + clean(verifier->score, 1000) + "\n";
  if (const auto &head = metadata.valueHead) {
    std::string x = head->token
                        ? "the logit of token " + std::to_string(*head->token)
                        : std::string("weight * hidden state");
    text += "\nvalue head\n  x        " + x + "\n  value    " +
            std::to_string(head->gain) + " * x + " +
            std::to_string(head->bias) + "\n";
  }

  text += "\nsegments\n";
  for (size_t i = 0; i < metadata.segments.size(); ++i) {
    const rt::SegmentInfo &segment = metadata.segments[i];
    text += "  " + std::to_string(i) + " " + segmentKindName(segment.kind) +
            " at " + std::to_string(segment.offset) + ", " +
            sizeText(segment.size) + "\n    sha256 " +
            rt::toHex(segment.sha256) + "\n";
  }
  return text;
}
