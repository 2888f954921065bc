//===- PrefixCacheTest.cpp ------------------------------------------------===//

#include "chorus_rt/PrefixCache.h"

#include <gtest/gtest.h>

#include <numeric>

using namespace chorus::rt;

namespace {

/// A text of `pages` pages; page i holds tokens of `kinds[i]`.
std::vector<int32_t> text(const std::vector<int32_t> &kinds) {
  std::vector<int32_t> tokens;
  for (int32_t kind : kinds)
    for (int32_t i = 0; i < 32; ++i)
      tokens.push_back(100 * kind + i);
  return tokens;
}

class PrefixCacheTest : public testing::Test {
protected:
  /// Pages for a text, as a sequence that computed it holds them.
  std::vector<PageId> compute(size_t count) {
    std::vector<PageId> pages;
    for (size_t i = 0; i < count; ++i)
      pages.push_back(*pool->allocate());
    return pages;
  }
  void release(const std::vector<PageId> &pages) {
    for (PageId page : pages)
      pool->release(page);
  }
  std::vector<PageId> add(PrefixCache &cache,
                          const std::vector<int32_t> &kinds) {
    std::vector<PageId> pages = compute(kinds.size());
    cache.insert(text(kinds), static_cast<int64_t>(32 * kinds.size()), pages);
    release(pages);
    return pages;
  }
  std::vector<PageId> find(PrefixCache &cache,
                           const std::vector<int32_t> &kinds,
                           int64_t skip = 0) {
    return cache.find(text(kinds), static_cast<int64_t>(32 * kinds.size()),
                      skip);
  }

  std::unique_ptr<KVPool> pool = std::move(*KVPool::create(64, 100));
};

TEST_F(PrefixCacheTest, FindsTheLongestKnownBeginning) {
  PrefixCache cache(*pool, 10);
  std::vector<PageId> first = add(cache, {1, 2, 3});
  EXPECT_EQ(cache.pages(), 3);
  EXPECT_EQ(pool->pagesInUse(), 3);
  EXPECT_EQ(find(cache, {1, 2, 3}), first);
  EXPECT_EQ(find(cache, {1, 2, 3, 4}), first);
  EXPECT_EQ(find(cache, {1, 2, 4}), (std::vector<PageId>{first[0], first[1]}));
  EXPECT_EQ(find(cache, {1, 2, 3}, 2), std::vector<PageId>{first[2]});
  EXPECT_TRUE(find(cache, {1, 2, 3}, 3).empty());
  // The same tokens elsewhere are another beginning.
  EXPECT_TRUE(find(cache, {2, 3}).empty());
  // Whole pages only.
  EXPECT_EQ(cache.find(text({1, 2, 3}), 95, 0).size(), 2u);
  EXPECT_TRUE(cache.find(text({1}), 31, 0).empty());
  // A last token that differs.
  std::vector<int32_t> other = text({1, 2});
  other.back() ^= 1;
  EXPECT_EQ(cache.find(other, 64, 0).size(), 1u);
}

TEST_F(PrefixCacheTest, KeepsThePagesThatItHas) {
  PrefixCache cache(*pool, 10);
  std::vector<PageId> first = add(cache, {1, 2});
  std::vector<PageId> second = add(cache, {1, 2, 3});
  EXPECT_EQ(find(cache, {1, 2, 3}),
            (std::vector<PageId>{first[0], first[1], second[2]}));
  EXPECT_EQ(pool->pagesInUse(), 3);
}

TEST_F(PrefixCacheTest, LeastRecentlyUsedMakesRoom) {
  PrefixCache cache(*pool, 4);
  add(cache, {1, 2});
  add(cache, {3, 4});
  find(cache, {1, 2});
  add(cache, {1, 5}); // Instead of 4.
  EXPECT_EQ(cache.pages(), 4);
  EXPECT_EQ(find(cache, {3, 4}).size(), 1u);
  EXPECT_EQ(find(cache, {1, 2}).size(), 2u);
  EXPECT_EQ(find(cache, {1, 5}).size(), 2u);
  // A text that is longer than all: its beginning.
  add(cache, {6, 7, 8, 9, 10, 11});
  EXPECT_EQ(cache.pages(), 4);
  EXPECT_EQ(find(cache, {6, 7, 8, 9, 10, 11}).size(), 4u);
  EXPECT_TRUE(find(cache, {1}).empty());
  EXPECT_EQ(pool->pagesInUse(), 4);
}

TEST_F(PrefixCacheTest, EvictsWhatNobodyElseHolds) {
  PrefixCache cache(*pool, 10);
  std::vector<PageId> first = add(cache, {1, 2, 3});
  add(cache, {1, 4});
  // A sequence goes on from {1, 2}.
  pool->retain(first[0]);
  pool->retain(first[1]);
  EXPECT_EQ(cache.evict(1), 1); // 3, used before 4.
  EXPECT_EQ(find(cache, {1, 2, 3}).size(), 2u);
  EXPECT_EQ(find(cache, {1, 4}).size(), 2u);
  EXPECT_EQ(cache.evict(10), 1); // 4.
  EXPECT_EQ(cache.pages(), 2);
  pool->release(first[0]);
  pool->release(first[1]);
  EXPECT_EQ(cache.evict(10), 2);
  EXPECT_EQ(pool->pagesInUse(), 0);
  EXPECT_TRUE(find(cache, {1}).empty());
}

TEST_F(PrefixCacheTest, EndGivesPagesBack) {
  {
    PrefixCache cache(*pool, 10);
    add(cache, {1, 2, 3});
    add(cache, {2});
  }
  EXPECT_EQ(pool->pagesInUse(), 0);
}

} // namespace
