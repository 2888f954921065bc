//===- AllocationFailureTest.cpp - Memory that runs out anywhere ----------===//
//
// The n-th allocation of a run fails, for every n: the run ends with N10 or
// goes well, and gives back all that it had (the sanitizer looks for leaks).
//
//===----------------------------------------------------------------------===//

#include "FakeModel.h"
#include "chorus_rt/Record.h"
#include "chorus_rt/Scheduler.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

using namespace chorus::rt;

namespace {

/// Allocations until one fails; negative: none does.
std::atomic<int64_t> allocationsLeft{-1};
std::atomic<int64_t> failures{0};

bool allocationFails() {
  if (allocationsLeft.load() < 0 || allocationsLeft.fetch_sub(1) != 0)
    return false;
  ++failures;
  return true;
}

} // namespace

void *operator new(size_t size) {
  void *memory = allocationFails() ? nullptr : std::malloc(size ? size : 1);
  if (!memory)
    throw std::bad_alloc();
  return memory;
}
void *operator new(size_t size, std::align_val_t alignment) {
  size_t step = static_cast<size_t>(alignment);
  void *memory =
      allocationFails()
          ? nullptr
          : std::aligned_alloc(step, (size + step - 1) / step * step);
  if (!memory)
    throw std::bad_alloc();
  return memory;
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
void operator delete(void *memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void *memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace {

constexpr int64_t vocab = 70;

/// A run of a request and its records, as an engine does it.
Status runOnce(ThreadPool &threads, const Request &request,
               std::string &records) try {
  FakeStepProgram program(vocab);
  StatusOr<std::unique_ptr<KVPool>> pool =
      KVPool::create(program.pageBytes(), 64);
  CHORUS_RETURN_IF_ERROR(pool.status());
  PagedDecoder decoder(program, **pool, threads);
  Sampler sampler(vocab, fakeMasses);
  SchedulerOptions options;
  options.contextLength = 200;
  options.prefillChunk = 16;
  options.maxBatch = 3;
  Scheduler scheduler(
      decoder, sampler, threads,
      [](int32_t id) { return std::string_view("abcdefgh", id % 9); }, options);
  RequestHooks hooks;
  hooks.forceTokens = [](const TokenEvent &event, std::vector<int32_t> &next) {
    if (event.tokenId % 5 == 0)
      next = {1, 2, 3};
    return Status();
  };
  StatusOr<int64_t> number = scheduler.submit(request, hooks);
  CHORUS_RETURN_IF_ERROR(number.status());
  while (!scheduler.idle()) {
    Status status = scheduler.step();
    if (!status.ok()) {
      scheduler.cancelAll();
      EXPECT_EQ((*pool)->pagesInUse(), scheduler.prefixPages());
      return status;
    }
  }
  Generation generation = scheduler.take(*number);
  RecordContext context;
  context.request = &request;
  context.hasTokenizer = true;
  for (const Candidate &candidate : generation.candidates)
    records += recordLine(context, candidate);
  return Status();
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory");
}

TEST(AllocationFailure, N10_EveryAllocation) {
  ThreadPool threads(2);
  Request request;
  for (int32_t i = 0; i < 40; ++i)
    request.prompt.push_back(i);
  request.candidates = 5;
  request.maxTokens = 12;
  request.stop = {"never", "there"};
  request.scoredTokens = {0, 69};
  for (int32_t i = 0; i < vocab; i += 2)
    request.sampling.allowedTokens.push_back(i);
  request.sampling.topP = 0.9;
  request.sampling.topK = 40;
  request.sampling.repetitionPenalty = 1.1;
  std::string expected;
  ASSERT_TRUE(runOnce(threads, request, expected).ok());
  int64_t refused = 0;
  for (int64_t n = 0;; ++n) {
    std::string records;
    failures = 0;
    allocationsLeft = n;
    Status status = runOnce(threads, request, records);
    allocationsLeft = -1;
    if (failures == 0) {
      EXPECT_TRUE(status.ok());
      break;
    }
    if (status.ok()) {
      EXPECT_EQ(records, expected);
      continue;
    }
    ++refused;
    ASSERT_EQ(status.code(), "N10") << "allocation " << n;
    ASSERT_EQ(status.exitCode(), ExitCode::Limit);
  }
  EXPECT_GT(refused, 200);
}

} // namespace
