//===- Tokenizer.cpp - Text to token ids and back -------------------------===//

#include "chorus_rt/Tokenizer.h"

#include "ByteAlphabet.h"
#include "BytePairMerger.h"
#include "ByteToken.h"
#include "PreTokenizer.h"
#include "SpecialTokens.h"
#include "chorus_rt/Utf8.h"
#include "chorus_rt/schema/tokenizer_generated.h"

#include <cstdio>
#include <cstring>
#include <functional>
#include <new>
#include <optional>
#include <string>

namespace chorus::rt {
namespace {

/// Strings joined in one buffer: no allocation for each.
class StringTable {
public:
  void reserve(size_t count, size_t bytes) {
    ends.reserve(count);
    joined.reserve(bytes);
  }
  /// Where the next string's bytes are appended; `close` ends it.
  std::string &open() { return joined; }
  void close() { ends.push_back(joined.size()); }

  size_t size() const { return ends.size(); }
  std::string_view operator[](size_t i) const {
    size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(joined).substr(begin, ends[i] - begin);
  }

private:
  std::string joined;
  std::vector<size_t> ends;
};

/// Ids by token text, for models that look words up before merging.
class WordTable {
public:
  void build(const std::vector<int32_t> &ids, const StringTable &texts) {
    size_t size = 2;
    while (size < 2 * ids.size())
      size *= 2;
    slots.assign(size, -1);
    for (int32_t id : ids) {
      size_t slot = firstSlot(texts[id]);
      while (slots[slot] >= 0)
        slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = id;
    }
  }

  /// The id of that text, -1 if there is none.
  int32_t find(std::string_view text, const StringTable &texts) const {
    size_t slot = firstSlot(text);
    while (slots[slot] >= 0 && texts[slots[slot]] != text)
      slot = (slot + 1) & (slots.size() - 1);
    return slots[slot];
  }

private:
  size_t firstSlot(std::string_view text) const {
    return std::hash<std::string_view>()(text) & (slots.size() - 1);
  }

  std::vector<int32_t> slots;
};

bool isRestricted(TokenKind kind) {
  return kind == TokenKind::Control || kind == TokenKind::Unknown;
}

bool isSpecial(TokenKind kind) {
  return isRestricted(kind) || kind == TokenKind::UserDefined;
}

Status damaged(std::string field, std::string message) {
  return refused("A04", "tokenizer segment: " + std::move(field),
                 std::move(message));
}

std::string indexed(const char *field, size_t index) {
  return std::string(field) + "[" + std::to_string(index) + "]";
}

/// The place of a byte, in the form that files have: "text @0x1f".
std::string placeInText(size_t offset) {
  char place[32];
  std::snprintf(place, sizeof place, "text @0x%zx", offset);
  return place;
}

Status outOfMemory(const char *doing) {
  return limitError("N10", "", std::string("out of memory while ") + doing);
}

} // namespace

struct Tokenizer::Tables {
  StringTable texts; // As tokenText() gives them.
  std::vector<TokenKind> kinds;
  int32_t byteIds[256]; // Tokens of single bytes, or -1.
  MergeTable merges;
  SpecialTokens specials;
  PreTokenizer preTokenizer;
  int32_t bosId, eosId, unknownId, paddingId;
  bool addBos, addEos;

  // Only where words are looked up before merging: the texts in the byte
  // alphabet, since a word is compared in that form.
  bool ignoreMerges;
  StringTable spellings;
  WordTable words;

