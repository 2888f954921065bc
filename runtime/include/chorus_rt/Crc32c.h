//===- Crc32c.h - CRC-32C of bytes ------------------------------*- C++ -*-===//

#ifndef CHORUS_RT_CRC32C_H
#define CHORUS_RT_CRC32C_H

#include <cstddef>
#include <cstdint>

namespace chorus::rt {

/// CRC-32C (Castagnoli) as in RFC 3720, appendix B.4. `before`: the result over
/// the bytes that come before these.
uint32_t crc32c(const void *data, size_t sizeBytes, uint32_t before = 0);

} // namespace chorus::rt

#endif // CHORUS_RT_CRC32C_H
