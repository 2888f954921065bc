//===- SchedulerFixture.h - A scheduler over the fake model -----*- C++ -*-===//
//
// Besides the scheduler and all below it, the definition of its results: one
// candidate, token by token, over the fake model's function of a whole text.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEST_SCHEDULERFIXTURE_H
#define CHORUS_RT_TEST_SCHEDULERFIXTURE_H

#include "FakeModel.h"

#include "chorus_rt/Philox.h"
#include "chorus_rt/Scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>

namespace chorus::rt {

inline constexpr int64_t vocab = 101;

struct Setting {
  int threads = 1;
  int64_t chunk = 512;
  int64_t maxBatch = 256;
  int64_t capacity = 4096;
  int64_t context = 400;
  bool recompute = false;
  std::vector<int32_t> stopIds = {};
  int32_t poisonToken = -1;
  std::optional<int64_t> poisonLayer = std::nullopt;
  bool lateFork = true;
  int64_t prefixPages = INT64_MAX;
  std::optional<ValueHeadInfo> valueHead = std::nullopt;
};

/// A scheduler and all below it.
class Machine {
public:
  explicit Machine(const Setting &setting)
      : stepProgram(vocab), sequenceProgram(vocab), threads(setting.threads),
        pool(std::move(
            *KVPool::create(stepProgram.pageBytes(), setting.capacity))),
        sampler(vocab, fakeMasses) {
    stepProgram.poisonToken = setting.poisonToken;
    stepProgram.poisonLayer = setting.poisonLayer;
    if (setting.recompute)
      decoder = std::make_unique<RecomputingDecoder>(sequenceProgram, threads);
    else
      decoder = std::make_unique<PagedDecoder>(stepProgram, *pool, threads);
    SchedulerOptions options;
    options.maxBatch = setting.maxBatch;
    options.prefillChunk = setting.chunk;
    options.contextLength = setting.context;
    options.stopIds = setting.stopIds;
    options.lateFork = setting.lateFork;
    options.prefixPages = setting.prefixPages;
    options.valueHead = setting.valueHead;
    for (int32_t id = 0; id < vocab; ++id)
      texts.push_back(id % 10 == 9 ? "\xC3"
                                   : std::string(1, char('a' + id % 26)));
    scheduler = std::make_unique<Scheduler>(
        *decoder, sampler, threads,
        [this](int32_t id) -> std::string_view {
          return texts[static_cast<size_t>(id)];
        },
        options);
  }

  Generation run(const Request &request, RequestHooks hooks = {}) {
    StatusOr<int64_t> number = scheduler->submit(request, std::move(hooks));
    EXPECT_TRUE(number.ok()) << number.status().line("");
    if (!number.ok())
      return Generation();
    finish();
    return scheduler->take(*number);
  }

  /// All requests at once.
  std::vector<Generation> runAll(const std::vector<Request> &requests) {
    std::vector<int64_t> numbers;
    for (const Request &request : requests)
      numbers.push_back(*scheduler->submit(request));
    finish();
    std::vector<Generation> generations;
    for (int64_t number : numbers)
      generations.push_back(scheduler->take(number));
    return generations;
  }

  uint64_t rowsComputed() const { return decoder->counters().rowsComputed; }

  /// No page is held but by the prefix cache.
  void expectPagesBack() const {
    EXPECT_EQ(pool->pagesInUse(), scheduler->prefixPages());
  }

  void finish() {
    while (!scheduler->idle()) {
      Status status = scheduler->step();
      ASSERT_TRUE(status.ok()) << status.line("");
    }
  }

  FakeStepProgram stepProgram;
  FakeSequenceProgram sequenceProgram;
  ThreadPool threads;
  std::unique_ptr<KVPool> pool;
  Sampler sampler;
  std::vector<std::string> texts;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Scheduler> scheduler;
};

inline Request makeRequest(size_t promptLength, int64_t candidates) {
  Request request;
  for (size_t i = 0; i < promptLength; ++i)
    request.prompt.push_back(
        static_cast<int32_t>(mixBits(i + 77) % static_cast<uint64_t>(vocab)));
  request.candidates = candidates;
  request.maxTokens = 50;
  request.sampling.seed = 7;
  request.sampling.temperature = 0.8;
  request.sampling.topP = 0.95;
  return request;
}

/// Makes another token of it.
inline void changeToken(int32_t &token) {
  token = (token + 1) % static_cast<int32_t>(vocab);
}

inline void expectSame(const Candidate &a, const Candidate &b) {
  EXPECT_EQ(a.index, b.index);
  EXPECT_EQ(a.tokenIds, b.tokenIds) << "candidate " << a.index;
  // As bits.
  EXPECT_TRUE(std::equal(
      a.logprobs.begin(), a.logprobs.end(), b.logprobs.begin(),
      b.logprobs.end(),
      [](float x, float y) { return std::memcmp(&x, &y, sizeof x) == 0; }))
      << "candidate " << a.index;
  EXPECT_EQ(a.forced, b.forced);
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.finishReason, b.finishReason);
}

