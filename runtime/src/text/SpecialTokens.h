//===- SpecialTokens.h - Cut special tokens out of a text -------*- C++ -*-===//
//
// The longest special token goes first and takes its occurrences from left to
// right; the next looks only at what is left between them. Tokens of equal
// length go in rising id.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEXT_SPECIALTOKENS_H
#define CHORUS_RT_TEXT_SPECIALTOKENS_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin, end;
};

/// A piece of a text that is one special token, or plain text (`id` -1).
struct TextFragment {
  size_t begin, end;
  int32_t id;
};

class SpecialTokens {
public:
  /// Adds a token; `text` is not empty and must outlive the object. A
  /// restricted token is recognised only in ranges that are open to it.
  void add(int32_t id, std::string_view text, bool isRestricted);

  /// Call once, after the last `add`.
  void finish();

  /// Cuts `text` into fragments, in order and without gaps. Restricted tokens
  /// must lie inside one of `openRanges` (ascending, disjoint, not adjacent).
  /// Time: linear in the text for each special token whose beginning occurs.
  std::vector<TextFragment>
  split(std::string_view text, const std::vector<TextRange> &openRanges) const;

private:
  struct Entry {
    std::string_view text;
    int32_t id;
    bool isRestricted;
  };

  std::vector<bool> findCandidates(std::string_view text) const;

  std::vector<Entry> entries;   // In order of precedence.
  std::vector<uint32_t> byText; // Indices into entries, by text.
  std::array<bool, 256> beginsToken{};
};

} // namespace chorus::rt

#endif // CHORUS_RT_TEXT_SPECIALTOKENS_H
