//===- SamplerDistributionTest.cpp - Are draws as likely as they should? --===//
//
// A million draws per setting in batches of 200 rows of all settings, against
// probabilities that a plain f64 reading of the documented stages gives here.
// Seeds are fixed: a test passes always or never.
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"
#include "chorus_rt/Philox.h"
#include "chorus_rt/Sampler.h"
#include "chorus_rt/ThreadPool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

using namespace chorus::rt;

namespace {

constexpr size_t vocab = 24, draws = 1'000'000, batchRows = 200;

/// Logits in no order, from -3.1 to 3.3, two of them equal.
std::vector<float> testLogits() {
  std::vector<float> logits(vocab);
  for (size_t i = 0; i < vocab; ++i)
    logits[i] = static_cast<float>(7 * i % vocab) * 0.28f - 3.1f;
  logits[5] = logits[17];
  return logits;
}

/// One way to choose a token; the prompt and what was generated are fixed.
struct Setting {
  std::string name;
  SamplingParameters parameters;
};

Setting make(std::string name, double temperature, int64_t topK = 0,
             double topP = 1, double minP = 0) {
  Setting setting{std::move(name), {}};
  setting.parameters.temperature = temperature;
  setting.parameters.topK = topK;
  setting.parameters.topP = topP;
  setting.parameters.minP = minP;
  return setting;
}

std::vector<Setting> settings() {
  std::vector<Setting> all = {
      make("temperature 0.3", 0.3), make("temperature 0.8", 0.8),
      make("temperature 1", 1),     make("temperature 1.5", 1.5),
      make("top-k", 1, 7),          make("top-p", 1, 0, 0.8),
      make("min-p", 1, 0, 1, 0.1),  make("all three", 0.8, 9, 0.95, 0.05),
      make("penalties", 1),         make("bias", 1),
      make("allowed", 1),           make("all stages", 1.5, 12, 0.9, 0.05)};
  SamplingParameters &stages = all[11].parameters;
  for (SamplingParameters *p : {&all[8].parameters, &stages}) {
    p->repetitionPenalty = 1.3;
    p->presencePenalty = 0.4;
    p->frequencyPenalty = 0.25;
  }
  for (SamplingParameters *p : {&all[9].parameters, &stages})
    p->logitBias = {{0, 2.5f}, {3, -1.0f}, {23, -100.0f}};
  for (SamplingParameters *p : {&all[10].parameters, &stages}) {
    p->allowedTokens.resize(vocab - 3);
    std::iota(p->allowedTokens.begin(), p->allowedTokens.end(), 2);
  }
  for (size_t i = 0; i < all.size(); ++i)
    all[i].parameters.seed = i;
  return all;
}

constexpr std::array<int32_t, 4> promptTokens = {1, 2, 7, 20};
constexpr std::array<int32_t, 5> generatedTokens = {9, 2, 9, 9, 14};

/// The stages in f64, as the documentation says them.
std::vector<double> exactProbabilities(const SamplingParameters &p) {
  constexpr double none = -std::numeric_limits<double>::infinity();
  std::vector<float> logits = testLogits();
  std::vector<double> l(logits.begin(), logits.end());
  if (!p.allowedTokens.empty())
    for (size_t i = 0; i < vocab; ++i)
      if (!std::count(p.allowedTokens.begin(), p.allowedTokens.end(), i))
        l[i] = none;
  for (auto [id, bias] : p.logitBias)
    l[static_cast<size_t>(id)] += bias;
  for (size_t i = 0; i < vocab; ++i) {
    auto times = std::count(generatedTokens.begin(), generatedTokens.end(), i);
    if (times || std::count(promptTokens.begin(), promptTokens.end(), i))
      l[i] = l[i] > 0 ? l[i] / p.repetitionPenalty : l[i] * p.repetitionPenalty;
    if (times)
      l[i] -=
          p.presencePenalty + p.frequencyPenalty * static_cast<double>(times);
  }
  std::vector<size_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return l[a] != l[b] ? l[a] > l[b] : a < b;
  });
  std::vector<double> mass(vocab);
  for (size_t i = 0; i < vocab; ++i)
    mass[i] = std::exp((l[i] - l[order[0]]) / p.temperature);
  if (p.topK > 0) {
    double kth = l[order[static_cast<size_t>(p.topK) - 1]];
    for (size_t i = 0; i < vocab; ++i)
      if (l[i] < kth)
        mass[i] = 0;
  }
  double total = std::accumulate(mass.begin(), mass.end(), 0.0), before = 0;
  for (size_t i : order) {
    bool keep = before <= p.topP * total;
    before += mass[i];
    if (!keep || mass[i] < p.minP * mass[order[0]])
      mass[i] = 0;
  }
  total = std::accumulate(mass.begin(), mass.end(), 0.0);
  for (double &m : mass)
    m /= total;
  return mass;
}

/// How probable a sum of squares of at least `x` is, with `degrees` of freedom:
/// the recurrence of the incomplete gamma function in steps of two degrees.
double chiSquareTail(double x, size_t degrees) {
  double y = x / 2;
  double tail = degrees % 2 ? std::erfc(std::sqrt(y)) : std::exp(-y);
  for (size_t below = degrees % 2 ? 1 : 2; below < degrees; below += 2) {
    double a = static_cast<double>(below) / 2;
    tail += std::exp(a * std::log(y) - y - std::lgamma(a + 1));
  }
  return tail;
}

