//===- SchedulerValuesTest.cpp - Values of a value head -------------------===//

#include "SchedulerFixture.h"

using namespace chorus::rt;

namespace {

const ValueHeadInfo linearHead{std::nullopt, 1, 0.25f};
const ValueHeadInfo logitHead{17, -3, 0.5f};

/// The value after each token of a candidate, by the definition.
std::vector<float> expectedValues(const Request &request,
                                  const Candidate &candidate,
                                  const ValueHeadInfo &head) {
  std::vector<int32_t> text = request.prompt;
  std::vector<float> values;
  for (int32_t token : candidate.tokenIds) {
    text.push_back(token);
    float logSumExp;
    float x = head.token ? logitsAfter(text, logSumExp)[17]
                         : fakeValue(historyOf(text));
    values.push_back(head.gain * x + head.bias);
  }
  return values;
}

void expectValues(const Generation &generation, const Request &request,
                  const ValueHeadInfo &head) {
  for (const Candidate &candidate : generation.candidates)
    EXPECT_EQ(candidate.values, expectedValues(request, candidate, head))
        << "candidate " << candidate.index;
}

/// However steps are filled, with and without a cache.
std::vector<Setting> settings(const ValueHeadInfo &head) {
  std::vector<Setting> all(6);
  all[1].maxBatch = 3;
  all[2].threads = 3;
  all[2].chunk = 7;
  all[3].lateFork = false;
  all[4].capacity = 12; // Waiting branches give their pages away.
  all[4].prefixPages = 0;
  all[5].recompute = true;
  for (Setting &setting : all)
    setting.valueHead = head;
  return all;
}

TEST(SchedulerValues, OneForEachToken) {
  Request request = makeRequest(70, 9);
  request.values = true;
  for (const ValueHeadInfo &head : {linearHead, logitHead})
    for (const Setting &setting : settings(head)) {
      Machine machine(setting);
      Generation generation = machine.run(request);
      expectDefined(generation, request);
      expectValues(generation, request, head);
      machine.expectPagesBack();
    }
}

TEST(SchedulerValues, OneMoreRowForEachDistinctCandidate) {
  Setting setting;
  setting.valueHead = linearHead;
  Request request = makeRequest(70, 9);
  Machine without(setting);
  Generation generation = without.run(request);
  EXPECT_TRUE(generation.candidates[0].values.empty());
  std::set<std::vector<int32_t>> distinct;
  for (const Candidate &candidate : generation.candidates)
    distinct.insert(candidate.tokenIds);
  request.values = true;
  Machine with(setting);
  with.run(request);
  EXPECT_EQ(with.rowsComputed(), without.rowsComputed() + distinct.size());
}

TEST(SchedulerValues, AfterStopsAndForcedTokens) {
  for (const Setting &base : settings(linearHead)) {
    Setting setting = base;
    setting.stopIds = {3, 50, 90};
    Request request = makeRequest(40, 12);
    request.values = true;
    request.stop = {"cd", "x"};
    RequestHooks hooks;
    // One of them ends in the middle of what is forced.
    hooks.forceTokens = [](const TokenEvent &event,
                           std::vector<int32_t> &next) {
      if (!event.forced && event.candidate % 3 == 0)
        next = {11, 12, event.candidate == 6 ? 50 : 13, 14};
      return Status();
    };
    Machine machine(setting);
    Generation generation = machine.run(request, hooks);
    std::set<FinishReason> reasons;
    for (const Candidate &candidate : generation.candidates)
      reasons.insert(candidate.finishReason);
    EXPECT_TRUE(reasons.count(FinishReason::Stop));
    EXPECT_TRUE(reasons.count(FinishReason::StopString));
    EXPECT_EQ(generation.candidates[6].tokenIds.back(), 50);
    EXPECT_EQ(generation.candidates[6].tokenIds.size(), 4u);
    expectValues(generation, request, linearHead);
    machine.expectPagesBack();
  }
}

TEST(SchedulerValues, ToTheEndOfTheContext) {
  Setting setting;
  setting.valueHead = linearHead;
  setting.context = 64;
  setting.capacity = 2;
  setting.prefixPages = 0;
  Request request = makeRequest(40, 3);
  request.values = true;
  Machine machine(setting);
  Generation generation = machine.run(request);
  for (const Candidate &candidate : generation.candidates)
    EXPECT_EQ(candidate.tokenIds.size(), 24u);
  expectValues(generation, request, linearHead);
  // Its last token takes a page of its own.
  request = makeRequest(64, 1);
  request.values = true;
  request.maxTokens = 1;
  setting.context = 65;
  EXPECT_EQ(Machine(setting).scheduler->submit(request).status().code(), "N09");
  request.values = false;
  EXPECT_TRUE(Machine(setting).scheduler->submit(request).ok());
}

TEST(SchedulerValues, TheLastEventComesWithTheLastToken) {
  Setting setting;
  setting.valueHead = linearHead;
  Machine machine(setting);
  Request request = makeRequest(10, 1);
  request.values = true;
  int events = 0, last = 0;
  RequestHooks hooks;
  hooks.onToken = [&](const TokenEvent &event) {
    ++events;
    last += event.last;
    EXPECT_EQ(event.last, events == 50);
    return Status();
  };
  machine.run(request, hooks);
  EXPECT_EQ(events, 50);
  EXPECT_EQ(last, 1);
}

TEST(SchedulerValues, CancelledWhileTheLastValueIsAwaited) {
  Setting setting;
  setting.valueHead = linearHead;
  Machine machine(setting);
  Request request = makeRequest(10, 2);
  request.values = true;
  request.maxTokens = 1;
  int64_t number = *machine.scheduler->submit(request);
  ASSERT_TRUE(machine.scheduler->step().ok());
  EXPECT_EQ(machine.scheduler->progress(number).tokens, 2);
  EXPECT_FALSE(machine.scheduler->isFinished(number));
  machine.scheduler->cancel(number);
  Generation generation = machine.scheduler->take(number);
  EXPECT_EQ(generation.candidates[0].finishReason, FinishReason::Cancelled);
  EXPECT_TRUE(generation.candidates[0].values.empty());
  machine.expectPagesBack();
}

TEST(SchedulerValues, WithoutValueHeadIsAUsageError) {
  Request request = makeRequest(10, 1);
  request.values = true;
  EXPECT_EQ(Machine(Setting()).scheduler->submit(request).status().code(),
            "usage");
}

} // namespace
