//===- KVPoolTest.cpp -----------------------------------------------------===//

#include "chorus_rt/KVPool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

using namespace chorus::rt;

namespace {

constexpr uint64_t pageBytes = 4096 + 64;

std::unique_ptr<KVPool> makePool(int64_t capacity) {
  StatusOr<std::unique_ptr<KVPool>> pool = KVPool::create(pageBytes, capacity);
  EXPECT_TRUE(pool.ok());
  return std::move(*pool);
}

bool isZero(const KVPool &pool, PageId page) {
  const uint8_t *data = pool.pageData(page);
  return std::all_of(data, data + pageBytes, [](uint8_t b) { return b == 0; });
}

TEST(KVPool, N13_ReusedPagesAreCleared) {
  std::unique_ptr<KVPool> pool = makePool(2);
  PageId page = *pool->allocate();
  EXPECT_TRUE(isZero(*pool, page));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(pool->pageData(page)) % 64, 0u);
  std::memset(pool->pageData(page), 0xFF, pageBytes);
  pool->release(page);
  EXPECT_EQ(*pool->allocate(), page);
  EXPECT_TRUE(isZero(*pool, page));
}

TEST(KVPool, N09_FullPoolIsAnErrorAndChangesNothing) {
  std::unique_ptr<KVPool> pool = makePool(3);
  SequenceCache first(*pool), second(*pool);
  std::vector<PageCopy> copies;
  ASSERT_TRUE(first.prepare(64, copies).ok());
  first.advance(64);
  Status full = second.prepare(33, copies);
  EXPECT_EQ(full.code(), "N09");
  EXPECT_EQ(full.exitCode(), ExitCode::Limit);
  EXPECT_EQ(second.pageTable().size(), 0u);
  EXPECT_EQ(pool->pagesInUse(), 2);
  // What fits is still given.
  EXPECT_TRUE(second.prepare(32, copies).ok());
  EXPECT_EQ(pool->pagesInUse(), 3);
}

TEST(KVPool, ForkSharesAndTheFirstWriteCopies) {
  std::unique_ptr<KVPool> pool = makePool(16);
  SequenceCache prompt(*pool);
  std::vector<PageCopy> copies;
  ASSERT_TRUE(prompt.prepare(40, copies).ok());
  prompt.advance(40);
  EXPECT_TRUE(copies.empty());
  SequenceCache a = prompt.fork(), b = prompt.fork();
  EXPECT_EQ(pool->pagesInUse(), 2);
  EXPECT_EQ(pool->references(prompt.pageTable()[1]), 3);

  ASSERT_TRUE(a.prepare(1, copies).ok());
  ASSERT_EQ(copies.size(), 1u);
  EXPECT_EQ(copies[0].from, prompt.pageTable()[1]);
  EXPECT_EQ(copies[0].to, a.pageTable()[1]);
  EXPECT_EQ(a.pageTable()[0], prompt.pageTable()[0]);
  a.advance(1);
  // Its page is its own now.
  ASSERT_TRUE(a.prepare(1, copies).ok());
  EXPECT_EQ(copies.size(), 1u);

  // The last holder writes in place.
  prompt.clear();
  copies.clear();
  ASSERT_TRUE(b.prepare(1, copies).ok());
  EXPECT_TRUE(copies.empty());
  a.clear();
  b.clear();
  EXPECT_EQ(pool->pagesInUse(), 0);
  EXPECT_EQ(pool->peakPages(), 3);
}

TEST(KVPool, ForkAtAPageBorderCopiesNothing) {
  std::unique_ptr<KVPool> pool = makePool(16);
  SequenceCache prompt(*pool);
  std::vector<PageCopy> copies;
  ASSERT_TRUE(prompt.prepare(64, copies).ok());
  prompt.advance(64);
  SequenceCache fork = prompt.fork();
  ASSERT_TRUE(fork.prepare(1, copies).ok());
  EXPECT_TRUE(copies.empty());
  EXPECT_EQ(pool->pagesInUse(), 3);
}

TEST(KVPool, SharedPagesGoOn) {
  std::unique_ptr<KVPool> pool = makePool(16);
  SequenceCache prompt(*pool);
  std::vector<PageCopy> copies;
  ASSERT_TRUE(prompt.prepare(70, copies).ok());
  prompt.advance(70);
  SequenceCache other(*pool);
  other.share({prompt.pageTable()[0]});
  other.share({prompt.pageTable()[1]});
  EXPECT_EQ(other.length(), 64);
  EXPECT_EQ(pool->pagesInUse(), 3);
  ASSERT_TRUE(other.prepare(1, copies).ok());
  EXPECT_TRUE(copies.empty());
  EXPECT_NE(other.pageTable()[2], prompt.pageTable()[2]);
  prompt.clear();
  EXPECT_EQ(pool->pagesInUse(), 3);
}

TEST(KVPool, PagesToGrowIsWhatPrepareTakes) {
  for (int64_t length : {1, 31, 32, 33, 64, 70})
    for (int64_t more : {0, 1, 2, 31, 32, 33, 100})
      for (bool forks : {false, true}) {
        std::unique_ptr<KVPool> pool = makePool(16);
        SequenceCache cache(*pool);
        std::vector<PageCopy> copies;
        EXPECT_EQ(cache.pagesToGrow(length), pagesFor(length));
        ASSERT_TRUE(cache.prepare(length, copies).ok());
        cache.advance(length);
        SequenceCache fork(*pool);
        if (forks)
          fork = cache.fork();
        int64_t expected = cache.pagesToGrow(length + more);
        int64_t before = pool->pagesInUse();
        ASSERT_TRUE(cache.prepare(more, copies).ok());
        EXPECT_EQ(pool->pagesInUse() - before, expected);
      }
}

TEST(KVPool, FailedCopyLeavesTheCacheUnchanged) {
  std::unique_ptr<KVPool> pool = makePool(2);
  SequenceCache prompt(*pool);
  std::vector<PageCopy> copies;
  ASSERT_TRUE(prompt.prepare(10, copies).ok());
  prompt.advance(10);
  SequenceCache fork = prompt.fork();
  // Needs a copy and one page more, and only one is free.
  EXPECT_EQ(fork.prepare(30, copies).code(), "N09");
  EXPECT_TRUE(copies.empty());
  EXPECT_EQ(fork.pageTable(), prompt.pageTable());
  EXPECT_EQ(pool->pagesInUse(), 1);
}

TEST(KVPool, HugeCapacityIsOnlyReserved) {
  StatusOr<std::unique_ptr<KVPool>> pool =
      KVPool::create(uint64_t(1) << 20, 100000); // 100 GB
  ASSERT_TRUE(pool.ok());
  EXPECT_TRUE((*pool)->allocate().ok());
  StatusOr<std::unique_ptr<KVPool>> absurd =
      KVPool::create(uint64_t(1) << 60, 100000);
  EXPECT_EQ(absurd.status().code(), "N10");
}

} // namespace
