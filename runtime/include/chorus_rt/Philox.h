//===- Philox.h - Counter-based random numbers ------------------*- C++ -*-===//
//
// Philox4x32 with 10 rounds: Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", 2011. A draw depends only on its counter and
// key, so that a candidate's tokens do not depend on what ran before or beside
// it.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_PHILOX_H
#define CHORUS_RT_PHILOX_H

#include <array>
#include <cstdint>

namespace chorus::rt {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

/// The four random words of `counter` under `key`.
inline PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    uint64_t product0 = uint64_t(0xD2511F53) * counter[0];
    uint64_t product1 = uint64_t(0xCD9E8D57) * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// Fourth word of a counter: what the number is drawn for.
enum class RandomStream : uint32_t { Sampling = 0 };

/// 24 random bits; as a fraction of 2^24 a uniform number in [0, 1). `index`
/// counts a candidate's generated tokens from 0.
inline uint32_t uniform24(uint64_t seed, uint32_t candidate, uint32_t index,
                          RandomStream stream = RandomStream::Sampling) {
  PhiloxCounter words = philox4x32(
      {0, candidate, index, static_cast<uint32_t>(stream)},
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return words[0] >> 8;
}

} // namespace chorus::rt

#endif // CHORUS_RT_PHILOX_H