inline void expectSame(const Generation &a, const Generation &b) {
  ASSERT_EQ(a.candidates.size(), b.candidates.size());
  for (size_t i = 0; i < a.candidates.size(); ++i)
    expectSame(a.candidates[i], b.candidates[i]);
}

/// What the fake model makes of a text.
inline uint64_t historyOf(const std::vector<int32_t> &tokens) {
  uint64_t history = 0;
  for (size_t p = 0; p < tokens.size(); ++p) {
    uint64_t slot = fakeSlot(tokens[p], static_cast<int32_t>(p));
    history = mixBits(history ^ slot) + slot;
  }
  return history;
}

/// A text's logits, from the fake model's definition.
inline std::vector<float> logitsAfter(const std::vector<int32_t> &tokens,
                                      float &logSumExp) {
  std::vector<float> logits(static_cast<size_t>(vocab));
  fakeLogits(historyOf(tokens), vocab, logits.data(), &logSumExp);
  return logits;
}

/// Ids, log-probabilities and forced indices of one candidate, token by token.
/// No stop token, no stop string, no penalty.
inline Candidate byDefinition(const Request &request, int64_t index,
                              const ForceCallback &forceTokens = nullptr) {
  Sampler sampler(vocab, fakeMasses);
  Candidate result;
  result.index = index;
  std::vector<int32_t> tokens = request.prompt, forced;
  for (int64_t i = 0; i < request.maxTokens; ++i) {
    float logSumExp;
    std::vector<float> logits = logitsAfter(tokens, logSumExp);
    TokenEvent event;
    event.candidate = index;
    event.forced = !forced.empty();
    if (event.forced) {
      event.tokenId = forced.front();
      forced.erase(forced.begin());
      result.forced.push_back(static_cast<int32_t>(i));
    } else {
      SamplerRow row;
      row.logits = logits.data();
      row.logSumExp = logSumExp;
      row.parameters = &request.sampling;
      row.random24 =
          uniform24(request.sampling.seed, static_cast<uint32_t>(index),
                    static_cast<uint32_t>(i));
      event.tokenId = sampler.sample(row).id;
    }
    event.logprob = logits[static_cast<size_t>(event.tokenId)] - logSumExp;
    tokens.push_back(event.tokenId);
    result.tokenIds.push_back(event.tokenId);
    result.logprobs.push_back(event.logprob);
    std::vector<int32_t> next;
    if (forceTokens)
      EXPECT_TRUE(forceTokens(event, next).ok());
    forced.insert(forced.end(), next.begin(), next.end());
  }
  return result;
}

/// The same ids, forced ones and bits of log-probabilities as by definition.
inline void expectDefined(const Generation &generation, const Request &request,
                          const ForceCallback &forceTokens = nullptr) {
  ASSERT_EQ(generation.candidates.size(),
            static_cast<size_t>(request.candidates));
  for (const Candidate &candidate : generation.candidates) {
    Candidate expected = byDefinition(request, candidate.index, forceTokens);
    expected.text = candidate.text;
    expectSame(candidate, expected);
  }
}

/// Inner nodes of the tree that the candidates' tokens make, the root left out:
/// their distinct beginnings that a token follows.
inline size_t innerNodes(const Generation &generation) {
  std::set<std::vector<int32_t>> beginnings;
  for (const Candidate &candidate : generation.candidates)
    for (size_t length = 1; length < candidate.tokenIds.size(); ++length)
      beginnings.emplace(candidate.tokenIds.begin(),
                         candidate.tokenIds.begin() +
                             static_cast<std::ptrdiff_t>(length));
  return beginnings.size();
}

} // namespace chorus::rt

#endif // CHORUS_RT_TEST_SCHEDULERFIXTURE_H
