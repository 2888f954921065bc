//===- ScratchBuffer.cpp - Large memory that is reused --------------------===//

#include "chorus_rt/ScratchBuffer.h"

#include <limits>
#include <sys/mman.h>

namespace chorus::rt {

/// Mapped sizes are multiples of a huge page.
static constexpr uint64_t granularity = uint64_t(2) << 20;

ScratchBuffer::~ScratchBuffer() {
  if (base)
    munmap(base, mappedBytes);
}

Status ScratchBuffer::reserve(uint64_t bytes) {
  if (bytes <= mappedBytes)
    return Status();
  if (base)
    munmap(base, mappedBytes);
  base = nullptr;
  mappedBytes = 0;
  auto refuse = [&] {
    return limitError("N10", "scratch memory",
                      "no memory for " + std::to_string(bytes) + " bytes");
  };
  if (bytes > std::numeric_limits<int64_t>::max() - granularity)
    return refuse();
  uint64_t rounded = (bytes + granularity - 1) / granularity * granularity;
  void *region = mmap(nullptr, rounded, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED)
    return refuse();
  (void)madvise(region, rounded, MADV_HUGEPAGE);
  base = static_cast<uint8_t *>(region);
  mappedBytes = rounded;
  return Status();
}

} // namespace chorus::rt
