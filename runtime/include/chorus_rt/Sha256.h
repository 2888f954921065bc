//===- Sha256.h - SHA-256 of bytes as they come -----------------*- C++ -*-===//

#ifndef CHORUS_RT_SHA256_H
#define CHORUS_RT_SHA256_H

#include "chorus_rt/Status.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace chorus::rt {

using Sha256Digest = std::array<uint8_t, 32>;

/// Computes one digest over any number of pieces.
class Sha256 {
public:
  Sha256();
  ~Sha256();
  Sha256(Sha256 &&) noexcept;
  Sha256 &operator=(Sha256 &&) noexcept;

  void update(const void *data, size_t sizeBytes);
  /// The digest of all bytes so far; call once. Fails (exit code 4) only where
  /// the library had no memory.
  StatusOr<Sha256Digest> finish();

private:
  struct Context;
  std::unique_ptr<Context> context;
};

/// Digest of one piece.
StatusOr<Sha256Digest> sha256(const void *data, size_t sizeBytes);

/// 64 lower-case hexadecimal digits.
std::string toHex(const Sha256Digest &digest);

} // namespace chorus::rt

#endif // CHORUS_RT_SHA256_H
