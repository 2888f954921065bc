//===- ByteToken.cpp - Tokens that spell a byte in hexadecimal ------------===//

#include "ByteToken.h"

#include <charconv>

namespace chorus::rt {

std::optional<uint8_t> parseByteToken(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>')
    return std::nullopt;
  uint8_t byte;
  auto [end, error] =
      std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  if (error != std::errc() || end != text.data() + 5)
    return std::nullopt;
  return byte;
}

} // namespace chorus::rt
