//===- Vocabulary.cpp - Tokens, stop ids and template of a GGUF -----------===//

#include "Vocabulary.h"

#include "ModelKeys.h"
#include "chorus/Import/GGUF/GGUFFile.h"
#include "chorus/Import/ModelMetadata.h"
#include "chorus_rt/TokenizerBuilder.h"
#include "chorus_rt/schema/tokenizer_generated.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

using namespace chorus;
using artifact::TokenKind;
using gguf::GGUFFile;
using rt::Status;
using rt::StatusOr;

static constexpr const char *code = "G24";

namespace {

class VocabularyReader {
public:
  VocabularyReader(const GGUFFile &file, ModelMetadata &metadata)
      : file(file), metadata(metadata) {}

  Status read();

private:
  Status readArrays();
  Status readId(const char *name, std::optional<int64_t> &id);
  Status readFlag(const char *name, std::optional<bool> &flag);
  Status checkVocabulary();
  Status buildTokenizer();
  void findStopIds();

  bool has(const char *name) const { return file.has(full(name)); }
  static std::string full(const char *name) {
    return std::string("tokenizer.ggml.") + name;
  }
  std::string place(const std::string &field) const {
    return file.name() + ": " + field;
  }

  const GGUFFile &file;
  ModelMetadata &metadata;
  rt::TokenizerSource source;
  std::optional<int64_t> eotId, eomId;
};

Status VocabularyReader::readId(const char *name, std::optional<int64_t> &id) {
  if (!has(name))
    return {};
  StatusOr<uint64_t> value = file.getUnsigned(full(name), code);
  CHORUS_RETURN_IF_ERROR(value.status());
  // Readers of old wrote -1 as 2^32 - 1 for "none"; no vocabulary is so large.
  if (*value == UINT32_MAX)
    return {};
  if (*value >= metadata.vocabSize)
    return rt::refused(code, placeOfKey(file, full(name)),
                       "is " + std::to_string(*value) +
                           ", but the vocabulary has " +
                           std::to_string(metadata.vocabSize) + " tokens");
  id = static_cast<int64_t>(*value);
  return {};
}

Status VocabularyReader::readFlag(const char *name, std::optional<bool> &flag) {
  if (!has(name))
    return {};
  StatusOr<bool> value = file.getBool(full(name), code);
  CHORUS_RETURN_IF_ERROR(value.status());
  flag = *value;
  return {};
}

Status VocabularyReader::readArrays() {
  if (has("tokens")) {
    StatusOr<gguf::StringArray> tokens = file.getStrings(full("tokens"), code);
    CHORUS_RETURN_IF_ERROR(tokens.status());
    if (tokens->size() != metadata.vocabSize)
      return rt::refused(code, placeOfKey(file, full("tokens")),
                         "has " + std::to_string(tokens->size()) +
                             " tokens, but token_embd.weight has " +
                             std::to_string(metadata.vocabSize) + " rows");
    source.tokens = tokens->toVector();
  }
  if (has("scores")) {
    StatusOr<gguf::FloatArray> scores = file.getFloats(full("scores"), code);
    CHORUS_RETURN_IF_ERROR(scores.status());
    source.numScores = scores->size();
  }
  if (has("token_type")) {
    StatusOr<gguf::IntegerArray> kinds =
        file.getIntegers(full("token_type"), code);
    CHORUS_RETURN_IF_ERROR(kinds.status());
    source.kinds.reserve(kinds->size());
    for (uint64_t i = 0; i < kinds->size(); ++i) {
      int64_t kind = (*kinds)[i];
      if (kind < 0 || kind > static_cast<int64_t>(TokenKind::MAX))
        return rt::refused(code, placeOfKey(file, full("token_type")),
                           "token " + std::to_string(i) + " has type " +
                               std::to_string(kind) + ", known are 0 to 6");
      source.kinds.push_back(static_cast<int32_t>(kind));
    }
  }
  CHORUS_RETURN_IF_ERROR(readId("bos_token_id", source.bosId));
  CHORUS_RETURN_IF_ERROR(readId("eos_token_id", source.eosId));
  CHORUS_RETURN_IF_ERROR(readId("unknown_token_id", source.unknownId));
  CHORUS_RETURN_IF_ERROR(readId("padding_token_id", source.paddingId));
  CHORUS_RETURN_IF_ERROR(readId("eot_token_id", eotId));
  CHORUS_RETURN_IF_ERROR(readId("eom_token_id", eomId));
  CHORUS_RETURN_IF_ERROR(readFlag("add_bos_token", source.addBos));
  return readFlag("add_eos_token", source.addEos);
}

/// What holds for the vocabulary of any kind of tokenizer, also of those that
/// are not built.
Status VocabularyReader::checkVocabulary() {
  size_t count = source.tokens.size();
  if (source.numScores && *source.numScores != count)
    return rt::refused(code, placeOfKey(file, full("scores")),
                       "has " + std::to_string(*source.numScores) +
                           " scores for " + std::to_string(count) + " tokens");
  if (!source.kinds.empty() && source.kinds.size() != count)
    return rt::refused(code, placeOfKey(file, full("token_type")),
                       "has " + std::to_string(source.kinds.size()) +
                           " types for " + std::to_string(count) + " tokens");
  for (size_t i = 0; i < source.kinds.size(); ++i) {
    if (source.kinds[i] != static_cast<int32_t>(TokenKind::Byte))
      continue;
    llvm::StringRef text = source.tokens[i];
    if (!text.consume_front("<0x") || !text.consume_back(">") ||
        text.size() != 2 || !llvm::all_of(text, llvm::isHexDigit))
      return rt::refused(
          code, place(full("tokens") + "[" + std::to_string(i) + "]"),
          "byte token '" + rt::escapeForMessage(source.tokens[i]) +
              "', expected <0x00> to <0xFF>");
  }
  return {};
}

Status VocabularyReader::buildTokenizer() {
  if (has("merges")) {
    StatusOr<gguf::StringArray> merges = file.getStrings(full("merges"), "T03");
    CHORUS_RETURN_IF_ERROR(merges.status());
    source.merges = merges->toVector();
  }
  StatusOr<std::string> segment = rt::buildTokenizerSegment(source);
  if (!segment.ok()) {
    const Status &status = segment.status();
    return Status::error(status.exitCode(), status.code(),
                         place(status.place()), status.message());
  }
  metadata.tokenizerSegment = std::move(*segment);
  return {};
}

/// The ids that the file names as ends, and control tokens by their texts. The
/// segment knows which tokens are control tokens in spite of their type.
void VocabularyReader::findStopIds() {
  std::vector<uint32_t> &ids = metadata.stopIds;
  for (std::optional<int64_t> id : {source.eosId, eotId, eomId})
    if (id)
      ids.push_back(static_cast<uint32_t>(*id));
  const artifact::Tokenizer *segment =
      metadata.tokenizerSegment.empty()
          ? nullptr
          : flatbuffers::GetRoot<artifact::Tokenizer>(
                metadata.tokenizerSegment.data());
  for (size_t i = 0; i < source.tokens.size(); ++i) {
    int kind = static_cast<int>(TokenKind::Normal);
    if (segment)
      kind = static_cast<int>(segment->kinds()->Get(i));
    else if (!source.kinds.empty())
      kind = source.kinds[i];
    if (kind == static_cast<int>(TokenKind::Control) &&
        rt::isEndOfGenerationText(source.tokens[i]))
      ids.push_back(static_cast<uint32_t>(i));
  }
  llvm::sort(ids);
  ids.erase(llvm::unique(ids), ids.end());
}

Status VocabularyReader::read() {
  CHORUS_RETURN_IF_ERROR(readArrays());
  std::string kind = "none", pre = "default";
  if (has("model")) {
    StatusOr<std::string_view> value = file.getString(full("model"), code);
    CHORUS_RETURN_IF_ERROR(value.status());
    kind = std::string(*value);
  }
  if (has("pre")) {
    StatusOr<std::string_view> value = file.getString(full("pre"), code);
    CHORUS_RETURN_IF_ERROR(value.status());
    pre = std::string(*value);
  }
  source.pre = pre;
  std::string reason;
  if (kind != "gpt2")
    reason = "tokenizer kind '" + rt::escapeForMessage(kind) +
             "' is not supported yet (byte-level BPE, 'gpt2', is)";
  else if (!rt::isKnownPreTokenizer(pre))
    reason = "pre-tokeniser '" + rt::escapeForMessage(pre) +
             "' is not supported yet";
  else if (source.tokens.empty())
    reason = "the file has no tokens";
  if (reason.empty()) {
    CHORUS_RETURN_IF_ERROR(buildTokenizer());
  } else {
    CHORUS_RETURN_IF_ERROR(checkVocabulary());
    metadata.warnings.push_back(reason +
                                "; the model takes and gives token ids only");
  }
  findStopIds();

  if (file.has("tokenizer.chat_template")) {
    StatusOr<std::string_view> text =
        file.getString("tokenizer.chat_template", code);
    CHORUS_RETURN_IF_ERROR(text.status());
    metadata.chatTemplate = std::string(*text);
  }
  return {};
}

} // namespace

Status chorus::importVocabulary(const GGUFFile &file, ModelMetadata &metadata) {
  return VocabularyReader(file, metadata).read();
}
