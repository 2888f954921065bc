//===- RepetitionsTest.cpp - Periodic stretches of a sequence -------------===//

#include "chorus/Transforms/Repetitions.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>

using namespace chorus;

namespace {

using Key = std::tuple<size_t, size_t, size_t>;

std::set<Key> found(const std::vector<unsigned> &text) {
  std::set<Key> keys;
  for (const Repetition &r : findRepetitions(text))
    keys.insert({r.begin, r.end, r.period});
  return keys;
}

/// By definition: for each period the maximal stretches at least two periods
/// long, without those that a divisor of the period has too.
std::set<Key> defined(const std::vector<unsigned> &text) {
  std::set<Key> keys;
  std::set<std::pair<size_t, size_t>> stretches;
  for (size_t period = 1; 2 * period <= text.size(); ++period)
    for (size_t begin = 0; begin + period < text.size();) {
      size_t end = begin + period;
      while (end < text.size() && text[end] == text[end - period])
        ++end;
      if (end - begin >= 2 * period && stretches.insert({begin, end}).second)
        keys.insert({begin, end, period});
      begin = std::max(begin + 1, end - period + 1);
    }
  return keys;
}

TEST(Repetitions, EmptyAndShortTexts) {
  EXPECT_TRUE(findRepetitions({}).empty());
  EXPECT_TRUE(findRepetitions({7}).empty());
  EXPECT_EQ(found({7, 7}), (std::set<Key>{{0, 2, 1}}));
}

TEST(Repetitions, LayersBetweenOtherOps) {
  // embedding, 3 layers of (1 2 3), norm
  EXPECT_EQ(found({9, 1, 2, 3, 1, 2, 3, 1, 2, 3, 8}),
            (std::set<Key>{{1, 10, 3}}));
}

TEST(Repetitions, PartOfAPeriodBelongsToTheStretch) {
  EXPECT_EQ(found({1, 2, 3, 1, 2, 3, 1}), (std::set<Key>{{0, 7, 3}}));
}

TEST(Repetitions, EqualTheirDefinitionOnRandomTexts) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    std::mt19937 random(seed);
    unsigned symbols = 1 + random() % 4;
    std::vector<unsigned> text(random() % 40);
    for (unsigned &symbol : text)
      symbol = random() % symbols;
    ASSERT_EQ(found(text), defined(text)) << "seed " << seed;
  }
}

TEST(Repetitions, EqualTheirDefinitionOnNestedTexts) {
  // Fibonacci words have the most repetitions that overlap.
  std::vector<unsigned> shorter{0}, longer{0, 1};
  while (longer.size() < 300) {
    std::vector<unsigned> next = longer;
    next.insert(next.end(), shorter.begin(), shorter.end());
    shorter = std::exchange(longer, next);
  }
  EXPECT_EQ(found(longer), defined(longer));
}

} // namespace
