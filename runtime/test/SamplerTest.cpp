//===- SamplerTest.cpp ----------------------------------------------------===//
//
// Expected values: test/data/sampling (transformers' logits processors in
// float64, Random123's known answers) and a full sort written here.
//
//===----------------------------------------------------------------------===//

#include "chorus_rt/Sampler.h"
#include "GoldenFile.h"
#include "chorus_rt/Philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

using namespace chorus::rt;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

/// What the emitted chorus_sampling_masses computes.
void referenceMasses(const float *logits, int64_t count, float max,
                     float inverseTemperature, uint64_t *masses) {
  for (int64_t i = 0; i < count; ++i)
    masses[i] = static_cast<uint64_t>(
        std::exp(double(logits[i] - max) * inverseTemperature) * 0x1p40);
}

GoldenFile golden(const std::string &name) {
  return GoldenFile(CHORUS_SOURCE_DIR "/test/data/sampling/" + name +
                    ".safetensors");
}

TEST(Philox, KnownAnswers) {
  GoldenFile file = golden("philox4x32_10");
  ASSERT_TRUE(file.ok());
  auto counter = file.read<uint32_t>("counter");
  auto key = file.read<uint32_t>("key");
  auto output = file.read<uint32_t>("output");
  auto uniform = file.read<float>("uniform");
  ASSERT_EQ(output.size(), 67u * 4);
  for (size_t i = 0; i < 67; ++i) {
    PhiloxCounter words = philox4x32({counter[4 * i], counter[4 * i + 1],
                                      counter[4 * i + 2], counter[4 * i + 3]},
                                     {key[2 * i], key[2 * i + 1]});
    for (size_t j = 0; j < 4; ++j) {
      EXPECT_EQ(words[j], output[4 * i + j]) << i;
      EXPECT_EQ(static_cast<float>(words[j] >> 8) * 0x1p-24f,
                uniform[4 * i + j]);
    }
  }
}

TEST(Philox, CounterIsCandidateAndIndexKeyIsSeed) {
  PhiloxCounter words = philox4x32({0, 5, 9, 0}, {0x89ABCDEF, 0x01234567});
  EXPECT_EQ(uniform24(0x0123456789ABCDEF, 5, 9), words[0] >> 8);
}

/// Rows of one golden case.
struct Case {
  explicit Case(const std::string &name) : file(golden(name)) {
    rows = file.shape("logits")[0];
    vocab = file.shape("logits")[1];
    logits = file.read<float>("logits");
    promptIds = file.read<int32_t>("prompt_ids");
    outputIds = file.read<int32_t>("output_ids");
  }

  SamplingParameters parameters(size_t row) const {
    SamplingParameters p;
    p.temperature = file.read<float>("temperature")[row];
    p.topK = file.read<int32_t>("top_k")[row];
    p.topP = file.read<float>("top_p")[row];
    p.minP = file.read<float>("min_p")[row];
    p.repetitionPenalty = file.read<float>("repetition")[row];
    p.presencePenalty = file.read<float>("presence")[row];
    p.frequencyPenalty = file.read<float>("frequency")[row];
    return p;
  }

  std::vector<int32_t> idsOf(const std::vector<int32_t> &all,
                             size_t row) const {
    size_t count = all.size() / static_cast<size_t>(rows);
    std::vector<int32_t> ids;
    for (size_t i = 0; i < count; ++i)
      if (all[row * count + i] >= 0)
        ids.push_back(all[row * count + i]);
    return ids;
  }

  GoldenFile file;
  int64_t rows, vocab;
  std::vector<float> logits;
  std::vector<int32_t> promptIds, outputIds;
};

class SamplerGolden : public testing::TestWithParam<std::string> {};

