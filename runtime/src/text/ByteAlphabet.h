//===- ByteAlphabet.h - GPT-2's printable spelling of bytes -----*- C++ -*-===//
//
// Vocabularies spell each byte as one printable character: itself where it is
// printable Latin-1 and no blank, else U+0100 + its rank among the others.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEXT_BYTEALPHABET_H
#define CHORUS_RT_TEXT_BYTEALPHABET_H

#include <cstdint>
#include <string>
#include <string_view>

namespace chorus::rt {

/// Appends the bytes that `spelling` stands for to `bytes`. Returns false,
/// with `bytes` unchanged, if it has a character outside the alphabet.
bool appendSpelledBytes(std::string_view spelling, std::string &bytes);

/// Appends the spelling of `bytes`.
void appendSpelling(std::string_view bytes, std::string &spelling);

} // namespace chorus::rt

#endif // CHORUS_RT_TEXT_BYTEALPHABET_H
