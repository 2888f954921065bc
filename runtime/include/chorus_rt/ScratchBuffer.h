//===- ScratchBuffer.h - Large memory that is reused ------------*- C++ -*-===//

#ifndef CHORUS_RT_SCRATCHBUFFER_H
#define CHORUS_RT_SCRATCHBUFFER_H

#include "chorus_rt/Status.h"

#include <cstdint>

namespace chorus::rt {

/// Memory for arenas and outputs: page aligned, mapped directly, so that what
/// is never touched costs nothing. Contents do not survive growth.
class ScratchBuffer {
public:
  ScratchBuffer() = default;
  ~ScratchBuffer();
  ScratchBuffer(const ScratchBuffer &) = delete;
  ScratchBuffer &operator=(const ScratchBuffer &) = delete;

  /// Makes at least `bytes` available. Memory error N10 if they can't be had;
  /// the buffer is empty then.
  Status reserve(uint64_t bytes);

  uint8_t *data() const { return base; }
  template <typename T> T *as() const { return reinterpret_cast<T *>(base); }
  uint64_t size() const { return mappedBytes; }

private:
  uint8_t *base = nullptr;
  uint64_t mappedBytes = 0;
};

} // namespace chorus::rt

#endif // CHORUS_RT_SCRATCHBUFFER_H