TEST_P(SamplerGolden, StagesAndDraws) {
  Case golden(GetParam());
  ASSERT_TRUE(golden.file.ok());
  Sampler sampler(golden.vocab, referenceMasses);
  auto expected = golden.file.read<double>("after_min_p_f64");
  auto modelLogprob = golden.file.read<double>("model_logprob_f64");
  auto u = golden.file.read<float>("u");
  auto tokens = golden.file.read<int32_t>("token_cdf");
  size_t draws = u.size() / static_cast<size_t>(golden.rows);
  size_t vocab = static_cast<size_t>(golden.vocab);
  for (size_t r = 0; r < static_cast<size_t>(golden.rows); ++r) {
    SamplingParameters parameters = golden.parameters(r);
    ASSERT_TRUE(parameters.validate(golden.vocab).ok());
    std::vector<int32_t> prompt = golden.idsOf(golden.promptIds, r);
    std::sort(prompt.begin(), prompt.end());
    prompt.erase(std::unique(prompt.begin(), prompt.end()), prompt.end());
    TokenCounts generated;
    for (int32_t id : golden.idsOf(golden.outputIds, r))
      generated.add(id);
    const float *logits = golden.logits.data() + r * vocab;
    double logSumExp = 0;
    for (size_t i = 0; i < vocab; ++i)
      logSumExp += std::exp(double(logits[i]));
    SamplerRow row;
    row.logits = logits;
    row.logSumExp = static_cast<float>(std::log(logSumExp));
    row.parameters = &parameters;
    row.promptTokens = &prompt;
    row.generated = &generated;

    if (parameters.temperature > 0) {
      std::vector<uint64_t> masses;
      ASSERT_TRUE(sampler.remainingMasses(row, masses).ok());
      double total = 0;
      for (uint64_t mass : masses)
        total += static_cast<double>(mass);
      for (size_t i = 0; i < vocab; ++i) {
        double logprob = expected[r * vocab + i];
        EXPECT_EQ(masses[i] == 0, std::isinf(logprob))
            << "row " << r << " " << i;
        if (masses[i] != 0)
          EXPECT_NEAR(std::log(static_cast<double>(masses[i]) / total), logprob,
                      2e-4)
              << "row " << r << " token " << i;
      }
    }
    for (size_t d = 0; d < draws; ++d) {
      row.random24 = static_cast<uint32_t>(u[r * draws + d] * 0x1p24f);
      SampledToken token = sampler.sample(row);
      ASSERT_TRUE(token.status.ok());
      EXPECT_EQ(token.id, tokens[r * draws + d]) << "row " << r;
      EXPECT_NEAR(token.logprob,
                  modelLogprob[r * vocab + static_cast<size_t>(token.id)],
                  5e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, SamplerGolden,
                         testing::Values("all_stages", "codex_setting", "min_p",
                                         "presence_frequency",
                                         "quantised_logits_many_ties",
                                         "repetition", "temperature", "top_k",
                                         "top_p", "vocab2"),
                         [](const auto &info) { return info.param; });

/// Masses that are the golden's integer weights, so that ties and borders are
/// exact: the logit is the weight, a mass is 2^32 times it.
void weightMasses(const float *logits, int64_t count, float, float,
                  uint64_t *masses) {
  for (int64_t i = 0; i < count; ++i)
    masses[i] = static_cast<uint64_t>(logits[i]) << 32;
}

TEST(Sampler, Ties) {
  GoldenFile file = golden("ties");
  ASSERT_TRUE(file.ok());
  auto weights = file.read<int32_t>("weights");
  Sampler sampler(4, weightMasses);
  for (size_t r = 0; r < 3; ++r) {
    std::vector<float> logits(weights.begin() + static_cast<long>(4 * r),
                              weights.begin() + static_cast<long>(4 * r + 4));
    auto expectKept = [&](const SamplingParameters &parameters,
                          const std::string &name) {
      SamplerRow row;
      row.logits = logits.data();
      row.parameters = &parameters;
      std::vector<uint64_t> masses;
      ASSERT_TRUE(sampler.remainingMasses(row, masses).ok());
      auto kept = file.read<uint8_t>(name);
      for (size_t i = 0; i < 4; ++i)
        EXPECT_EQ(masses[i] != 0, kept[4 * r + i] != 0)
            << name << " row " << r << " token " << i;
    };
    for (int k : {1, 2, 3}) {
      SamplingParameters parameters;
      parameters.topK = k;
      expectKept(parameters, "top_k" + std::to_string(k) + "_keep_all");
    }
    for (int n : {2, 4, 6}) {
      SamplingParameters parameters;
      parameters.topP = n / 8.0;
      expectKept(parameters, "top_p" + std::to_string(n) + "of8_inclusive");
    }
  }
}

/// The stages by a full sort.
std::vector<uint64_t> sortedMasses(const std::vector<float> &logits,
                                   const SamplingParameters &parameters) {
  size_t vocab = logits.size();
  float max = *std::max_element(logits.begin(), logits.end());
  std::vector<uint64_t> masses(vocab);
  referenceMasses(logits.data(), static_cast<int64_t>(vocab), max,
                  static_cast<float>(1 / parameters.temperature),
                  masses.data());
  if (parameters.topK > 0 && static_cast<size_t>(parameters.topK) < vocab) {
    std::vector<float> sorted = logits;
    std::sort(sorted.begin(), sorted.end(), std::greater<float>());
    float kth = sorted[static_cast<size_t>(parameters.topK) - 1];
    for (size_t i = 0; i < vocab; ++i)
      if (logits[i] < kth)
        masses[i] = 0;
  }
  using Wide = __int128;
  if (parameters.topP < 1) {
    std::vector<size_t> order(vocab);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return masses[a] != masses[b] ? masses[a] > masses[b] : a < b;
    });
    Wide total = 0, before = 0;
    for (uint64_t mass : masses)
      total += mass;
    // p is a multiple of 2^-53.
    Wide limit = static_cast<Wide>(parameters.topP * 0x1p53) * total;
    for (size_t i : order) {
      uint64_t mass = masses[i];
      if ((before << 53) > limit)
        masses[i] = 0;
      before += mass;
    }
  }
  uint64_t largest = *std::max_element(masses.begin(), masses.end());
  for (uint64_t &mass : masses)
    if (static_cast<long double>(mass) <
        static_cast<long double>(parameters.minP) * largest)
      mass = 0;
  return masses;
}

TEST(Sampler, EqualsAFullSort) {
  std::mt19937_64 random(20260807);
  std::normal_distribution<float> normal;
  int checks = 0;
  for (size_t vocab : {1, 2, 63, 64, 65, 1000, 5003})
    for (int kind = 0; kind < 6; ++kind) {
      std::vector<float> logits(vocab);
      for (float &logit : logits) {
        float g = normal(random);
        switch (kind) {
        case 0:
          logit = 2 * g;
          break;
        case 1:
          logit = g * 0.01f;
          break;
        case 2:
          logit = std::floor(4 * g) / 4;
          break;
        case 3:
          logit = 1.25f;
          break;
        case 4:
          logit = 40 * g;
          break;
        default:
          logit = g > 0.5f ? -inf : 3 * g;
          break;
        }
      }
      logits[vocab / 2] += 5;
      if (kind == 5)
        logits[vocab / 2] = 4;
      Sampler sampler(static_cast<int64_t>(vocab), referenceMasses);
      for (double temperature : {0.3, 1.0, 3.0})
        for (int64_t topK : {0, 1, 7, 100, 3000})
          for (double topP : {1.0, 0.95, 0.5, 1e-9})
            for (double minP : {0.0, 0.05, 1.0}) {
              SamplingParameters parameters;
              parameters.temperature = temperature;
              parameters.topK = topK;
              parameters.topP = topP;
              parameters.minP = minP;
              SamplerRow row;
              row.logits = logits.data();
              row.parameters = &parameters;
              std::vector<uint64_t> masses;
              ASSERT_TRUE(sampler.remainingMasses(row, masses).ok());
              std::vector<uint64_t> expected = sortedMasses(logits, parameters);
              ASSERT_EQ(masses, expected)
                  << "vocab " << vocab << " kind " << kind << " T "
                  << temperature << " k " << topK << " p " << topP << " min-p "
                  << minP;
              unsigned __int128 total = 0;
              for (uint64_t mass : expected)
                total += mass;
              for (uint32_t u :
                   {0u, 0xFFFFFFu, static_cast<uint32_t>(random() >> 40)}) {
                row.random24 = u;
                uint64_t target = static_cast<uint64_t>((u * total) >> 24);
                uint64_t running = 0;
                size_t id = 0;
                while (running + expected[id] <= target)
                  running += expected[id++];
                ASSERT_EQ(sampler.sample(row).id, static_cast<int32_t>(id));
                ++checks;
              }
            }
    }
  EXPECT_GT(checks, 20000);
}

SampledToken sampleRow(const std::vector<float> &logits,
                       const SamplingParameters &parameters = {}) {
  Sampler sampler(static_cast<int64_t>(logits.size()), referenceMasses);
  SamplerRow row;
  row.logits = logits.data();
  row.parameters = &parameters;
  return sampler.sample(row);
}

TEST(Sampler, N01_NaNOrInfinityIsAnError) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), inf})
    for (size_t at : {0, 63, 64, 99}) {
      std::vector<float> logits(100, 1);
      logits[at] = bad;
      EXPECT_EQ(sampleRow(logits).status.code(), "N01") << at;
      SamplingParameters greedy;
      greedy.temperature = 0;
      EXPECT_EQ(sampleRow(logits, greedy).status.code(), "N01");
    }
  EXPECT_TRUE(sampleRow(std::vector<float>(100, 1)).status.ok());
}

