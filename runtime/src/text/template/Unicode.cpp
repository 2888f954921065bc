//===- Unicode.cpp - Code points, classes and case as Python has ----------===//

#include "Unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace chorus::rt::jinja {

namespace {

struct CodePointRange {
  uint32_t first, last;
};

/// Code points first, first + step, .., last map to themselves plus delta.
struct CaseRange {
  uint32_t first, last;
  uint32_t step;
  int32_t delta;
};

struct SpecialCase {
  uint32_t from;
  uint32_t to[3]; ///< 0 ends a shorter mapping.
};

#include "UnicodeTables.inc"

template <typename Range, size_t N>
const Range *findRange(const Range (&ranges)[N], char32_t c) {
  const Range *range = std::upper_bound(
      std::begin(ranges), std::end(ranges), c,
      [](char32_t value, const Range &r) { return value < r.first; });
  if (range == std::begin(ranges))
    return nullptr;
  --range;
  return c <= range->last ? range : nullptr;
}

template <size_t N, size_t M>
CaseMapping mapThrough(const CaseRange (&ranges)[N],
                       const SpecialCase (&specials)[M], char32_t c) {
  const SpecialCase *special = std::lower_bound(
      std::begin(specials), std::end(specials), c,
      [](const SpecialCase &s, char32_t value) { return s.from < value; });
  if (special != std::end(specials) && special->from == c) {
    CaseMapping mapping{{}, 0};
    while (mapping.count < 3 && special->to[mapping.count] != 0) {
      mapping.codePoints[mapping.count] = special->to[mapping.count];
      ++mapping.count;
    }
    return mapping;
  }
  const CaseRange *range = findRange(ranges, c);
  if (range && (c - range->first) % range->step == 0)
    c = static_cast<char32_t>(static_cast<int32_t>(c) + range->delta);
  return {{c, 0, 0}, 1};
}

} // namespace

char32_t decodeCodePoint(std::string_view text, size_t &offset) {
  auto byte = [&](size_t i) -> char32_t {
    return static_cast<unsigned char>(text[i]);
  };
  char32_t lead = byte(offset++);
  if (lead < 0x80)
    return lead;
  unsigned rest = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  char32_t c = lead & (0x3F >> rest);
  for (; rest > 0; --rest)
    c = (c << 6) | (byte(offset++) & 0x3F);
  return c;
}

size_t countCodePoints(std::string_view text) {
  size_t count = 0;
  for (char c : text)
    count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

size_t codePointOffset(std::string_view text, size_t index) {
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80)
      continue;
    if (index == 0)
      return i;
    --index;
  }
  return text.size();
}

size_t previousCodePoint(std::string_view text, size_t offset) {
  do
    --offset;
  while ((static_cast<unsigned char>(text[offset]) & 0xC0) == 0x80);
  return offset;
}

bool isWhitespace(char32_t c) {
  return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 ||
         c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool isLineBreak(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 ||
         c == 0x2028 || c == 0x2029;
}

bool isPrintable(char32_t c) { return !findRange(nonPrintableRanges, c); }
bool isLowercase(char32_t c) { return findRange(lowercaseRanges, c); }
bool isUppercase(char32_t c) { return findRange(uppercaseRanges, c); }
bool isTitlecase(char32_t c) { return findRange(titlecaseRanges, c); }
bool isCased(char32_t c) {
  return isLowercase(c) || isUppercase(c) || isTitlecase(c);
}
bool isCaseIgnorable(char32_t c) { return findRange(caseIgnorableRanges, c); }
bool isDigit(char32_t c) { return findRange(digitRanges, c); }

CaseMapping mapCase(char32_t c, LetterCase to) {
  switch (to) {
  case LetterCase::Upper:
    return mapThrough(upperRanges, upperSpecial, c);
  case LetterCase::Lower:
    return mapThrough(lowerRanges, lowerSpecial, c);
  case LetterCase::Title:
    return mapThrough(titleRanges, titleSpecial, c);
  }
  return {{c, 0, 0}, 1};
}

} // namespace chorus::rt::jinja
