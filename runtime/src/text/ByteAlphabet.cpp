//===- ByteAlphabet.cpp - GPT-2's printable spelling of bytes -------------===//

#include "ByteAlphabet.h"

#include <array>

namespace chorus::rt {
namespace {

// The alphabet's last character: 68 bytes are not printable.
constexpr uint32_t numCharacters = 0x100 + 68;

constexpr bool isPrintable(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

struct Alphabet {
  std::array<uint16_t, 256> character{};
  std::array<int16_t, numCharacters> byte{};

  constexpr Alphabet() {
    for (int16_t &value : byte)
      value = -1;
    uint32_t next = 0x100;
    for (uint32_t value = 0; value < 256; ++value) {
      uint32_t spelled = isPrintable(value) ? value : next++;
      character[value] = static_cast<uint16_t>(spelled);
      byte[spelled] = static_cast<int16_t>(value);
    }
  }
};

constexpr Alphabet alphabet;
static_assert(alphabet.character[0xAD] == numCharacters - 1);

} // namespace

bool appendSpelledBytes(std::string_view spelling, std::string &bytes) {
  size_t before = bytes.size();
  for (size_t i = 0; i < spelling.size();) {
    // All characters of the alphabet take one or two bytes of UTF-8.
    uint32_t lead = static_cast<uint8_t>(spelling[i]);
    uint32_t character = numCharacters;
    if (lead < 0x80) {
      character = lead;
      i += 1;
    } else if ((lead & 0xE0) == 0xC0 && i + 1 < spelling.size() &&
               (static_cast<uint8_t>(spelling[i + 1]) & 0xC0) == 0x80) {
      character =
          (lead & 0x1F) << 6 | (static_cast<uint8_t>(spelling[i + 1]) & 0x3F);
      i += 2;
    }
    if (character >= numCharacters || alphabet.byte[character] < 0) {
      bytes.resize(before);
      return false;
    }
    bytes.push_back(static_cast<char>(alphabet.byte[character]));
  }
  return true;
}

void appendSpelling(std::string_view bytes, std::string &spelling) {
  for (char byte : bytes) {
    uint32_t character = alphabet.character[static_cast<uint8_t>(byte)];
    if (character < 0x80) {
      spelling.push_back(static_cast<char>(character));
    } else {
      spelling.push_back(static_cast<char>(0xC0 | character >> 6));
      spelling.push_back(static_cast<char>(0x80 | (character & 0x3F)));
    }
  }
}

} // namespace chorus::rt