  Status read(const artifact::Tokenizer &segment);
  Status readTokens(const artifact::Tokenizer &segment);
  Status readMerges(const artifact::Tokenizer &segment);
  Status encode(std::string_view text, const std::vector<TextRange> &openRanges,
                std::vector<int32_t> &ids) const;
};

Status Tokenizer::Tables::readTokens(const artifact::Tokenizer &segment) {
  if (!segment.text() || !segment.offsets() || !segment.kinds())
    return damaged("text", "a vector of token texts is missing");
  const auto &offsets = *segment.offsets();
  size_t count = segment.kinds()->size();
  if (count == 0 || count > size_t(INT32_MAX))
    return damaged("kinds", std::to_string(count) + " tokens");
  if (offsets.size() != count + 1)
    return damaged("offsets", std::to_string(offsets.size()) +
                                  " offsets, expected one more than the " +
                                  std::to_string(count) + " tokens");
  std::string_view joined(
      reinterpret_cast<const char *>(segment.text()->data()),
      segment.text()->size());
  if (offsets.Get(0) != 0 || offsets.Get(count) != joined.size())
    return damaged("offsets", "the texts do not fill the " +
                                  std::to_string(joined.size()) + " bytes");

  texts.reserve(count, joined.size());
  kinds.reserve(count);
  if (ignoreMerges)
    spellings.reserve(count, joined.size());
  std::fill(std::begin(byteIds), std::end(byteIds), -1);
  std::vector<int32_t> plainIds;
  for (size_t i = 0; i < count; ++i) {
    int32_t id = static_cast<int32_t>(i);
    uint32_t begin = offsets.Get(i), end = offsets.Get(i + 1);
    if (begin > end || end > joined.size())
      return damaged(indexed("offsets", i + 1),
                     std::to_string(end) + " after " + std::to_string(begin));
    std::string_view spelling = joined.substr(begin, end - begin);
    uint8_t number = uint8_t(segment.kinds()->Get(i));
    if (number > uint8_t(TokenKind::Byte))
      return damaged(indexed("kinds", i), std::to_string(number));
    TokenKind kind = TokenKind(number);
    kinds.push_back(kind);

    if (isSpecial(kind)) {
      if (spelling.empty() ||
          findInvalidUtf8(spelling) != std::string_view::npos)
        return damaged(indexed("text", i), "special token without a text");
      texts.open() += spelling;
    } else if (kind == TokenKind::Byte) {
      std::optional<uint8_t> byte = parseByteToken(spelling);
      if (!byte)
        return damaged(indexed("text", i), "byte token '" +
                                               escapeForMessage(spelling) +
                                               "', expected <0x00> to <0xFF>");
      texts.open() += static_cast<char>(*byte);
    } else if (!appendSpelledBytes(spelling, texts.open())) {
      texts.open() += spelling; // Not in the byte alphabet: plain text.
    }
    texts.close();

    if (ignoreMerges) {
      spellings.open() += spelling;
      spellings.close();
    }
    // Plain text never becomes a control or unknown token.
    if (isRestricted(kind))
      continue;
    if (ignoreMerges)
      plainIds.push_back(id);
    std::string byte;
    if (spelling.size() <= 2 && appendSpelledBytes(spelling, byte) &&
        byte.size() == 1)
      byteIds[static_cast<uint8_t>(byte[0])] = id;
  }
  if (ignoreMerges)
    words.build(plainIds, spellings);

  // The texts have their final place only now.
  for (size_t i = 0; i < count; ++i)
    if (isSpecial(kinds[i]))
      specials.add(static_cast<int32_t>(i), texts[i], isRestricted(kinds[i]));
  specials.finish();
  return {};
}

Status Tokenizer::Tables::readMerges(const artifact::Tokenizer &segment) {
  if (!segment.merges()) {
    merges.reserve(0);
    return {};
  }
  const auto &ids = *segment.merges();
  const auto &offsets = *segment.offsets();
  const char *joined = reinterpret_cast<const char *>(segment.text()->data());
  auto spelling = [&](uint32_t id) {
    uint32_t begin = offsets.Get(id);
    return std::string_view(joined + begin, offsets.Get(id + 1) - begin);
  };

  if (ids.size() % 3 != 0)
    return damaged("merges", std::to_string(ids.size()) +
                                 " ids, expected a multiple of 3");
  size_t count = ids.size() / 3;
  merges.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    uint32_t left = ids.Get(3 * i), right = ids.Get(3 * i + 1),
             result = ids.Get(3 * i + 2);
    for (uint32_t id : {left, right, result})
      if (id >= kinds.size())
        return refused("A08", "tokenizer segment: " + indexed("merges", i),
                       "token " + std::to_string(id) + " of a vocabulary of " +
                           std::to_string(kinds.size()));
    std::string_view head = spelling(left), tail = spelling(right),
                     whole = spelling(result);
    if (head.empty() || tail.empty() ||
        whole.size() != head.size() + tail.size() ||
        whole.substr(0, head.size()) != head ||
        whole.substr(head.size()) != tail)
      return damaged(indexed("merges", i), "the parts do not make the result");
    // Plain text never becomes a control or unknown token.
    if (isRestricted(kinds[result]))
      continue;
    if (!merges.add(static_cast<int32_t>(left), static_cast<int32_t>(right),
                    static_cast<int32_t>(result), static_cast<uint32_t>(i)))
      return damaged(indexed("merges", i), "the pair has merged before");
  }
  return {};
}

