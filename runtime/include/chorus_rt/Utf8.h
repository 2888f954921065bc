//===- Utf8.h - Well-formed UTF-8 -------------------------------*- C++ -*-===//

#ifndef CHORUS_RT_UTF8_H
#define CHORUS_RT_UTF8_H

#include <cstddef>
#include <string>
#include <string_view>

namespace chorus::rt {

/// Length of the well-formed UTF-8 sequence at the start of `text`, which is
/// not empty; 0 if there is none (stray continuation byte, overlong form,
/// surrogate, beyond U+10FFFF, cut short).
size_t utf8SequenceLength(std::string_view text);

/// Index of the first byte that is not part of well-formed UTF-8, or
/// `std::string_view::npos`.
size_t findInvalidUtf8(std::string_view text);

/// Appends the UTF-8 form of a code point, which must be no surrogate and at
/// most 0x10FFFF.
void appendUtf8(std::string &text, char32_t codePoint);

} // namespace chorus::rt

#endif // CHORUS_RT_UTF8_H