TEST(Sampler, N02_EverythingMasked) {
  EXPECT_EQ(sampleRow(std::vector<float>(100, -inf)).status.code(), "N02");
  // By the mask, too.
  std::vector<float> logits = {1, 2};
  std::vector<int32_t> masked = {0, 1};
  SamplingParameters parameters;
  Sampler sampler(2, referenceMasses);
  SamplerRow row;
  row.logits = logits.data();
  row.parameters = &parameters;
  row.masked = &masked;
  EXPECT_EQ(sampler.sample(row).status.code(), "N02");
  masked = {1};
  EXPECT_EQ(sampler.sample(row).id, 0);
}

TEST(Sampler, AllowedTokensAreTheFirstStage) {
  std::vector<float> logits(200, 1);
  logits[50] = 9;
  logits[7] = 2;
  SamplingParameters greedy;
  greedy.temperature = 0;
  greedy.allowedTokens = {0, 7, 199};
  EXPECT_EQ(sampleRow(logits, greedy).id, 7);
  // The log-probability is that of the unmodified model.
  EXPECT_EQ(sampleRow(logits, greedy).logprob, 2.0f);
  // A bias does not bring a forbidden token back.
  greedy.logitBias = {{50, 1000.0f}, {199, 5.0f}};
  EXPECT_EQ(sampleRow(logits, greedy).id, 199);
  logits[0] = logits[7] = logits[199] = -inf;
  EXPECT_EQ(sampleRow(logits, greedy).status.code(), "N02");
  // A NaN is seen wherever it is.
  logits[100] = std::nanf("");
  EXPECT_EQ(sampleRow(logits, greedy).status.code(), "N01");
}

