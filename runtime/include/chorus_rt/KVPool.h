//===- KVPool.h - Pages of keys and values ----------------------*- C++ -*-===//
//
// A page holds the keys and values of 32 positions for all layers of a model
// (step_abi.h has its layout). Pages are reference counted, so that candidates
// share those of their prompt. Address space for all pages is reserved once;
// memory is committed as pages are first used.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_KVPOOL_H
#define CHORUS_RT_KVPOOL_H

#include "chorus_rt/Status.h"
#include "chorus_rt/step_abi.h"

#include <cstdint>
#include <memory>
#include <vector>

namespace chorus::rt {

/// Index of a page in its pool.
using PageId = int32_t;

/// Reference counted pages of one size. Not thread safe. Page contents are
/// written by compiled code and by PageCopy; the pool itself only clears.
class KVPool {
public:
  /// Reserves address space for `capacity` pages of `pageBytes` (a multiple of
  /// 64). Memory error N10 if that is refused.
  static StatusOr<std::unique_ptr<KVPool>> create(uint64_t pageBytes,
                                                  int64_t capacity);
  ~KVPool();
  KVPool(const KVPool &) = delete;
  KVPool &operator=(const KVPool &) = delete;

  /// A page of zeros with one reference. Limit error N09 when all pages are in
  /// use, N10 when the system gives no memory; the pool is unchanged then.
  StatusOr<PageId> allocate();

  /// The same without clearing, for a page that is overwritten as a whole.
  StatusOr<PageId> allocateForCopy();

  void retain(PageId page) { ++counts[static_cast<size_t>(page)]; }

  /// Gives one reference back; the last one frees the page.
  void release(PageId page);

  int32_t references(PageId page) const {
    return counts[static_cast<size_t>(page)];
  }

  uint8_t *data() const { return base; }
  uint8_t *pageData(PageId page) const {
    return base + static_cast<uint64_t>(page) * bytesPerPage;
  }
  uint64_t pageBytes() const { return bytesPerPage; }
  int64_t capacity() const { return maxPages; }

  /// Pages in use now, the most that were in use at once, and how often a page
  /// was handed out.
  int64_t pagesInUse() const { return inUse; }
  int64_t peakPages() const { return peak; }
  uint64_t pagesAllocated() const { return allocated; }

private:
  KVPool(uint64_t pageBytes, int64_t capacity)
      : bytesPerPage(pageBytes), maxPages(capacity) {}

  StatusOr<PageId> take(bool clear);
  Status commit(uint64_t bytes);

  uint8_t *base = nullptr;
  uint64_t bytesPerPage;
  int64_t maxPages;
  uint64_t reservedBytes = 0;
  uint64_t committedBytes = 0;
  /// Pages below this were handed out before; the memory above is still zero.
  int64_t everUsed = 0;
  int64_t inUse = 0;
  int64_t peak = 0;
  uint64_t allocated = 0;
  std::vector<int32_t> counts;
  std::vector<PageId> freePages;
};

/// A page that must be copied before a step may write to it.
struct PageCopy {
  PageId from = 0;
  PageId to = 0;
};

/// The cache of one sequence: its page table and how many positions are in it.
/// Moves, but does not copy: fork() says when pages are shared.
class SequenceCache {
public:
  explicit SequenceCache(KVPool &pool) : pool(&pool) {}
  ~SequenceCache() { clear(); }
  SequenceCache(SequenceCache &&other) noexcept;
  SequenceCache &operator=(SequenceCache &&other) noexcept;

  /// A second sequence with the same past. Shares all pages.
  SequenceCache fork() const;

  /// Goes on with `pages`, which hold the next positions; they are shared. The
  /// positions so far fill whole pages.
  void share(const std::vector<PageId> &pages);

  /// Makes room for `count` more positions: allocates pages, and replaces a
  /// shared last page by an own one, which the caller must fill as `copies`
  /// says before the step runs. On an error the cache is unchanged.
  Status prepare(int64_t count, std::vector<PageCopy> &copies);

  /// Pages that prepare() will take on the way to `length` positions, while no
  /// one else forks or ends.
  int64_t pagesToGrow(int64_t length) const;

  /// The step has written `count` positions for which prepare() made room.
  void advance(int64_t count) { positions += count; }

  /// Gives all pages back.
  void clear();

  int64_t length() const { return positions; }

  /// Page ids of positions 0..31, 32..63, ...; stays in place until the next
  /// prepare(), move or clear().
  const int32_t *table() const { return pages.data(); }
  const std::vector<PageId> &pageTable() const { return pages; }

private:
  KVPool *pool;
  std::vector<PageId> pages;
  int64_t positions = 0;
};

/// Pages for `positions` positions.
inline int64_t pagesFor(int64_t positions) {
  return (positions + CHORUS_PAGE_POSITIONS - 1) / CHORUS_PAGE_POSITIONS;
}

} // namespace chorus::rt

#endif // CHORUS_RT_KVPOOL_H
