//===- KVPool.cpp - Pages of keys and values ------------------------------===//

#include "chorus_rt/KVPool.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <new>
#include <sys/mman.h>

namespace chorus::rt {

/// Memory is committed in steps of this, which is also a huge page.
static constexpr uint64_t commitStep = uint64_t(2) << 20;

static Status outOfMemory(uint64_t bytes) {
  return limitError("N10", "key-value cache",
                    "no memory for " + std::to_string(bytes) + " bytes");
}

StatusOr<std::unique_ptr<KVPool>> KVPool::create(uint64_t pageBytes,
                                                 int64_t capacity) try {
  assert(pageBytes % CHORUS_BUFFER_ALIGNMENT == 0);
  capacity =
      std::clamp<int64_t>(capacity, 1, std::numeric_limits<PageId>::max());
  uint64_t bytes;
  if (__builtin_mul_overflow(pageBytes, static_cast<uint64_t>(capacity),
                             &bytes) ||
      bytes > std::numeric_limits<int64_t>::max() - 2 * commitStep)
    return outOfMemory(std::numeric_limits<uint64_t>::max());
  std::unique_ptr<KVPool> pool(new KVPool(pageBytes, capacity));
  // One step more, so that the base can lie on a huge page's border.
  bytes = (bytes + 2 * commitStep - 1) / commitStep * commitStep;
  void *region = mmap(nullptr, bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED)
    return outOfMemory(bytes);
  uintptr_t start = reinterpret_cast<uintptr_t>(region);
  uintptr_t aligned = (start + commitStep - 1) / commitStep * commitStep;
  if (aligned > start)
    munmap(region, aligned - start);
  pool->base = reinterpret_cast<uint8_t *>(aligned);
  pool->reservedBytes = bytes - (aligned - start);
  return pool;
} catch (const std::bad_alloc &) {
  return outOfMemory(sizeof(KVPool));
}

KVPool::~KVPool() {
  if (base)
    munmap(base, reservedBytes);
}

Status KVPool::commit(uint64_t bytes) {
  if (bytes <= committedBytes)
    return Status();
  uint64_t target = std::min((bytes + commitStep - 1) / commitStep * commitStep,
                             reservedBytes);
  if (mprotect(base + committedBytes, target - committedBytes,
               PROT_READ | PROT_WRITE) != 0)
    return outOfMemory(target - committedBytes);
  // Fewer TLB misses; a system without huge pages runs as well.
  (void)madvise(base + committedBytes, target - committedBytes, MADV_HUGEPAGE);
  committedBytes = target;
  return Status();
}

StatusOr<PageId> KVPool::take(bool clear) {
  PageId page;
  if (!freePages.empty()) {
    page = freePages.back();
    freePages.pop_back();
    if (clear)
      std::memset(pageData(page), 0, bytesPerPage);
  } else {
    if (everUsed == maxPages)
      return limitError("N09", "key-value cache",
                        "all " + std::to_string(maxPages) +
                            " pages are in use");
    try {
      if (counts.size() == counts.capacity())
        counts.reserve(std::max<size_t>(64, 2 * counts.size()));
      // release() must not need memory.
      freePages.reserve(counts.capacity());
    } catch (const std::bad_alloc &) {
      return outOfMemory(sizeof(PageId));
    }
    CHORUS_RETURN_IF_ERROR(
        commit(static_cast<uint64_t>(everUsed + 1) * bytesPerPage));
    page = static_cast<PageId>(everUsed++);
    counts.push_back(0);
  }
  counts[static_cast<size_t>(page)] = 1;
  ++allocated;
  ++inUse;
  peak = std::max(peak, inUse);
  return page;
}

StatusOr<PageId> KVPool::allocate() { return take(/*clear=*/true); }

StatusOr<PageId> KVPool::allocateForCopy() { return take(/*clear=*/false); }

void KVPool::release(PageId page) {
  int32_t &count = counts[static_cast<size_t>(page)];
  assert(count > 0);
  if (--count != 0)
    return;
  freePages.push_back(page);
  --inUse;
}

SequenceCache::SequenceCache(SequenceCache &&other) noexcept
    : pool(other.pool), pages(std::move(other.pages)),
      positions(other.positions) {
  other.pages.clear();
  other.positions = 0;
}

SequenceCache &SequenceCache::operator=(SequenceCache &&other) noexcept {
  if (this != &other) {
    clear();
    pool = other.pool;
    pages = std::move(other.pages);
    positions = other.positions;
    other.pages.clear();
    other.positions = 0;
  }
  return *this;
}

SequenceCache SequenceCache::fork() const {
  SequenceCache copy(*pool);
  copy.pages = pages;
  copy.positions = positions;
  for (PageId page : pages)
    pool->retain(page);
  return copy;
}

void SequenceCache::share(const std::vector<PageId> &shared) {
  assert(positions ==
         static_cast<int64_t>(pages.size()) * CHORUS_PAGE_POSITIONS);
  pages.insert(pages.end(), shared.begin(), shared.end());
  for (PageId page : shared)
    pool->retain(page);
  positions += static_cast<int64_t>(shared.size()) * CHORUS_PAGE_POSITIONS;
}

int64_t SequenceCache::pagesToGrow(int64_t length) const {
  if (length <= positions)
    return 0;
  int64_t more = pagesFor(length) - static_cast<int64_t>(pages.size());
  // A shared partial page is copied before it is written.
  bool copies =
      positions % CHORUS_PAGE_POSITIONS != 0 &&
      pool->references(
          pages[static_cast<size_t>(positions / CHORUS_PAGE_POSITIONS)]) > 1;
  return more + copies;
}

Status SequenceCache::prepare(int64_t count, std::vector<PageCopy> &copies) {
  size_t needed = static_cast<size_t>(pagesFor(positions + count));
  size_t had = pages.size();
  pages.reserve(needed);
  copies.reserve(copies.size() + 1);
  auto undo = [&](Status status) {
    for (size_t i = had; i < pages.size(); ++i)
      pool->release(pages[i]);
    pages.resize(had);
    return status;
  };
  while (pages.size() < needed) {
    StatusOr<PageId> page = pool->allocate();
    if (!page.ok())
      return undo(page.status());
    pages.push_back(*page);
  }
  if (count == 0 || positions % CHORUS_PAGE_POSITIONS == 0)
    return Status();
  PageId &partial =
      pages[static_cast<size_t>(positions / CHORUS_PAGE_POSITIONS)];
  if (pool->references(partial) == 1)
    return Status();
  StatusOr<PageId> own = pool->allocateForCopy();
  if (!own.ok())
    return undo(own.status());
  copies.push_back({partial, *own});
  // The source keeps its other references until the copy is made: this
  // reference is not the last one, and no page is freed inside a step.
  pool->release(partial);
  partial = *own;
  return Status();
}

void SequenceCache::clear() {
  for (PageId page : pages)
    pool->release(page);
  pages.clear();
  positions = 0;
}

} // namespace chorus::rt
