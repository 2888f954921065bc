//===- Detokenizer.cpp - Token bytes to valid UTF-8, streaming ------------===//

#include "chorus_rt/Detokenizer.h"

#include "chorus_rt/Tokenizer.h"
#include "chorus_rt/Utf8.h"

#include <cstring>

namespace chorus::rt {
namespace {

constexpr std::string_view replacement = "\xEF\xBF\xBD";

/// What stands at the beginning of some bytes.
struct Prefix {
  enum Kind {
    Character,  ///< `size` bytes are a character
    Incomplete, ///< all `size` bytes are the beginning of a character
    Invalid,    ///< `size` bytes are not, or the byte after them does not go on
  };
  Kind kind;
  size_t size;
};

/// Reads the first character of `bytes`, which is not empty (Unicode 14, table
/// 3-7).
Prefix readPrefix(std::string_view bytes) {
  auto at = [&](size_t i) { return static_cast<uint8_t>(bytes[i]); };
  uint8_t lead = at(0);
  if (lead < 0x80)
    return {Prefix::Character, 1};
  if (lead < 0xC2 || lead > 0xF4)
    return {Prefix::Invalid, 1};
  size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  // The second byte's range excludes overlong forms, surrogates and what lies
  // above U+10FFFF.
  uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size())
      return {Prefix::Incomplete, i};
    if (at(i) < low || at(i) > high)
      return {Prefix::Invalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Prefix::Character, length};
}

} // namespace

void Detokenizer::append(std::string_view bytes, std::string &text) {
  // Finish the character that was kept back, a byte at a time: it needs at
  // most three more.
  while (pendingSize != 0 && !bytes.empty()) {
    pending[pendingSize++] = bytes.front();
    Prefix prefix = readPrefix({pending, pendingSize});
    if (prefix.kind == Prefix::Incomplete) {
      bytes.remove_prefix(1);
      continue;
    }
    if (prefix.kind == Prefix::Character) {
      text.append(pending, pendingSize);
      bytes.remove_prefix(1);
    } else {
      text += replacement; // The new byte begins something of its own.
    }
    pendingSize = 0;
  }

  while (!bytes.empty()) {
    size_t valid = findInvalidUtf8(bytes);
    text += bytes.substr(0, valid);
    if (valid == std::string_view::npos)
      return;
    bytes.remove_prefix(valid);
    Prefix prefix = readPrefix(bytes);
    if (prefix.kind == Prefix::Incomplete) {
      std::memcpy(pending, bytes.data(), bytes.size());
      pendingSize = bytes.size();
      return;
    }
    text += replacement;
    bytes.remove_prefix(prefix.size);
  }
}

Status Detokenizer::append(const Tokenizer &tokenizer, int32_t id,
                           std::string &text) {
  StatusOr<std::string_view> bytes = tokenizer.tokenBytes(id);
  if (!bytes.ok())
    return bytes.status();
  append(*bytes, text);
  return {};
}

void Detokenizer::flush(std::string &text) {
  if (pendingSize != 0)
    text += replacement;
  pendingSize = 0;
}

} // namespace chorus::rt