TEST(Sampler, N03_GreedyTakesTheLowestId) {
  SamplingParameters greedy;
  greedy.temperature = 0;
  std::vector<float> logits(200, -1);
  logits[70] = logits[71] = logits[150] = 3;
  EXPECT_EQ(sampleRow(logits, greedy).id, 70);
  EXPECT_EQ(sampleRow(std::vector<float>(200, 0), greedy).id, 0);
}

TEST(Sampler, N04_ExtremeLogits) {
  SamplingParameters parameters;
  EXPECT_EQ(sampleRow({1e30f, -1e30f, 3}).id, 0);
  EXPECT_EQ(sampleRow({-3e38f, 3e38f}).id, 1);
  EXPECT_EQ(sampleRow({-inf, -1e30f, -inf}).id, 1);
  EXPECT_EQ(sampleRow(std::vector<float>(7, 1e30f)).id, 0);
}

TEST(Sampler, BiasAndMinTokensMask) {
  SamplingParameters parameters;
  parameters.temperature = 0;
  parameters.logitBias = {{0, -100.0f}, {2, 50.0f}};
  std::vector<float> logits = {9, 8, 7};
  EXPECT_EQ(sampleRow(logits, parameters).id, 2);
  // The log-probability is that of the unmodified model.
  EXPECT_EQ(sampleRow(logits, parameters).logprob, 7.0f);
}

