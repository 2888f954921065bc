//===- Unicode.h - Code points, classes and case as Python has --*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_UNICODE_H
#define CHORUS_RT_TEXT_TEMPLATE_UNICODE_H

#include <cstddef>
#include <string_view>

namespace chorus::rt::jinja {

/// The code point at byte `offset` of well-formed UTF-8; moves `offset` on.
char32_t decodeCodePoint(std::string_view text, size_t &offset);

size_t countCodePoints(std::string_view text);

/// Byte offset of code point `index`, text.size() if there are fewer.
size_t codePointOffset(std::string_view text, size_t index);

/// Byte offset where the code point before `offset` (above 0) starts.
size_t previousCodePoint(std::string_view text, size_t offset);

/// Classes and mappings of Unicode 14, as the str methods of Python 3.11.
bool isWhitespace(char32_t c);
bool isPrintable(char32_t c);
bool isLowercase(char32_t c);
bool isUppercase(char32_t c);
bool isTitlecase(char32_t c);
bool isCased(char32_t c);
bool isCaseIgnorable(char32_t c);
bool isDigit(char32_t c);
/// Where str.splitlines() breaks.
bool isLineBreak(char32_t c);

enum class LetterCase { Upper, Lower, Title };

/// What one code point becomes: one to three code points.
struct CaseMapping {
  char32_t codePoints[3];
  unsigned count;
};
CaseMapping mapCase(char32_t c, LetterCase to);

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_UNICODE_H
