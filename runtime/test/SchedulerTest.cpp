//===- SchedulerTest.cpp --------------------------------------------------===//
//
// Over the fake model of FakeModel.h: its logits depend on every token and
// position of the past as read from the pages.
//
//===----------------------------------------------------------------------===//

#include "SchedulerFixture.h"

#include <map>
#include <numeric>

using namespace chorus::rt;

namespace {

/// Requests with common beginnings and of several sizes.
std::vector<Request> mixedRequests() {
  std::vector<Request> requests;
  for (size_t i = 0; i < 7; ++i) {
    // Prompts of 80 tokens in common, of none, of a page and a bit.
    Request request = makeRequest(i % 3 == 0 ? 80 + i : 1 + 17 * i,
                                  static_cast<int64_t>(1 + 5 * i % 9));
    if (i % 3 == 1)
      request.prompt[0] = static_cast<int32_t>(i);
    request.sampling.seed = i;
    request.sampling.temperature = i % 2 ? 0.03 : 0.8;
    request.maxTokens = static_cast<int64_t>(1 + 11 * (i % 4));
    requests.push_back(request);
  }
  requests.push_back(requests[3]);
  return requests;
}

TEST(Scheduler, N06_SameBitsInEverySetting) {
  std::vector<Request> requests = mixedRequests();
  std::vector<std::vector<Candidate>> expected;
  for (const Request &request : requests) {
    expected.emplace_back();
    for (int64_t k = 0; k < request.candidates; ++k)
      expected.back().push_back(byDefinition(request, k));
  }
  uint64_t order = 0;
  for (int64_t maxBatch : {1, 2, 3, 7, 16, 64, 256})
    for (int64_t chunk : {1, 7, 64, 512})
      for (int64_t prefixPages : {int64_t(0), INT64_MAX})
        for (bool lateFork : {true, false}) {
          Setting setting;
          setting.threads = 1 + static_cast<int>(order % 3);
          setting.chunk = chunk;
          setting.maxBatch = maxBatch;
          setting.prefixPages = prefixPages;
          setting.lateFork = lateFork;
          SCOPED_TRACE("batch " + std::to_string(maxBatch) + " chunk " +
                       std::to_string(chunk) + " prefix pages " +
                       std::to_string(prefixPages) + " late fork " +
                       std::to_string(lateFork));
          // Another order each time.
          std::vector<size_t> places(requests.size());
          std::iota(places.begin(), places.end(), 0);
          std::sort(places.begin(), places.end(), [&](size_t i, size_t j) {
            return mixBits(i + 1 + order) < mixBits(j + 1 + order);
          });
          ++order;
          std::vector<Request> ordered;
          for (size_t place : places)
            ordered.push_back(requests[place]);
          Machine machine(setting);
          std::vector<Generation> results = machine.runAll(ordered);
          for (size_t i = 0; i < places.size(); ++i)
            for (size_t k = 0; k < results[i].candidates.size(); ++k) {
              Candidate defined = expected[places[i]][k];
              defined.text = results[i].candidates[k].text;
              expectSame(results[i].candidates[k], defined);
            }
          machine.expectPagesBack();
        }
}

TEST(Scheduler, LateForkComputesInnerNodesOfTheTokenTree) {
  for (double temperature : {0.004, 0.02, 0.3, 2.0}) {
    Request request = makeRequest(45, 60);
    request.sampling.temperature = temperature;
    for (int64_t maxBatch : {4, 256}) {
      Setting setting;
      setting.maxBatch = maxBatch;
      Machine machine(setting);
      Generation generation = machine.run(request);
      expectDefined(generation, request);
      size_t inner = innerNodes(generation);
      EXPECT_EQ(machine.rowsComputed(), 45 + inner);
      EXPECT_GE(inner, 49u);
      if (temperature == 0.004)
        EXPECT_LT(inner, 49u * 60 / 2);
    }
  }
}

TEST(Scheduler, GreedyCandidatesAreOneRow) {
  Request request = makeRequest(45, 100);
  request.sampling.temperature = 0;
  Machine machine{Setting()};
  expectDefined(machine.run(request), request);
  EXPECT_EQ(machine.rowsComputed(), 45u + 49);
  EXPECT_EQ(machine.decoder->counters().peakPages, pagesFor(45 + 49));
}

TEST(Scheduler, CandidatesWithEqualStopsShareUntilTheyEnd) {
  Setting setting;
  Request request = makeRequest(20, 40);
  request.sampling.temperature = 0.02;
  setting.stopIds = {byDefinition(request, 0).tokenIds[7]};
  Machine machine(setting);
  Generation generation = machine.run(request);
  EXPECT_EQ(machine.rowsComputed(), 20 + innerNodes(generation));
  EXPECT_EQ(generation.candidates[0].finishReason, FinishReason::Stop);
}

TEST(Scheduler, ThousandCandidatesRunInTurns) {
  Request request = makeRequest(70, 1000);
  request.maxTokens = 6;
  for (bool lateFork : {true, false}) {
    Setting setting;
    setting.maxBatch = 64;
    setting.threads = 2;
    setting.lateFork = lateFork;
    Machine machine(setting);
    Generation generation = machine.run(request);
    EXPECT_EQ(machine.rowsComputed(),
              70 + (lateFork ? innerNodes(generation) : 5 * 1000));
    for (int64_t k : {0, 1, 500, 999}) {
      Candidate expected = byDefinition(request, k);
      expected.text = generation.candidates[static_cast<size_t>(k)].text;
      expectSame(generation.candidates[static_cast<size_t>(k)], expected);
    }
    // The prompt's pages, and a page for each that runs: 70 + 5 positions.
    if (!lateFork)
      EXPECT_EQ(machine.decoder->counters().peakPages, 3 + 64);
  }
}

TEST(Scheduler, StepsAreFull) {
  // Two requests of 5 candidates, of which 7 run at once: as soon as one has
  // ended the next one runs.
  Request first = makeRequest(20, 5), second = makeRequest(21, 5);
  changeToken(second.prompt[0]);
  first.maxTokens = second.maxTokens = 31;
  Setting setting;
  setting.maxBatch = 7;
  setting.lateFork = false;
  Machine machine(setting);
  machine.runAll({first, second});
  EXPECT_EQ(machine.rowsComputed(), 41u + 10 * 30);
  // Both prompts fit one chunk; 7 rows a step, then the last 3.
  EXPECT_EQ(machine.decoder->counters().steps, 1u + 30 + 30);
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

TEST(Scheduler, N01_SaysSinceWhichLayer) {
  Request request = makeRequest(33, 1);
  Setting setting;
  setting.poisonToken = Machine(setting).run(request).candidates[0].tokenIds[4];
  for (auto [layer, words] :
       {std::pair(std::optional<int64_t>(1),
                  "first in the keys and values of layer 1"),
        std::pair(std::optional<int64_t>(),
                  "behind the keys and values of layer 1, the last")}) {
    setting.poisonLayer = layer;
    Machine machine(setting);
    Candidate candidate = machine.run(request).candidates[0];
    ASSERT_EQ(candidate.error.code(), "N01");
    EXPECT_EQ(candidate.error.message(),
              std::string("the model gave NaN or infinity, ") + words);
    // It was looked for where the row was computed.
    int32_t position = 33 + static_cast<int32_t>(candidate.tokenIds.size()) - 1;
    EXPECT_EQ(machine.stepProgram.lastSlot,
              fakeSlot(setting.poisonToken, position));
  }
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
