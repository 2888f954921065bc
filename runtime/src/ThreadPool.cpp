//===- ThreadPool.cpp - Parallel loops that survive busy neighbours -------===//

#include "chorus_rt/ThreadPool.h"

#include "chorus_rt/CpuFeatures.h"

#include <algorithm>
#include <cassert>
#include <climits>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

namespace chorus::rt {

/// Default control word: all exceptions masked, nearest even, denormals kept.
static constexpr unsigned defaultFloatControl = 0x1F80;

/// Bounded spin before a thread sleeps, in ticks of the time stamp counter:
/// about 50 us on the machines of today (2 to 4 GHz).
static constexpr uint64_t spinLimitTicks = 150'000;

/// Stack of a worker; compiled kernels use up to 256 KiB.
static constexpr size_t workerStackBytes = 1 << 20;

int availableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    if (int count = CPU_COUNT(&set); count > 0)
      return count;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int>(online) : 1;
}

FloatControlScope::FloatControlScope() : saved(_mm_getcsr()) {
  _mm_setcsr(defaultFloatControl);
}

FloatControlScope::~FloatControlScope() { _mm_setcsr(saved); }

static void futexWait(std::atomic<uint32_t> &word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

static void futexWake(std::atomic<uint32_t> &word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

static uint64_t packRange(uint32_t begin, uint32_t end) {
  return static_cast<uint64_t>(end) << 32 | begin;
}
static uint32_t rangeBegin(uint64_t range) {
  return static_cast<uint32_t>(range);
}
static uint32_t rangeEnd(uint64_t range) {
  return static_cast<uint32_t>(range >> 32);
}

void ThreadPool::apiParallelFor(void *self, chorus_parallel_body body,
                                const void *context, int64_t count,
                                int64_t kernel) {
  auto &pool = *static_cast<ThreadPool *>(self);
  if (!pool.loopObserver)
    return pool.parallelFor(body, context, count);
  auto begin = LoopObserver::TimePoint::clock::now();
  pool.parallelFor(body, context, count);
  pool.loopObserver->loopEnded(kernel, begin,
                               LoopObserver::TimePoint::clock::now());
}

ThreadPool::ThreadPool(int threads)
    : table{sizeof(chorus_runtime_api),
            this,
            apiParallelFor,
            streamPrefetchBytes(),
            /*entered=*/nullptr,
            /*threads=*/1} {
  threads = std::clamp(threads, 1, maxThreads);
  // With more threads than cores a spinning thread only takes the core from
  // one that has work.
  spinTicks = threads > availableCores() ? 0 : spinLimitTicks;
  shares = std::vector<Share>(static_cast<size_t>(threads));
  workers.resize(static_cast<size_t>(threads - 1));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, workerStackBytes);
  size_t started = 0;
  for (Worker &worker : workers) {
    worker.pool = this;
    worker.index = static_cast<int>(started) + 1;
    if (pthread_create(&worker.handle, &attributes, workerMain, &worker) != 0)
      break;
    ++started;
  }
  pthread_attr_destroy(&attributes);
  // No loop has begun, so no worker reads `shares` yet; shrinking a vector
  // moves nothing.
  workers.resize(started);
  activeThreads = static_cast<int>(started) + 1;
  table.threads = activeThreads;
}

ThreadPool::~ThreadPool() {
  stopping.store(true);
  epoch.fetch_add(1);
  futexWake(epoch, INT_MAX);
  for (Worker &worker : workers)
    pthread_join(worker.handle, nullptr);
}

void *ThreadPool::workerMain(void *argument) {
  Worker &worker = *static_cast<Worker *>(argument);
  ThreadPool &pool = *worker.pool;
  int self = worker.index;
  uint32_t seen = 0;
  while (true) {
    seen = pool.waitForLoop(seen);
    if (pool.stopping.load(std::memory_order_acquire))
      return nullptr;
    pool.work(self);
  }
}

/// Waits until the epoch is no longer `seen`; returns the new one.
uint32_t ThreadPool::waitForLoop(uint32_t seen) {
  uint64_t start = __rdtsc();
  do {
    for (int i = 0; i < 32; ++i) {
      uint32_t now = epoch.load(std::memory_order_acquire);
      if (now != seen)
        return now;
      _mm_pause();
    }
  } while (__rdtsc() - start < spinTicks);
  // The caller adds to `epoch` and then reads `sleepers`; here the order is the
  // other way round, so one of the two sees the other.
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  uint32_t now;
  while ((now = epoch.load(std::memory_order_seq_cst)) == seen)
    futexWait(epoch, seen);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
  return now;
}

/// Takes a quarter of what is left of the own share, at least one unit: large
/// enough to stream, small enough that others can help.
bool ThreadPool::claimFront(Share &share, uint32_t &begin, uint32_t &end) {
  uint64_t range = share.range.load(std::memory_order_acquire);
  while (true) {
    begin = rangeBegin(range);
    uint32_t last = rangeEnd(range);
    if (begin >= last)
      return false;
    end = begin + (last - begin + 3) / 4;
    if (share.range.compare_exchange_weak(range, packRange(end, last),
                                          std::memory_order_acq_rel,
                                          std::memory_order_acquire))
      return true;
  }
}

/// Takes a quarter of what is left of another thread's share, from its back.
bool ThreadPool::stealBack(int self, uint32_t &begin, uint32_t &end) {
  for (int i = 1; i < activeThreads; ++i) {
    int victim = (self + i) % activeThreads;
    std::atomic<uint64_t> &theirs = shares[static_cast<size_t>(victim)].range;
    uint64_t range = theirs.load(std::memory_order_acquire);
    while (rangeBegin(range) < rangeEnd(range)) {
      uint32_t first = rangeBegin(range);
      end = rangeEnd(range);
      begin = end - (end - first + 3) / 4;
      if (theirs.compare_exchange_weak(range, packRange(first, begin),
                                       std::memory_order_acq_rel,
                                       std::memory_order_acquire))
        return true;
    }
  }
  return false;
}

void ThreadPool::finishUnits(uint32_t done) {
  if (unitsLeft.fetch_sub(done, std::memory_order_seq_cst) != done)
    return;
  // The loop has ended and the caller may have gone on, so nothing of the loop
  // may be touched. A wake-up that comes too late does no harm.
  if (callerSleeps.load(std::memory_order_seq_cst))
    futexWake(unitsLeft, 1);
}

/// Does work of the current loop until there is none to claim.
void ThreadPool::work(int self) {
  FloatControlScope floatControl;
  Share &own = shares[static_cast<size_t>(self)];
  uint32_t begin, end;
  while (claimFront(own, begin, end) || stealBack(self, begin, end)) {
    // Having claimed units of the loop, we may read it: it can't end before
    // they are done.
    chorus_parallel_body body = loopBody;
    const void *context = loopContext;
    int64_t scale = unit, count = loopCount;
    uint32_t done = 0;
    do {
      body(context, begin * scale, std::min(end * scale, count));
      done += end - begin;
    } while (claimFront(own, begin, end));
    finishUnits(done);
  }
}

void ThreadPool::waitForEnd() {
  uint64_t start = __rdtsc();
  do {
    for (int i = 0; i < 32; ++i) {
      if (unitsLeft.load(std::memory_order_acquire) == 0)
        return;
      _mm_pause();
    }
    // The owner of a share may have lost its core since we looked.
    work(0);
  } while (__rdtsc() - start < spinTicks);
  callerSleeps.store(1, std::memory_order_seq_cst);
  uint32_t left;
  while ((left = unitsLeft.load(std::memory_order_seq_cst)) != 0)
    futexWait(unitsLeft, left);
  callerSleeps.store(0, std::memory_order_relaxed);
}

void ThreadPool::parallelFor(chorus_parallel_body body, const void *context,
                             int64_t count) {
  if (count <= 0)
    return;
  if (count == 1 || activeThreads == 1) {
    FloatControlScope floatControl;
    body(context, 0, count);
    return;
  }
  constexpr int64_t maxUnits = INT32_MAX;
  unit = (count + maxUnits - 1) / maxUnits;
  loopBody = body;
  loopContext = context;
  loopCount = count;
  int64_t units = (count + unit - 1) / unit;
  unitsLeft.store(static_cast<uint32_t>(units), std::memory_order_relaxed);
  for (int i = 0; i < activeThreads; ++i)
    shares[static_cast<size_t>(i)].range.store(
        packRange(static_cast<uint32_t>(units * i / activeThreads),
                  static_cast<uint32_t>(units * (i + 1) / activeThreads)),
        std::memory_order_release);
  epoch.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) != 0)
    futexWake(epoch, INT_MAX);
  work(0);
  if (unitsLeft.load(std::memory_order_acquire) != 0)
    waitForEnd();
}

} // namespace chorus::rt
