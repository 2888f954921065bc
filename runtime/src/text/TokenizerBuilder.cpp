//===- TokenizerBuilder.cpp - Vocabularies to segment bytes ---------------===//

#include "chorus_rt/TokenizerBuilder.h"

#include "ByteToken.h"
#include "PreTokenizer.h"
#include "chorus_rt/Tokenizer.h"
#include "chorus_rt/Utf8.h"
#include "chorus_rt/schema/tokenizer_generated.h"

#include <algorithm>
#include <new>
#include <unordered_map>
#include <unordered_set>

namespace chorus::rt {
namespace {

constexpr std::string_view endOfGenerationTexts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>",
    "<|flush|>", "<|calls|>", "<end_of_turn>", "<|endoftext|>", "</s>",
    "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
    // The bars and blocks are U+FF5C and U+2581.
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>", "[e~[",
    // Padding, repository and file marks of fill-in-the-middle end a text too.
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]", "<|fim_repo|>",
    "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"};

constexpr std::string_view fillInTheMiddleTexts[] = {
    "<|fim_prefix|>", "<fim-prefix>",
    "<fim_prefix>",   "<PRE>",
    "\u2581<PRE>",    "<|code_prefix|>",
    "<|prefix|>",     "<\uFF5Cfim\u2581begin\uFF5C>",
    "<|fim_suffix|>", "<fim-suffix>",
    "<fim_suffix>",   "<SUF>",
    "\u2581<SUF>",    "<|code_suffix|>",
    "<|suffix|>",     "<\uFF5Cfim\u2581hole\uFF5C>",
    "<|fim_middle|>", "<fim-middle>",
    "<fim_middle>",   "<MID>",
    "\u2581<MID>",    "<|code_middle|>",
    "<|middle|>",     "<\uFF5Cfim\u2581end\uFF5C>"};

std::string key(const char *name) {
  return std::string("tokenizer.ggml.") + name;
}

std::string key(const char *name, size_t index) {
  return key(name) + "[" + std::to_string(index) + "]";
}

std::string quoted(std::string_view text) {
  return "'" + escapeForMessage(text) + "'";
}

/// Checks a source and holds what the segment stores of it.
class Builder {
public:
  explicit Builder(const TokenizerSource &source) : source(source) {}

  Status check();
  std::string write() const;

private:
  Status checkTokens();
  Status checkMerges();
  Status checkSpecialIds();

  const TokenizerSource &source;
  const PreTokenizerRule *rule = nullptr;
  std::vector<TokenKind> kinds;
  std::vector<uint32_t> merges; // Left, right, result.
  std::unordered_map<std::string_view, uint32_t> ids;
  bool addBos = false, addEos = false;
};

Status Builder::checkTokens() {
  size_t count = source.tokens.size();
  if (count == 0)
    return refused("G24", key("tokens"), "no tokens");
  size_t bytes = 0;
  for (std::string_view text : source.tokens)
    bytes += text.size();
  // Offsets are 32 bits wide, and a FlatBuffer ends at 2 GiB.
  if (count > (size_t(1) << 26) || source.merges.size() > (size_t(1) << 26) ||
      bytes > (size_t(1) << 28))
    return limitError("T01", key("tokens"),
                      std::to_string(count) + " tokens of " +
                          std::to_string(bytes) + " bytes and " +
                          std::to_string(source.merges.size()) + " merges");
  if (!source.kinds.empty() && source.kinds.size() != count)
    return refused("G24", key("token_type"),
                   std::to_string(source.kinds.size()) + " types for " +
                       std::to_string(count) + " tokens");
  if (source.numScores && *source.numScores != count)
    return refused("G24", key("scores"),
                   std::to_string(*source.numScores) + " scores for " +
                       std::to_string(count) + " tokens");

  ids.reserve(count);
  kinds.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    std::string_view text = source.tokens[i];
    int32_t type =
        source.kinds.empty() ? int32_t(TokenKind::Normal) : source.kinds[i];
    if (type < 0 || type > int32_t(TokenKind::Byte))
      return refused("G24", key("token_type", i),
                     "type " + std::to_string(type) + ", known are 0 to 6");
    TokenKind kind = TokenKind(type);
    if (kind == TokenKind::Byte && !parseByteToken(text))
      return refused("G24", key("tokens", i),
                     "byte token " + quoted(text) +
                         ", expected <0x00> to <0xFF>");
    if (findInvalidUtf8(text) != std::string_view::npos)
      return refused("G12", key("tokens", i), "invalid UTF-8 " + quoted(text));
    bool isSpecial = kind == TokenKind::Control || kind == TokenKind::Unknown ||
                     kind == TokenKind::UserDefined;
    if (isSpecial && text.empty())
      return refused("T05", key("tokens", i), "special token without a text");
    kinds.push_back(kind);
    // Texts name tokens in merges, so they must be distinct; tokens without a
    // text are never reached.
    auto [known, isNew] = ids.emplace(text, static_cast<uint32_t>(i));
    if (!isNew && !text.empty())
      return refused("T04", key("tokens", i),
                     quoted(text) + " is token " +
                         std::to_string(known->second) + " already");
  }
  return {};
}

Status Builder::checkMerges() {
  merges.reserve(3 * source.merges.size());
  std::unordered_set<uint64_t> pairs;
  pairs.reserve(source.merges.size());
  std::vector<bool> isMade(kinds.size());
  std::string whole;
  for (size_t i = 0; i < source.merges.size(); ++i) {
    std::string_view merge = source.merges[i];
    // A part may begin with a space, so the separator is looked for after it.
    size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size())
      return refused("T03", key("merges", i),
                     quoted(merge) + ", expected two parts and a space");
    std::string_view parts[] = {merge.substr(0, space),
                                merge.substr(space + 1)};
    whole.assign(parts[0]);
    whole += parts[1];
    std::string_view texts[] = {parts[0], parts[1], whole};
    uint32_t found[3];
    for (size_t part = 0; part < 3; ++part) {
      auto id = ids.find(texts[part]);
      if (id == ids.end())
        return refused("T03", key("merges", i),
                       std::string(part == 2 ? "result " : "part ") +
                           quoted(texts[part]) + " is no token");
      found[part] = id->second;
      merges.push_back(id->second);
    }
    if (!pairs.insert(uint64_t(found[0]) << 32 | found[1]).second)
      return refused("T03", key("merges", i), quoted(merge) + " is repeated");
    isMade[found[2]] = true;
  }

