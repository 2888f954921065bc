//===- ByteToken.h - Tokens that spell a byte in hexadecimal ----*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_BYTETOKEN_H
#define CHORUS_RT_TEXT_BYTETOKEN_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace chorus::rt {

/// The byte that a token text like "<0x4F>" stands for, if it is of that form.
std::optional<uint8_t> parseByteToken(std::string_view text);

} // namespace chorus::rt

#endif // CHORUS_RT_TEXT_BYTETOKEN_H
