//===- SchedulerHooksTest.cpp - Forced tokens, masks, scores, cancelling --===//

#include "SchedulerFixture.h"

#include <set>

using namespace chorus::rt;

namespace {

/// Forces tokens after some of a candidate's own, several in a row, also after
/// forced ones; the same for equal tokens.
Status forceSome(const TokenEvent &event, std::vector<int32_t> &next) {
  if (event.tokenId % 7 == 0)
    next = {event.tokenId + 1, 3, 50};
  if (event.forced && event.tokenId == 50)
    next = {8};
  return Status();
}

TEST(SchedulerHooks, ForcedTokensInTheMiddleOfABatch) {
  Request request = makeRequest(40, 12);
  request.sampling.temperature = 0.04;
  for (int64_t maxBatch : {1, 3, 256})
    for (int64_t capacity : {3, 7, 4096})
      for (bool lateFork : {true, false}) {
        SCOPED_TRACE(maxBatch);
        Setting setting;
        setting.maxBatch = maxBatch;
        setting.capacity = capacity;
        setting.lateFork = lateFork;
        Machine machine(setting);
        Generation generation = machine.run(request, {nullptr, forceSome});
        expectDefined(generation, request, forceSome);
        if (lateFork && capacity == 4096)
          EXPECT_EQ(machine.rowsComputed(), 40 + innerNodes(generation));
        machine.expectPagesBack();
      }
  EXPECT_FALSE(byDefinition(request, 0, forceSome).forced.empty());
}

TEST(SchedulerHooks, ForcedTokensWithoutACache) {
  Request request = makeRequest(20, 3);
  request.maxTokens = 20;
  Setting setting;
  setting.recompute = true;
  expectDefined(Machine(setting).run(request, {nullptr, forceSome}), request,
                forceSome);
}

TEST(SchedulerHooks, ForcedTokensOfOneCandidateLeaveOthersAlone) {
  Request request = makeRequest(40, 8);
  request.sampling.temperature = 0.03;
  ForceCallback force = [](const TokenEvent &event,
                           std::vector<int32_t> &next) {
    if (event.candidate == 5 && !event.forced)
      next = {event.tokenId, 7};
    return Status();
  };
  expectDefined(Machine(Setting()).run(request, {nullptr, force}), request,
                force);
}

TEST(SchedulerHooks, ForcedTokensGoThroughStopsAndLimits) {
  // The first own token is followed by the bytes "abcdef".
  Request request = makeRequest(10, 3);
  ForceCallback force = [](const TokenEvent &event,
                           std::vector<int32_t> &next) {
    if (!event.forced)
      next = {0, 1, 2, 3, 4, 5};
    return Status();
  };
  request.stop = {"cd"};
  for (const Candidate &candidate :
       Machine(Setting()).run(request, {nullptr, force}).candidates) {
    EXPECT_EQ(candidate.finishReason, FinishReason::StopString);
    EXPECT_EQ(candidate.tokenIds.size(), 5u);
    EXPECT_EQ(candidate.forced, (std::vector<int32_t>{1, 2, 3, 4}));
    EXPECT_EQ(candidate.text.substr(candidate.text.size() - 2), "ab");
    // The mean is that of the drawn token.
    EXPECT_EQ(candidate.meanLogprob(), double(candidate.logprobs[0]));
  }
  request.stop.clear();
  Setting setting;
  setting.stopIds = {4};
  for (const Candidate &candidate :
       Machine(setting).run(request, {nullptr, force}).candidates) {
    EXPECT_EQ(candidate.finishReason, FinishReason::Stop);
    EXPECT_EQ(candidate.tokenIds.size(), 6u);
  }
  // max-tokens falls among them, also where it fills the last page.
  for (int64_t maxTokens : {1, 2, 3, 7, 8, 23, 24}) {
    request.maxTokens = maxTokens;
    setting = Setting();
    setting.capacity = 1;
    Generation generation = Machine(setting).run(request, {nullptr, force});
    expectDefined(generation, request, force);
    EXPECT_EQ(generation.candidates[0].finishReason, FinishReason::Length);
    if (maxTokens == 23)
      break; // Positions 0 to 31.
  }
}

TEST(SchedulerHooks, ForcedTokensOutsideTheVocabularyAreRefused) {
  Machine machine{Setting()};
  ForceCallback force = [](const TokenEvent &, std::vector<int32_t> &next) {
    next = {vocab};
    return Status();
  };
  ASSERT_TRUE(
      machine.scheduler->submit(makeRequest(10, 2), {nullptr, force}).ok());
  Status status = machine.scheduler->step();
  EXPECT_EQ(status.code(), "usage");
  machine.scheduler->cancelAll();
  machine.expectPagesBack();
}

TEST(SchedulerHooks, EventsComeInOrder) {
  Setting setting;
  setting.maxBatch = 3;
  Machine machine(setting);
  Request request = makeRequest(10, 8);
  request.sampling.temperature = 0.04;
  std::vector<std::vector<int32_t>> ids(8);
  std::vector<int64_t> firsts;
  RequestHooks hooks;
  hooks.onToken = [&](const TokenEvent &event) {
    std::vector<int32_t> &own = ids[static_cast<size_t>(event.candidate)];
    if (own.empty())
      firsts.push_back(event.candidate);
    own.push_back(event.tokenId);
    return Status();
  };
  hooks.forceTokens = forceSome;
  Generation generation = machine.run(request, hooks);
  for (size_t k = 0; k < 8; ++k)
    EXPECT_EQ(ids[k], generation.candidates[k].tokenIds);
  EXPECT_EQ(firsts, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(SchedulerHooks, AllowedTokens) {
  Request request = makeRequest(20, 6);
  request.sampling.allowedTokens = {2, 40, 41, 100};
  Generation generation = Machine(Setting()).run(request);
  expectDefined(generation, request);
  std::set<int32_t> seen;
  for (const Candidate &candidate : generation.candidates)
    seen.insert(candidate.tokenIds.begin(), candidate.tokenIds.end());
  EXPECT_EQ(seen, (std::set<int32_t>{2, 40, 41, 100}));
}

TEST(SchedulerHooks, N02_EverythingMaskedIsAnErrorOfTheCandidate) {
  Setting setting;
  setting.stopIds = {2};
  Machine machine(setting);
  // Only the stop token is allowed, and it is not before 3 tokens.
  Request request = makeRequest(20, 2), other = makeRequest(21, 2);
  request.sampling.allowedTokens = {2};
  request.sampling.minTokens = 3;
  std::vector<Generation> results = machine.runAll({request, other});
  for (const Candidate &candidate : results[0].candidates) {
    EXPECT_EQ(candidate.finishReason, FinishReason::Error);
    EXPECT_EQ(candidate.error.code(), "N02");
    EXPECT_EQ(candidate.error.exitCode(), ExitCode::SomeRecordsFailed);
  }
  EXPECT_TRUE(results[1].candidates[1].error.ok());
  request.sampling.minTokens = 0;
  Generation accepted = machine.run(request);
  EXPECT_EQ(accepted.candidates[1].tokenIds, std::vector<int32_t>{2});
  EXPECT_EQ(accepted.candidates[1].finishReason, FinishReason::Stop);
}

TEST(SchedulerHooks, CancellingGivesPagesBackAtOnce) {
  Setting setting;
  setting.prefixPages = 0;
  setting.lateFork = false;
  Machine machine(setting);
  Request request = makeRequest(40, 4), other = makeRequest(50, 2);
  changeToken(other.prompt[0]);
  int64_t first = *machine.scheduler->submit(request);
  int64_t second = *machine.scheduler->submit(other);
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(machine.scheduler->step().ok());
  // Prompts' whole pages once, and own ones.
  EXPECT_EQ(machine.pool->pagesInUse(), 1 + 4 + 1 + 2);
  machine.scheduler->cancel(first, 2);
  EXPECT_EQ(machine.pool->pagesInUse(), 1 + 3 + 1 + 2);
  machine.scheduler->cancel(second);
  EXPECT_EQ(machine.pool->pagesInUse(), 1 + 3);
  EXPECT_TRUE(machine.scheduler->isFinished(second));
  EXPECT_FALSE(machine.scheduler->isFinished(first));
  EXPECT_EQ(machine.scheduler->nextFinished(), second);
  EXPECT_EQ(machine.scheduler->nextFinished(), std::nullopt);
  // Ones that are not there.
  machine.scheduler->cancel(99);
  machine.scheduler->cancel(99, 1);
  machine.scheduler->cancel(first, 4);
  machine.scheduler->cancel(first, -1);
  machine.scheduler->cancel(first, 2);
  machine.finish();
  Generation generation = machine.scheduler->take(first);
  Candidate expected = byDefinition(request, 2);
  EXPECT_EQ(generation.candidates[2].finishReason, FinishReason::Cancelled);
  EXPECT_EQ(generation.candidates[2].tokenIds,
            std::vector<int32_t>(expected.tokenIds.begin(),
                                 expected.tokenIds.begin() + 5));
  for (int64_t k : {0, 1, 3}) {
    expected = byDefinition(request, k);
    expected.text = generation.candidates[static_cast<size_t>(k)].text;
    expectSame(generation.candidates[static_cast<size_t>(k)], expected);
  }
  generation = machine.scheduler->take(second);
  EXPECT_EQ(generation.candidates[1].finishReason, FinishReason::Cancelled);
  EXPECT_EQ(generation.candidates[1].tokenIds.size(), 5u);
  machine.expectPagesBack();
}

TEST(SchedulerHooks, HooksMaySubmitAndCancel) {
  Machine machine{Setting()};
  Request request = makeRequest(40, 6), next = makeRequest(33, 3);
  int64_t first = -1, second = -1;
  RequestHooks hooks;
  hooks.onToken = [&](const TokenEvent &event) {
    if (event.candidate == 1 && second < 0)
      second = *machine.scheduler->submit(next);
    // Itself, one whose token of this step is still to come, and one that has
    // it.
    if (event.candidate == 3 && event.tokenId % 5 == 0)
      for (int64_t k : {3, 4, 0})
        machine.scheduler->cancel(first, k);
    return Status();
  };
  first = *machine.scheduler->submit(request, hooks);
  machine.finish();
  Generation generation = machine.scheduler->take(first);
  size_t length = generation.candidates[3].tokenIds.size();
  ASSERT_LT(length, 50u);
  EXPECT_EQ(generation.candidates[0].tokenIds.size(), length);
  EXPECT_EQ(generation.candidates[4].tokenIds.size(), length - 1);
  for (size_t k : {0, 3, 4})
    EXPECT_EQ(generation.candidates[k].finishReason, FinishReason::Cancelled);
  EXPECT_EQ(generation.candidates[5].tokenIds,
            byDefinition(request, 5).tokenIds);
  expectDefined(machine.scheduler->take(second), next);
  machine.expectPagesBack();
}

TEST(SchedulerHooks, ScoresOfTokensAfterThePrompt) {
  Request request = makeRequest(77, 0);
  request.scoredTokens = {5, 5, 0, 100};
  float logSumExp;
  std::vector<float> logits = logitsAfter(request.prompt, logSumExp);
  std::vector<float> expected;
  for (int32_t id : request.scoredTokens)
    expected.push_back(logits[static_cast<size_t>(id)] - logSumExp);
  for (int64_t chunk : {1, 7, 512}) {
    Setting setting;
    setting.chunk = chunk;
    setting.context = 77; // No room for a token, and none is needed.
    Machine machine(setting);
    Generation generation = machine.run(request);
    EXPECT_EQ(generation.scores, expected);
    EXPECT_TRUE(generation.candidates.empty());
    EXPECT_EQ(machine.rowsComputed(), 77u);
    machine.expectPagesBack();
    // Candidates of a full context end without a token.
    Request full = request;
    full.candidates = 2;
    generation = machine.run(full);
    EXPECT_EQ(generation.scores, expected);
    EXPECT_EQ(generation.candidates[1].finishReason, FinishReason::Length);
  }
  // Together with candidates.
  request.candidates = 3;
  Generation generation = Machine(Setting()).run(request);
  EXPECT_EQ(generation.scores, expected);
  request.scoredTokens.clear();
  expectDefined(generation, request);
}

TEST(SchedulerHooks, N01_ScoresOfNaN) {
  Request request = makeRequest(10, 0);
  request.scoredTokens = {0, 1};
  Setting setting;
  setting.poisonToken = request.prompt[9];
  Machine machine(setting);
  Generation generation = machine.run(request);
  EXPECT_EQ(generation.scoreError.code(), "N01");
  EXPECT_EQ(generation.scoreError.exitCode(), ExitCode::SomeRecordsFailed);
  EXPECT_TRUE(generation.scores.empty());
  changeToken(request.prompt[9]);
  EXPECT_EQ(machine.run(request).scores.size(), 2u);
}

TEST(SchedulerHooks, CancelledScores) {
  Setting setting;
  setting.chunk = 4;
  Machine machine(setting);
  Request request = makeRequest(50, 0);
  request.scoredTokens = {1};
  int64_t number = *machine.scheduler->submit(request);
  ASSERT_TRUE(machine.scheduler->step().ok());
  EXPECT_EQ(machine.scheduler->progress(number).promptComputed, 4);
  machine.scheduler->cancel(number);
  EXPECT_TRUE(machine.scheduler->idle());
  Generation generation = machine.scheduler->take(number);
  EXPECT_TRUE(generation.scores.empty());
  EXPECT_TRUE(generation.scoreError.ok());
  machine.expectPagesBack();
}

TEST(SchedulerHooks, BadScoredTokensAreUsageErrors) {
  Machine machine{Setting()};
  for (int32_t id : {-1, 101}) {
    Request request = makeRequest(10, 0);
    request.scoredTokens = {1, id};
    EXPECT_EQ(machine.scheduler->submit(request).status().code(), "usage");
  }
  Request nothing = makeRequest(10, 0);
  EXPECT_EQ(machine.scheduler->submit(nothing).status().code(), "usage");
}

} // namespace