  // Some files give control tokens another type. What merges make is ordinary
  // text of the training set ("</s>" in HTML).
  for (size_t i = 0; i < kinds.size(); ++i)
    if ((kinds[i] == TokenKind::Normal || kinds[i] == TokenKind::UserDefined) &&
        !isMade[i] && isControlText(source.tokens[i]))
      kinds[i] = TokenKind::Control;
  return {};
}

Status Builder::checkSpecialIds() {
  struct {
    const char *name;
    const std::optional<int64_t> &id;
  } named[] = {{"bos_token_id", source.bosId},
               {"eos_token_id", source.eosId},
               {"unknown_token_id", source.unknownId},
               {"padding_token_id", source.paddingId}};
  for (const auto &entry : named)
    if (entry.id && (*entry.id < 0 ||
                     static_cast<uint64_t>(*entry.id) >= source.tokens.size()))
      return refused("G24", key(entry.name),
                     std::to_string(*entry.id) + " of " +
                         std::to_string(source.tokens.size()) + " tokens");

  addBos =
      source.addBos.value_or(rule->addBosByDefault && source.bosId.has_value());
  addEos = source.addEos.value_or(false);
  if (addBos && !source.bosId)
    return refused("G24", key("add_bos_token"),
                   "true, but there is no bos_token_id");
  if (addEos && !source.eosId)
    return refused("G24", key("add_eos_token"),
                   "true, but there is no eos_token_id");
  return {};
}

Status Builder::check() {
  rule = findPreTokenizerRule(source.pre);
  if (!rule)
    return unsupported(key("pre"), "pre-tokeniser " + quoted(source.pre));
  CHORUS_RETURN_IF_ERROR(checkTokens());
  CHORUS_RETURN_IF_ERROR(checkMerges());
  return checkSpecialIds();
}

std::string Builder::write() const {
  std::vector<uint8_t> text;
  std::vector<uint32_t> offsets = {0};
  for (std::string_view token : source.tokens) {
    text.insert(text.end(), token.begin(), token.end());
    offsets.push_back(static_cast<uint32_t>(text.size()));
  }
  auto id = [](const std::optional<int64_t> &value) {
    return static_cast<int32_t>(value.value_or(-1));
  };

  flatbuffers::FlatBufferBuilder buffer;
  auto preOffset = buffer.CreateString(source.pre);
  auto textOffset = buffer.CreateVector(text);
  auto offsetsOffset = buffer.CreateVector(offsets);
  auto kindsOffset = buffer.CreateVector(
      reinterpret_cast<const uint8_t *>(kinds.data()), kinds.size());
  auto mergesOffset = buffer.CreateVector(merges);
  artifact::TokenizerBuilder table(buffer);
  table.add_pre(preOffset);
  table.add_text(textOffset);
  table.add_offsets(offsetsOffset);
  table.add_kinds(kindsOffset.o);
  table.add_merges(mergesOffset);
  table.add_bos_id(id(source.bosId));
  table.add_eos_id(id(source.eosId));
  table.add_unk_id(id(source.unknownId));
  table.add_pad_id(id(source.paddingId));
  table.add_add_bos(addBos);
  table.add_add_eos(addEos);
  table.add_ignore_merges(rule->ignoreMerges);
  artifact::FinishTokenizerBuffer(buffer, table.Finish());
  return std::string(reinterpret_cast<const char *>(buffer.GetBufferPointer()),
                     buffer.GetSize());
}

} // namespace

bool isKnownPreTokenizer(std::string_view pre) {
  return findPreTokenizerRule(pre) != nullptr;
}

bool isEndOfGenerationText(std::string_view tokenText) {
  const auto &texts = endOfGenerationTexts;
  return std::find(std::begin(texts), std::end(texts), tokenText) !=
         std::end(texts);
}

bool isControlText(std::string_view tokenText) {
  const auto &texts = fillInTheMiddleTexts;
  return isEndOfGenerationText(tokenText) ||
         std::find(std::begin(texts), std::end(texts), tokenText) !=
             std::end(texts);
}

StatusOr<std::string> buildTokenizerSegment(const TokenizerSource &source) {
  try {
    Builder builder(source);
    CHORUS_RETURN_IF_ERROR(builder.check());
    return builder.write();
  } catch (const std::bad_alloc &) {
    return limitError("N10", key("tokens"),
                      "out of memory while building the tokenizer");
  }
}

} // namespace chorus::rt
