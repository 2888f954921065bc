//===- SchedulerMemoryTest.cpp - Pages: back-pressure and prefixes --------===//

#include "SchedulerFixture.h"

#include <random>

using namespace chorus::rt;

namespace {

TEST(SchedulerMemory, N09_CandidatesWaitForPages) {
  Request request = makeRequest(40, 9);
  // Positions 0 to 88 of one candidate.
  ASSERT_EQ(Machine(Setting()).scheduler->pagesNeeded(request), 3);
  Setting tight;
  for (int64_t capacity : {3, 4, 5, 6, 11}) {
    SCOPED_TRACE(capacity);
    tight.capacity = capacity;
    Machine machine(tight);
    expectDefined(machine.run(request), request);
    EXPECT_LE(machine.decoder->counters().peakPages, capacity);
    machine.expectPagesBack();
  }
  tight.capacity = 2;
  Machine tooSmall(tight);
  StatusOr<int64_t> refused = tooSmall.scheduler->submit(request);
  EXPECT_EQ(refused.status().code(), "N09");
  EXPECT_EQ(refused.status().exitCode(), ExitCode::Limit);
  request.maxTokens = 20;
  expectDefined(tooSmall.run(request), request);
}

TEST(SchedulerMemory, N09_ManyRequestsInABarePool) {
  std::vector<Request> requests;
  for (size_t i = 0; i < 5; ++i) {
    Request request = makeRequest(30 + 9 * i, 20);
    request.sampling.seed = i;
    request.sampling.temperature = i % 2 ? 0.03 : 0.8;
    request.maxTokens = static_cast<int64_t>(60 - 9 * i);
    requests.push_back(request);
  }
  // Positions 0 to 88 again, for all of them.
  for (int64_t capacity : {3, 4, 8, 20, 60})
    for (bool lateFork : {true, false}) {
      SCOPED_TRACE(capacity);
      Setting setting;
      setting.capacity = capacity;
      setting.chunk = 16;
      setting.lateFork = lateFork;
      Machine machine(setting);
      std::vector<Generation> results = machine.runAll(requests);
      for (size_t i = 0; i < requests.size(); ++i)
        expectDefined(results[i], requests[i]);
      machine.expectPagesBack();
    }
}

TEST(SchedulerMemory, WaitingCandidatesLoseNothing) {
  // Room for the prompt and three ways to the end: nothing is computed twice.
  Request request = makeRequest(64, 12);
  request.maxTokens = 33;
  Setting setting;
  setting.capacity = 2 + 3;
  setting.lateFork = false;
  setting.prefixPages = 0;
  Machine machine(setting);
  expectDefined(machine.run(request), request);
  EXPECT_EQ(machine.rowsComputed(), 64u + 12 * 32);
  // Three at once.
  EXPECT_EQ(machine.decoder->counters().steps, 1u + 4 * 32);
}

TEST(SchedulerMemory, PrefixIsComputedOnceForLaterRequests) {
  Request first = makeRequest(100, 2);
  Setting setting;
  Machine machine(setting);
  machine.run(first);
  EXPECT_EQ(machine.scheduler->prefixPages(), 3);
  // The same prompt, and one that leaves it in its third page.
  for (size_t shared : {99, 70}) {
    Request second = makeRequest(100, 2);
    second.sampling.seed = 5;
    if (shared < 99)
      changeToken(second.prompt[shared]);
    uint64_t before = machine.rowsComputed();
    Generation generation = machine.run(second);
    expectDefined(generation, second);
    EXPECT_EQ(machine.rowsComputed() - before,
              100 - shared / 32 * 32 + innerNodes(generation));
  }
  machine.expectPagesBack();
  // A prompt that is known to its last page computes its last row.
  Request known = makeRequest(96, 1);
  uint64_t before = machine.rowsComputed();
  expectDefined(machine.run(known), known);
  EXPECT_EQ(machine.rowsComputed() - before, 32u + 49);

  setting.prefixPages = 0;
  Machine without(setting);
  without.run(first);
  before = without.rowsComputed();
  without.run(known);
  EXPECT_EQ(without.rowsComputed() - before, 96u + 49);
}

TEST(SchedulerMemory, PromptsAtOnceShareWhatTheyHaveInCommon) {
  // As a judge sees them: one question, many answers.
  for (int64_t chunk : {7, 64, 512}) {
    std::vector<Request> requests;
    for (size_t i = 0; i < 64; ++i) {
      Request request = makeRequest(200, 0);
      for (size_t p = 150; p < 200; ++p)
        request.prompt[p] = static_cast<int32_t>(mixBits(1000 * i + p) % vocab);
      request.scoredTokens = {3, 50};
      requests.push_back(request);
    }
    Setting setting;
    setting.chunk = chunk;
    setting.threads = 2;
    Machine machine(setting);
    std::vector<Generation> results = machine.runAll(requests);
    // 4 whole pages of the question once.
    EXPECT_EQ(machine.rowsComputed(), 128u + 64 * (200 - 128));
    for (size_t i = 0; i < requests.size(); ++i) {
      float logSumExp;
      std::vector<float> logits = logitsAfter(requests[i].prompt, logSumExp);
      EXPECT_EQ(
          results[i].scores,
          (std::vector<float>{logits[3] - logSumExp, logits[50] - logSumExp}));
    }
    machine.expectPagesBack();
  }
}

TEST(SchedulerMemory, DroppedBranchesBeginWithThePrefixCache) {
  // Positions 0 to 191 fill the pool. The prompt ends within a page, of which
  // the first candidate would need a copy: the others' pages go.
  Request request = makeRequest(100, 3);
  request.maxTokens = 93;
  for (bool prefixes : {true, false}) {
    Setting setting;
    setting.capacity = 6;
    setting.lateFork = false;
    setting.prefixPages = prefixes ? INT64_MAX : 0;
    Machine machine(setting);
    expectDefined(machine.run(request), request);
    // A quarter of the pool is one page.
    EXPECT_EQ(machine.rowsComputed(), 3u * 192 - (prefixes ? 2 * 32 : 0));
    EXPECT_EQ(machine.decoder->counters().peakPages, 6);
  }
}

TEST(SchedulerMemory, PrefixesGiveWayToCandidates) {
  Setting setting;
  setting.capacity = 12;
  Machine machine(setting);
  Request first = makeRequest(100, 1);
  first.maxTokens = 2;
  machine.run(first);
  EXPECT_EQ(machine.scheduler->prefixPages(), 3);
  // A candidate that needs all.
  Request large = makeRequest(300, 1);
  changeToken(large.prompt[0]);
  large.maxTokens = 12 * 32 - 300 + 1;
  expectDefined(machine.run(large), large);
  EXPECT_EQ(machine.decoder->counters().peakPages, 12);
  machine.expectPagesBack();
}

TEST(SchedulerMemory, N13_DroppedAndSharedPagesShowNothingOfOthers) {
  // Random requests, hits, drops and cancellations in small pools: each result
  // is what it is by definition.
  std::mt19937 random(5);
  auto upTo = [&](size_t n) { return random() % n; };
  for (int round = 0; round < 60; ++round) {
    Setting setting;
    setting.capacity = static_cast<int64_t>(6 + upTo(30));
    setting.chunk = static_cast<int64_t>(1 + upTo(90));
    setting.maxBatch = static_cast<int64_t>(1 + upTo(20));
    setting.lateFork = upTo(4) != 0;
    setting.prefixPages = upTo(3) ? INT64_MAX : 0;
    SCOPED_TRACE("round " + std::to_string(round));
    Machine machine(setting);
    std::map<int64_t, Request> running;
    auto takeFinished = [&] {
      while (std::optional<int64_t> number =
                 machine.scheduler->nextFinished()) {
        Request request = running.at(*number);
        for (const Candidate &candidate :
             machine.scheduler->take(*number).candidates) {
          bool cancelled = candidate.finishReason == FinishReason::Cancelled;
          if (cancelled)
            request.maxTokens = static_cast<int64_t>(candidate.tokenIds.size());
          Candidate expected = byDefinition(request, candidate.index);
          expected.text = candidate.text;
          if (cancelled)
            expected.finishReason = FinishReason::Cancelled;
          expectSame(candidate, expected);
          request.maxTokens = running.at(*number).maxTokens;
        }
        running.erase(*number);
      }
    };
    for (int i = 0; i < 12; ++i) {
      Request request = makeRequest(1 + upTo(120), 0);
      request.candidates = static_cast<int64_t>(1 + upTo(12));
      if (upTo(2))
        changeToken(request.prompt[upTo(request.prompt.size())]);
      request.sampling.seed = upTo(3);
      request.sampling.temperature = upTo(2) ? 0.03 : 0.7;
      request.maxTokens = static_cast<int64_t>(
          1 + upTo(static_cast<size_t>(setting.capacity) * 32 + 1 -
                   request.prompt.size()) %
                  70);
      if (machine.scheduler->pagesNeeded(request) > setting.capacity)
        continue;
      int64_t number = *machine.scheduler->submit(request);
      running[number] = request;
      for (size_t steps = upTo(30); steps > 0; --steps)
        ASSERT_TRUE(machine.scheduler->step().ok());
      if (upTo(4) == 0)
        machine.scheduler->cancel(running.begin()->first);
      if (upTo(3) == 0)
        machine.scheduler->cancel(number, static_cast<int64_t>(upTo(12)));
      takeFinished();
    }
    machine.finish();
    takeFinished();
    EXPECT_TRUE(running.empty());
    machine.expectPagesBack();
  }
}

} // namespace