Status Tokenizer::Tables::read(const artifact::Tokenizer &segment) {
  std::string_view pre = segment.pre() ? segment.pre()->string_view() : "";
  const PreTokenizerRule *rule = findPreTokenizerRule(pre);
  if (!rule)
    return unsupported("tokenizer segment: pre",
                       "pre-tokeniser '" + escapeForMessage(pre) + "'");
  if (segment.add_space_prefix())
    return unsupported("tokenizer segment: add_space_prefix",
                       "a space before the text");
  StatusOr<PreTokenizer> compiled = PreTokenizer::create(*rule);
  if (!compiled.ok())
    return compiled.status();
  preTokenizer = std::move(*compiled);

  ignoreMerges = segment.ignore_merges();
  CHORUS_RETURN_IF_ERROR(readTokens(segment));
  CHORUS_RETURN_IF_ERROR(readMerges(segment));

  bosId = segment.bos_id();
  eosId = segment.eos_id();
  unknownId = segment.unk_id();
  paddingId = segment.pad_id();
  addBos = segment.add_bos();
  addEos = segment.add_eos();
  struct {
    const char *field;
    int32_t id;
    bool isNeeded;
  } named[] = {{"bos_id", bosId, addBos},
               {"eos_id", eosId, addEos},
               {"unk_id", unknownId, false},
               {"pad_id", paddingId, false}};
  for (const auto &entry : named)
    if (entry.id < (entry.isNeeded ? 0 : -1) ||
        entry.id >= static_cast<int64_t>(kinds.size()))
      return refused("A08", std::string("tokenizer segment: ") + entry.field,
                     "token " + std::to_string(entry.id) +
                         " of a vocabulary of " + std::to_string(kinds.size()));
  return {};
}

StatusOr<std::unique_ptr<Tokenizer>>
Tokenizer::create(std::string_view segmentBytes) {
  try {
    // The fields are read in place, so the bytes must be aligned.
    std::unique_ptr<uint64_t[]> aligned;
    const char *bytes = segmentBytes.data();
    if (reinterpret_cast<uintptr_t>(bytes) % alignof(uint64_t) != 0) {
      aligned = std::make_unique<uint64_t[]>(segmentBytes.size() / 8 + 1);
      std::memcpy(aligned.get(), bytes, segmentBytes.size());
      bytes = reinterpret_cast<const char *>(aligned.get());
    }
    if (segmentBytes.size() >= FLATBUFFERS_MAX_BUFFER_SIZE)
      return damaged("root", std::to_string(segmentBytes.size()) +
                                 " bytes are too many");
    flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t *>(bytes),
                                   segmentBytes.size(), /*max_depth=*/8,
                                   /*max_tables=*/8);
    if (segmentBytes.size() < 8 || !artifact::VerifyTokenizerBuffer(verifier))
      return damaged("root", "not a well-formed tokenizer");

    auto tables = std::make_unique<Tables>();
    CHORUS_RETURN_IF_ERROR(tables->read(*artifact::GetTokenizer(bytes)));
    return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(tables)));
  } catch (const std::bad_alloc &) {
    return outOfMemory("reading the tokenizer");
  }
}

Tokenizer::Tokenizer(std::unique_ptr<Tables> tables)
    : tables(std::move(tables)) {}
Tokenizer::~Tokenizer() = default;