TEST(Sampler, Validate) {
  auto code = [](auto change) {
    SamplingParameters parameters;
    change(parameters);
    return parameters.validate(100).code();
  };
  double nan = std::nan("");
  EXPECT_EQ(code([](auto &) {}), "");
  for (double t : {-1.0, nan, 1e308, 1e-9})
    EXPECT_EQ(code([&](auto &p) { p.temperature = t; }), "usage") << t;
  for (double v : {0.0, 2.0, -1.0, nan})
    EXPECT_EQ(code([&](auto &p) { p.topP = v; }), "usage") << v;
  EXPECT_EQ(code([](auto &p) { p.minP = 1.5; }), "usage");
  EXPECT_EQ(code([](auto &p) { p.topK = -1; }), "usage");
  EXPECT_EQ(code([](auto &p) { p.repetitionPenalty = 0; }), "usage");
  EXPECT_EQ(code([&](auto &p) { p.presencePenalty = nan; }), "usage");
  EXPECT_EQ(code([](auto &p) { p.logitBias = {{100, 1.0f}}; }), "usage");
  EXPECT_EQ(code([](auto &p) { p.logitBias = {{99, 1.0f}}; }), "");
  EXPECT_EQ(code([](auto &p) { p.logitBias = {{9, 1.0f}, {9, 2.0f}}; }),
            "usage");
  for (std::vector<int32_t> ids :
       std::vector<std::vector<int32_t>>{{100}, {-1}, {5, 5}, {9, 3}})
    EXPECT_EQ(code([&](auto &p) { p.allowedTokens = ids; }), "usage");
  EXPECT_EQ(code([](auto &p) { p.allowedTokens = {0, 99}; }), "");
}

TEST(Sampler, ExactFractions) {
  EXPECT_EQ(scaleDown(0.5, 7), 3u);
  EXPECT_EQ(scaleUp(0.5, 7), 4u);
  EXPECT_EQ(scaleUp(0.5, 8), 4u);
  // 0.1 as f64 is slightly above a tenth.
  EXPECT_EQ(scaleDown(0.1, 10), 1u);
  EXPECT_EQ(scaleUp(0.1, 10), 2u);
  EXPECT_EQ(scaleDown(1e-300, uint64_t(1) << 60), 0u);
  EXPECT_EQ(scaleUp(1e-300, uint64_t(1) << 60), 1u);
  EXPECT_EQ(scaleUp(0, 5), 0u);
  EXPECT_EQ(scaleUp(1e-300, 0), 0u);
  EXPECT_EQ(scaleDown(1, 5), 5u);
}

TEST(Sampler, LikeliestInOrderWithTiesByLowerId) {
  std::vector<float> logits = {1, 3, 2, 3, -inf};
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  Sampler::likeliest(logits.data(), 5, 1.0f, 3, ids, logprobs);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 2}));
  EXPECT_EQ(logprobs, (std::vector<float>{2, 2, 1}));
  Sampler::likeliest(logits.data(), 5, 1.0f, 9, ids, logprobs);
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 3, 2, 0, 4}));
}

} // namespace
