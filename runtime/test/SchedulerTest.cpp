//===- SchedulerTest.cpp --------------------------------------------------===//
//
// Over the fake model of FakeModel.h: its logits depend on every token and
// position of the past as read from the pages.
//
//===----------------------------------------------------------------------===//

#include "SchedulerFixture.h"

#include <map>

using namespace chorus::rt;

namespace {

TEST(Scheduler, N06_SameBitsInEverySetting) {
  for (size_t promptLength : {1, 31, 32, 33, 100}) {
    Request request = makeRequest(promptLength, 8);
    Generation expected = Machine(Setting()).run(request);
    ASSERT_EQ(expected.candidates[7].tokenIds.size(), 50u);
    EXPECT_NE(expected.candidates[0].tokenIds, expected.candidates[1].tokenIds);
    for (int threads : {1, 2, 3})
      for (int64_t chunk : {1, 7, 64, 512})
        for (int64_t maxBatch : {1, 2, 7, 64}) {
          Setting setting;
          setting.threads = threads;
          setting.chunk = chunk;
          setting.maxBatch = maxBatch;
          SCOPED_TRACE("threads " + std::to_string(threads) + " chunk " +
                       std::to_string(chunk) + " batch " +
                       std::to_string(maxBatch));
          expectSame(Machine(setting).run(request), expected);
        }
  }
}

TEST(Scheduler, N07_CandidateAloneEqualsItAmongOthers) {
  Request request = makeRequest(45, 8);
  Generation all = Machine(Setting()).run(request);
  for (int64_t k = 0; k < 8; ++k) {
    Request alone = request;
    alone.firstCandidate = k;
    alone.candidates = 1;
    Generation one = Machine(Setting()).run(alone);
    ASSERT_EQ(one.candidates.size(), 1u);
    expectSame(one.candidates[0], all.candidates[static_cast<size_t>(k)]);
  }
  // And among more.
  request.candidates = 20;
  Generation more = Machine(Setting()).run(request);
  for (size_t k = 0; k < 8; ++k)
    expectSame(more.candidates[k], all.candidates[k]);
}

TEST(Scheduler, RecomputingGivesTheSame) {
  Request request = makeRequest(20, 3);
  request.maxTokens = 20;
  Setting recompute;
  recompute.recompute = true;
  expectSame(Machine(recompute).run(request), Machine(Setting()).run(request));
}

TEST(Scheduler, PromptIsComputedOnceAndPagesAreShared) {
  for (int64_t promptLength : {64, 70}) {
    Setting setting;
    setting.lateFork = false;
    Machine machine(setting);
    Request request = makeRequest(static_cast<size_t>(promptLength), 5);
    request.maxTokens = 40;
    machine.run(request);
    DecoderCounters counters = machine.decoder->counters();
    // P + n (G - 1) rows.
    EXPECT_EQ(counters.rowsComputed,
              static_cast<uint64_t>(promptLength + 5 * 39));
    // The last position is P + G - 2. The last candidate takes the prompt's
    // partial page over, the others copy it.
    int64_t own = pagesFor(promptLength + 39) - promptLength / 32;
    int64_t partial = promptLength % 32 != 0;
    EXPECT_EQ(
        counters.pagesAllocated,
        static_cast<uint64_t>(pagesFor(promptLength) + 5 * own - partial));
    // One prefill step, then one for each further token.
    EXPECT_EQ(counters.steps, 40u);
    machine.expectPagesBack();
  }
}

TEST(Scheduler, N13_ReusedPagesShowNothingOfFormerRequests) {
  Machine machine{Setting()};
  Request request = makeRequest(50, 3);
  Generation first = machine.run(request);
  Request other = makeRequest(90, 4);
  other.sampling.seed = 99;
  machine.run(other);
  expectSame(machine.run(request), first);
}

TEST(Scheduler, StopTokensEndACandidate) {
  Request request = makeRequest(10, 4);
  Generation free = Machine(Setting()).run(request);
  int32_t stopId = free.candidates[2].tokenIds[5];
  Setting setting;
  setting.stopIds = {stopId};
  Generation stopped = Machine(setting).run(request);
  for (size_t k = 0; k < 4; ++k) {
    const Candidate &candidate = stopped.candidates[k];
    const std::vector<int32_t> &all = free.candidates[k].tokenIds;
    auto at = std::find(all.begin(), all.end(), stopId);
    bool stops = at != all.end();
    EXPECT_EQ(candidate.finishReason,
              stops ? FinishReason::Stop : FinishReason::Length);
    // The stop token is among the ids.
    EXPECT_EQ(candidate.tokenIds,
              std::vector<int32_t>(all.begin(), stops ? at + 1 : at));
  }
  request.ignoreEos = true;
  expectSame(Machine(setting).run(request), free);
  request.ignoreEos = false;
  request.sampling.minTokens = 20;
  for (const Candidate &candidate : Machine(setting).run(request).candidates)
    EXPECT_GE(candidate.tokenIds.size(), 20u);
}

TEST(Scheduler, StopStringsEndTheVisibleText) {
  Request request = makeRequest(10, 2);
  request.sampling.temperature = 0;
  Generation free = Machine(Setting()).run(request);
  std::string text = free.candidates[0].text;
  // A piece without split characters, over a border of tokens.
  size_t at = 10;
  auto isPlain = [](char c) { return c >= 'a' && c <= 'z'; };
  while (!std::all_of(&text[at], &text[at] + 3, isPlain))
    ++at;
  std::string stop = text.substr(at, 3);
  request.stop = {"never there", stop};
  Generation stopped = Machine(Setting()).run(request);
  EXPECT_EQ(stopped.candidates[0].finishReason, FinishReason::StopString);
  EXPECT_EQ(stopped.candidates[0].text, text.substr(0, text.find(stop)));
  EXPECT_LT(stopped.candidates[0].tokenIds.size(), 50u);
}

TEST(Scheduler, StreamedTextAddsUp) {
  std::map<int64_t, std::string> texts;
  std::map<int64_t, std::vector<int32_t>> ids;
  Request request = makeRequest(10, 5);
  request.stop = {"ab", "qrs"};
  Setting setting;
  setting.maxBatch = 2;
  Generation generation =
      Machine(setting).run(request, {[&](const TokenEvent &event) {
                             texts[event.candidate] += event.textDelta;
                             ids[event.candidate].push_back(event.tokenId);
                             return Status();
                           }});
  for (const Candidate &candidate : generation.candidates) {
    EXPECT_EQ(texts[candidate.index], candidate.text);
    EXPECT_EQ(ids[candidate.index], candidate.tokenIds);
  }
}

TEST(Scheduler, N01_NaNEndsOneCandidateOnly) {
  Request request = makeRequest(33, 6);
  Generation expected = Machine(Setting()).run(request);
  Setting setting;
  setting.poisonToken = expected.candidates[3].tokenIds[10];
  Generation poisoned = Machine(setting).run(request);
  int errors = 0;
  for (size_t k = 0; k < 6; ++k) {
    const Candidate &candidate = poisoned.candidates[k];
    const std::vector<int32_t> &all = expected.candidates[k].tokenIds;
    auto at = std::find(all.begin(), all.end() - 1, setting.poisonToken);
    if (at == all.end() - 1) {
      expectSame(candidate, expected.candidates[k]);
      continue;
    }
    ++errors;
    EXPECT_EQ(candidate.finishReason, FinishReason::Error);
    EXPECT_EQ(candidate.error.code(), "N01");
    EXPECT_NE(candidate.error.place().find("position"), std::string::npos);
    EXPECT_EQ(candidate.tokenIds, std::vector<int32_t>(all.begin(), at + 1));
  }
  EXPECT_GE(errors, 1);
}

TEST(Scheduler, LengthIsMaxTokensOrTheContext) {
  Setting setting;
  setting.context = 40;
  Request request = makeRequest(30, 2);
  Generation generation = Machine(setting).run(request);
  EXPECT_EQ(generation.candidates[1].tokenIds.size(), 10u);
  EXPECT_EQ(generation.candidates[1].finishReason, FinishReason::Length);
  // A full context leaves no room.
  generation = Machine(setting).run(makeRequest(40, 2));
  EXPECT_EQ(generation.candidates[1].tokenIds.size(), 0u);
  EXPECT_EQ(generation.candidates[1].finishReason, FinishReason::Length);
}

TEST(Scheduler, BadRequestsAreUsageErrors) {
  Setting setting;
  setting.context = 40;
  Machine machine(setting);
  auto message = [&](auto change) {
    Request request = makeRequest(10, 1);
    change(request);
    StatusOr<int64_t> number = machine.scheduler->submit(request);
    EXPECT_EQ(number.status().code(), "usage");
    return number.status().message();
  };
  auto contains = [](const std::string &text, const char *part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(contains(message([](Request &r) { r.candidates = 0; }),
                       "n is 0, allowed is 1 to"));
  message([](Request &r) { r.candidates = 1000000000; });
  message([](Request &r) { r.maxTokens = 0; });
  message([](Request &r) { r.maxTokens = -1; });
  message([](Request &r) { r.firstCandidate = -1; });
  message([](Request &r) { r.prompt.clear(); });
  EXPECT_TRUE(contains(message([](Request &r) { r.prompt.resize(41); }),
                       "41 tokens, allowed are 40"));
  message([](Request &r) { r.prompt[3] = vocab; });
  message([](Request &r) { r.prompt[3] = -1; });
  message([](Request &r) { r.sampling.topP = 2; });
  message([](Request &r) { r.stop = {""}; });
  EXPECT_TRUE(machine.scheduler->idle());
}

TEST(Scheduler, HugeMaxTokensIsTheContext) {
  Setting setting;
  setting.context = 40;
  Request request = makeRequest(10, 1);
  request.maxTokens = INT64_MAX;
  EXPECT_EQ(Machine(setting).run(request).candidates[0].tokenIds.size(), 30u);
}

TEST(Scheduler, CancelKeepsWhatIsThere) {
  Setting setting;
  setting.maxBatch = 2;
  Machine machine(setting);
  StatusOr<int64_t> number = machine.scheduler->submit(makeRequest(10, 4));
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(machine.scheduler->step().ok());
  machine.scheduler->cancelAll();
  EXPECT_TRUE(machine.scheduler->idle());
  machine.expectPagesBack();
  Generation generation = machine.scheduler->take(*number);
  for (const Candidate &candidate : generation.candidates)
    EXPECT_EQ(candidate.finishReason, FinishReason::Cancelled);
  EXPECT_EQ(generation.candidates[0].tokenIds.size(), 5u);
  // Its first token came with the others'.
  EXPECT_EQ(generation.candidates[3].tokenIds.size(), 1u);
}

TEST(Scheduler, CallbackErrorEndsTheRun) {
  Machine machine{Setting()};
  RequestHooks hooks;
  hooks.onToken = [](const TokenEvent &) {
    return ioError("W12", "stdout", "closed");
  };
  ASSERT_TRUE(machine.scheduler->submit(makeRequest(10, 2), hooks).ok());
  EXPECT_EQ(machine.scheduler->step().code(), "W12");
}

} // namespace