Status Tokenizer::Tables::encode(std::string_view text,
                                 const std::vector<TextRange> &openRanges,
                                 std::vector<int32_t> &ids) const {
  size_t invalid = findInvalidUtf8(text);
  if (invalid != std::string_view::npos)
    return refused("T09", placeInText(invalid),
                   "byte '" + escapeForMessage(text.substr(invalid, 1)) +
                       "' at offset " + std::to_string(invalid) +
                       " is not valid UTF-8 there");

  PreTokenizer::Words words(preTokenizer);
  BytePairMerger merger;
  std::string spelling;
  std::vector<int32_t> result;
  for (const TextFragment &fragment : specials.split(text, openRanges)) {
    if (fragment.id >= 0) {
      result.push_back(fragment.id);
      continue;
    }
    std::string_view plain =
        text.substr(fragment.begin, fragment.end - fragment.begin);
    for (size_t offset = 0; offset < plain.size();) {
      StatusOr<size_t> length = words.wordLength(plain, offset);
      if (!length.ok())
        return length.status();
      std::string_view word = plain.substr(offset, *length);
      offset += *length;
      if (ignoreMerges) {
        spelling.clear();
        appendSpelling(word, spelling);
        if (int32_t id = this->words.find(spelling, spellings); id >= 0) {
          result.push_back(id);
          continue;
        }
      }
      size_t begin = result.size();
      for (char byte : word)
        result.push_back(byteIds[static_cast<uint8_t>(byte)]);
      merger.merge(merges, result, begin);
    }
  }
  ids = std::move(result);
  return {};
}

static Status textTooLong(size_t size) {
  return limitError("T08", "text",
                    std::to_string(size) + " bytes, allowed are " +
                        std::to_string(Tokenizer::maxTextBytes));
}

Status Tokenizer::encode(std::string_view text, bool parseSpecial,
                         std::vector<int32_t> &ids) const {
  ids.clear();
  if (text.size() > maxTextBytes)
    return textTooLong(text.size());
  try {
    std::vector<TextRange> openRanges;
    if (parseSpecial)
      openRanges.push_back({0, text.size()});
    return tables->encode(text, openRanges, ids);
  } catch (const std::bad_alloc &) {
    return outOfMemory("tokenising");
  }
}

Status Tokenizer::encode(const std::vector<TextSpan> &spans,
                         std::vector<int32_t> &ids) const {
  ids.clear();
  size_t size = 0;
  for (const TextSpan &span : spans) {
    size += span.text.size();
    if (size > maxTextBytes)
      return textTooLong(size);
  }
  try {
    std::string text;
    text.reserve(size);
    std::vector<TextRange> openRanges;
    for (const TextSpan &span : spans) {
      size_t begin = text.size();
      text += span.text;
      if (span.isUserText || span.text.empty())
        continue;
      if (!openRanges.empty() && openRanges.back().end == begin)
        openRanges.back().end = text.size();
      else
        openRanges.push_back({begin, text.size()});
    }
    return tables->encode(text, openRanges, ids);
  } catch (const std::bad_alloc &) {
    return outOfMemory("tokenising");
  }
}

int32_t Tokenizer::size() const {
  return static_cast<int32_t>(tables->kinds.size());
}
int32_t Tokenizer::bosId() const { return tables->bosId; }
int32_t Tokenizer::eosId() const { return tables->eosId; }
int32_t Tokenizer::unknownId() const { return tables->unknownId; }
int32_t Tokenizer::paddingId() const { return tables->paddingId; }
bool Tokenizer::addBos() const { return tables->addBos; }
bool Tokenizer::addEos() const { return tables->addEos; }

static Status idOutOfRange(int32_t id, int32_t size) {
  return refused("T11", "token " + std::to_string(id),
                 "the vocabulary has ids 0 to " + std::to_string(size - 1));
}

StatusOr<TokenKind> Tokenizer::kind(int32_t id) const {
  if (id < 0 || id >= size())
    return idOutOfRange(id, size());
  return tables->kinds[id];
}

StatusOr<std::string_view> Tokenizer::tokenBytes(int32_t id) const {
  if (id < 0 || id >= size())
    return idOutOfRange(id, size());
  switch (tables->kinds[id]) {
  case TokenKind::Normal:
  case TokenKind::UserDefined:
  case TokenKind::Byte:
    return tables->texts[id];
  case TokenKind::Undefined:
  case TokenKind::Unknown:
  case TokenKind::Control:
  case TokenKind::Unused:
    return std::string_view();
  }
  return std::string_view();
}

StatusOr<std::string_view> Tokenizer::tokenText(int32_t id) const {
  if (id < 0 || id >= size())
    return idOutOfRange(id, size());
  return tables->texts[id];
}

} // namespace chorus::rt