/// The probability of counts that are at least as far from the expected ones;
/// 0 if something happened that can't. Tokens of fewer than 10 expected draws
/// are one cell.
double pValue(const std::vector<size_t> &counts,
              const std::vector<double> &probabilities) {
  double all = static_cast<double>(
      std::accumulate(counts.begin(), counts.end(), size_t(0)));
  double squares = 0, rareCount = 0, rareExpected = 0;
  size_t cells = 0;
  auto addCell = [&](double count, double expected) {
    squares += (count - expected) * (count - expected) / expected;
    ++cells;
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    double count = static_cast<double>(counts[i]);
    double expected = all * probabilities[i];
    if (expected == 0 && count > 0)
      return 0;
    if (expected >= 10) {
      addCell(count, expected);
    } else {
      rareCount += count;
      rareExpected += expected;
    }
  }
  if (rareExpected > 1)
    addCell(rareCount, rareExpected);
  return chiSquareTail(squares, cells - 1);
}

TEST(ChiSquare, TabulatedTails) {
  // 5 % and 0.1 % points.
  EXPECT_NEAR(chiSquareTail(3.841, 1), 0.05, 1e-4);
  EXPECT_NEAR(chiSquareTail(5.991, 2), 0.05, 1e-4);
  EXPECT_NEAR(chiSquareTail(35.172, 23), 0.05, 1e-4);
  EXPECT_NEAR(chiSquareTail(51.179, 24), 0.001, 1e-5);
}

/// The tokens of all draws, setting by setting.
class SamplerDistribution : public testing::Test {
protected:
  /// Draw `index` of a setting.
  SamplerRow rowOf(const Setting &setting, size_t index) const {
    SamplerRow row;
    row.logits = logits.data();
    row.parameters = &setting.parameters;
    row.promptTokens = &prompt;
    row.generated = &generated;
    row.random24 =
        uniform24(setting.parameters.seed, static_cast<uint32_t>(index / 100),
                  static_cast<uint32_t>(index % 100));
    return row;
  }

  void SetUp() override {
    for (int32_t id : generatedTokens)
      generated.add(id);
    for (const Setting &setting : all)
      ASSERT_TRUE(setting.parameters.validate(vocab).ok()) << setting.name;
  }

  /// Neighbouring rows of a batch have different settings.
  std::vector<std::vector<uint8_t>> drawInBatches() const {
    std::vector<std::vector<uint8_t>> tokens(all.size(),
                                             std::vector<uint8_t>(draws));
    Sampler sampler(vocab, fakeMasses);
    ThreadPool threads(3);
    for (size_t first = 0; first < draws * all.size(); first += batchRows)
      threads.forEachRange(batchRows, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          size_t at = first + static_cast<size_t>(i), which = at % all.size();
          SampledToken token =
              sampler.sample(rowOf(all[which], at / all.size()));
          tokens[which][at / all.size()] =
              static_cast<uint8_t>(token.status.ok() ? token.id : -1);
        }
      });
    return tokens;
  }

  static std::vector<size_t> countsOf(const std::vector<uint8_t> &tokens) {
    std::vector<size_t> counts(vocab);
    for (uint8_t token : tokens)
      ++counts.at(token);
    return counts;
  }

  std::vector<float> logits = testLogits();
  std::vector<int32_t> prompt{promptTokens.begin(), promptTokens.end()};
  TokenCounts generated;
  std::vector<Setting> all = settings();
};

TEST_F(SamplerDistribution, MillionDrawsASetting) {
  std::vector<std::vector<uint8_t>> tokens = drawInBatches();
  for (size_t which = 0; which < all.size(); ++which) {
    const Setting &setting = all[which];
    std::vector<size_t> counts = countsOf(tokens[which]);
    std::vector<double> exact = exactProbabilities(setting.parameters);
    EXPECT_GT(pValue(counts, exact), 0.001) << setting.name;
    // Every token that can come has come, apart from the rarest.
    for (size_t i = 0; i < vocab; ++i)
      if (exact[i] > 2e-5)
        EXPECT_GT(counts[i], 0u) << setting.name << " token " << i;

    // Other distributions are told from this one: 2 % more temperature, and the
    // likeliest token 0.004 less likely for the sake of the next.
    SamplingParameters warmer = setting.parameters;
    warmer.temperature *= 1.02;
    EXPECT_LT(pValue(counts, exactProbabilities(warmer)), 1e-6) << setting.name;
    std::vector<double> shifted = exact;
    std::vector<double> sorted = exact;
    std::sort(sorted.rbegin(), sorted.rend());
    for (size_t i = 0; i < vocab; ++i)
      shifted[i] += exact[i] == sorted[0]   ? -0.004
                    : exact[i] == sorted[1] ? 0.004
                                            : 0;
    EXPECT_LT(pValue(counts, shifted), 1e-6) << setting.name;

    // Alone, each draw is what it was among 199 others.
    Sampler sampler(vocab, fakeMasses);
    for (size_t index = 0; index < draws; index += 53)
      ASSERT_EQ(sampler.sample(rowOf(setting, index)).id, tokens[which][index])
          << setting.name << " draw " << index;
  }
}

} // namespace
