//===- Crc32c.cpp - CRC-32C of bytes --------------------------------------===//

#include "chorus_rt/Crc32c.h"

#include <array>
#include <cstring>

namespace chorus::rt {

/// The reflected polynomial 0x1EDC6F41.
static constexpr uint32_t polynomial = 0x82F63B78;

using Tables = std::array<std::array<uint32_t, 256>, 8>;

/// Row 0 is what one byte does; row i is what it does with i zero bytes behind
/// it, so that eight bytes are taken at once.
static constexpr Tables makeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit)
      remainder = remainder >> 1 ^ (remainder & 1 ? polynomial : 0);
    tables[0][byte] = remainder;
  }
  for (size_t row = 1; row < tables.size(); ++row)
    for (uint32_t byte = 0; byte < 256; ++byte) {
      uint32_t before = tables[row - 1][byte];
      tables[row][byte] = before >> 8 ^ tables[0][before & 255];
    }
  return tables;
}

static constexpr Tables tables = makeTables();

uint32_t crc32c(const void *data, size_t sizeBytes, uint32_t before) {
  const uint8_t *at = static_cast<const uint8_t *>(data);
  uint32_t crc = ~before;
  for (; sizeBytes >= 8; sizeBytes -= 8, at += 8) {
    uint32_t low, high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + 4, 4);
    low ^= crc;
    crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^
          tables[5][low >> 16 & 255] ^ tables[4][low >> 24] ^
          tables[3][high & 255] ^ tables[2][high >> 8 & 255] ^
          tables[1][high >> 16 & 255] ^ tables[0][high >> 24];
  }
  for (; sizeBytes > 0; --sizeBytes, ++at)
    crc = crc >> 8 ^ tables[0][(crc ^ *at) & 255];
  return ~crc;
}

} // namespace chorus::rt
