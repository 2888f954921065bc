//===- ThreadPoolTest.cpp -------------------------------------------------===//

#include "chorus_rt/ThreadPool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <x86intrin.h>

using namespace chorus::rt;

namespace {

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

/// Every index of [0, count) is visited once.
void expectEachIndexOnce(ThreadPool &pool, int64_t count) {
  std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
  pool.forEachRange(count, [&](int64_t begin, int64_t end) {
    ASSERT_LE(0, begin);
    ASSERT_LE(end, count);
    for (int64_t i = begin; i < end; ++i)
      ++visits[static_cast<size_t>(i)];
  });
  for (const std::atomic<int> &visit : visits)
    ASSERT_EQ(visit.load(), 1);
}

TEST(ThreadPool, EachIndexOnceForAnyThreadsAndCounts) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t count : {0, 1, 2, 3, 7, 64, 1000, 100000})
      expectEachIndexOnce(pool, count);
  }
}

TEST(ThreadPool, ManyShortLoopsStayConsistent) {
  ThreadPool pool(4);
  // Loops of changing length and body: a worker that comes late must run the
  // loop whose units it took.
  int64_t total = 0;
  std::atomic<int64_t> sum{0};
  for (int64_t i = 0; i < 20000; ++i) {
    int64_t count = 1 + i % 5;
    total += count * (i + 1);
    pool.forEachRange(count, [&, i](int64_t begin, int64_t end) {
      sum += (end - begin) * (i + 1);
    });
  }
  EXPECT_EQ(sum.load(), total);
}

TEST(ThreadPool, CountsBeyond32BitsAreCovered) {
  ThreadPool pool(2);
  std::atomic<int64_t> covered{0};
  constexpr int64_t count = (int64_t(1) << 40) + 12345;
  pool.forEachRange(
      count, [&](int64_t begin, int64_t end) { covered += end - begin; });
  EXPECT_EQ(covered.load(), count);
}

TEST(ThreadPool, CountOneRunsOnTheCaller) {
  ThreadPool pool(3);
  std::thread::id ran;
  pool.forEachRange(
      1, [&](int64_t, int64_t) { ran = std::this_thread::get_id(); });
  EXPECT_EQ(ran, std::this_thread::get_id());
}

TEST(ThreadPool, SharesAreContiguous) {
  // Nobody is late, so each thread covers one stretch from its own front.
  ThreadPool pool(2);
  std::vector<std::thread::id> owner(1000);
  pool.forEachRange(1000, [&](int64_t begin, int64_t end) {
    std::fill(owner.begin() + begin, owner.begin() + end,
              std::this_thread::get_id());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  int changes = 0;
  for (size_t i = 1; i < owner.size(); ++i)
    changes += owner[i] != owner[i - 1];
  // One border between the shares, a few more where one helped the other.
  EXPECT_LE(changes, 12);
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  ThreadPool pool(2);
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    expectEachIndexOnce(pool, 100);
  }
}

TEST(ThreadPool, N05_ControlWordIsSetAtEveryLoop) {
  ThreadPool pool(2);
  std::atomic<bool> callerDone{false}, workerDone{false};
  std::thread::id caller = std::this_thread::get_id();
  // What another library might have done: flush to zero, round up.
  constexpr unsigned foreign = 0x1F80 | 0x8040 | 0x4000;
  unsigned before = _mm_getcsr();
  _mm_setcsr(foreign);
  for (int loop = 0; loop < 2; ++loop) {
    callerDone = workerDone = false;
    pool.forEachRange(2, [&](int64_t, int64_t) {
      EXPECT_EQ(_mm_getcsr() & ~0x3Fu, 0x1F80u);
      (std::this_thread::get_id() == caller ? callerDone : workerDone) = true;
      _mm_setcsr(foreign);
      // Until the other thread has come as well, so that each takes one.
      auto start = std::chrono::steady_clock::now();
      while (!(callerDone && workerDone) && secondsSince(start) < 5)
        std::this_thread::yield();
    });
  }
  unsigned after = _mm_getcsr();
  _mm_setcsr(before);
  EXPECT_TRUE(callerDone && workerDone);
  EXPECT_EQ(after & ~0x3Fu, foreign);
}

TEST(ThreadPool, N11_MoreThreadsThanCores) {
  ThreadPool pool(256);
  EXPECT_GE(pool.threads(), 1);
  for (int i = 0; i < 50; ++i)
    expectEachIndexOnce(pool, 5000);
}

// AddressSanitizer aborts where a thread can't be had.
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !__has_feature(address_sanitizer)
TEST(ThreadPool, N11_RefusedThreadsMeanFewerThreads) {
  // A process that may map little more memory than it has gets few stacks.
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    rlimit limit{};
    FILE *status = std::fopen("/proc/self/statm", "r");
    long pages = 0;
    if (!status || std::fscanf(status, "%ld", &pages) != 1)
      _exit(2);
    std::fclose(status);
    limit.rlim_cur = limit.rlim_max =
        static_cast<rlim_t>(pages) * 4096 + (20u << 20);
    setrlimit(RLIMIT_AS, &limit);
    ThreadPool pool(256);
    std::atomic<int64_t> covered{0};
    pool.forEachRange(
        1000, [&](int64_t begin, int64_t end) { covered += end - begin; });
    _exit(pool.threads() < 256 && covered == 1000 ? 0 : 1);
  }
  int result = 0;
  waitpid(child, &result, 0);
  EXPECT_TRUE(WIFEXITED(result));
  EXPECT_EQ(WEXITSTATUS(result), 0);
}
#endif

} // namespace
