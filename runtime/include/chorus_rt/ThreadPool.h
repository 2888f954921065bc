//===- ThreadPool.h - Parallel loops that survive busy neighbours -*- C++
//-*-===//
//
// A loop's indices are dealt out as one contiguous share a thread, so that a
// thread streams its own part of the weights. Each thread takes grains from the
// front of its share and, when that is empty, from the back of another's. A
// thread that is not running (asleep, or its core given to another process)
// thus delays nothing but the grain that it holds: the loop ends when all
// indices are done, not when all threads have called in.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_THREADPOOL_H
#define CHORUS_RT_THREADPOOL_H

#include "chorus_rt/step_abi.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <pthread.h>
#include <type_traits>
#include <vector>

namespace chorus::rt {

/// Number of cores that this process may use, at least 1.
int availableCores();

/// Sets the calling thread's floating-point control word to the default
/// (round to nearest even, no flush to zero, no traps) and restores it at the
/// end of the scope, so that no other library can change a result.
class FloatControlScope {
public:
  FloatControlScope();
  ~FloatControlScope();
  FloatControlScope(const FloatControlScope &) = delete;
  FloatControlScope &operator=(const FloatControlScope &) = delete;

private:
  unsigned saved;
};

/// Sees the loops of compiled code, for profiles.
class LoopObserver {
public:
  using TimePoint = std::chrono::steady_clock::time_point;
  virtual ~LoopObserver() = default;
  /// `kernel`: the loop's number in the code's kernels. Called by the thread
  /// that started the loop.
  virtual void loopEnded(int64_t kernel, TimePoint begin, TimePoint end) = 0;
};

/// Threads that run one parallel loop at a time. The thread that starts a loop
/// takes part in it. One thread at a time may start loops, and loops do not
/// nest.
class ThreadPool {
public:
  static constexpr int maxThreads = 1024;

  /// `threads`: workers and the caller together, 1 to maxThreads. Where the
  /// system refuses a thread, the pool has fewer.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Threads that there are, the caller included.
  int threads() const { return activeThreads; }

  /// Calls `body` on disjoint ranges that cover [0, count) and returns when all
  /// are done. `body` must not throw.
  void parallelFor(chorus_parallel_body body, const void *context,
                   int64_t count);

  /// The same for a callable `fn(int64_t begin, int64_t end)`.
  template <typename Fn> void forEachRange(int64_t count, Fn &&fn) {
    using Callable = std::remove_reference_t<Fn>;
    parallelFor(
        [](const void *context, int64_t begin, int64_t end) {
          (*static_cast<Callable *>(const_cast<void *>(context)))(begin, end);
        },
        &fn, count);
  }

  /// The table that compiled code calls; lives as long as the pool.
  const chorus_runtime_api *api() const { return &table; }

  /// Shows the loops of compiled code to `observer` until the next call; null:
  /// to nobody. No loop runs meanwhile.
  void observeLoops(LoopObserver *observer) { loopObserver = observer; }

private:
  /// Indices left to one thread: begin in the low half, end in the high half,
  /// both in units of `unit` indices. Only parallelFor() fills it. On a cache
  /// line of its own.
  struct alignas(64) Share {
    std::atomic<uint64_t> range{0};
  };
  struct Worker {
    ThreadPool *pool = nullptr;
    int index = 0;
    pthread_t handle{};
  };

  static void apiParallelFor(void *self, chorus_parallel_body body,
                             const void *context, int64_t count,
                             int64_t kernel);
  static void *workerMain(void *worker);
  void work(int self);
  bool claimFront(Share &share, uint32_t &begin, uint32_t &end);
  bool stealBack(int self, uint32_t &begin, uint32_t &end);
  void finishUnits(uint32_t done);
  uint32_t waitForLoop(uint32_t seen);
  void waitForEnd();

  std::vector<Share> shares; // [0] is the caller's.
  std::vector<Worker> workers;
  int activeThreads = 1;
  chorus_runtime_api table;
  uint64_t spinTicks;
  LoopObserver *loopObserver = nullptr;

  // The loop that runs. Written only while no index is left to claim, so that
  // whoever has claimed a range reads a consistent loop.
  chorus_parallel_body loopBody = nullptr;
  const void *loopContext = nullptr;
  int64_t loopCount = 0;
  int64_t unit = 1;

  alignas(64) std::atomic<uint32_t> epoch{0};
  std::atomic<uint32_t> sleepers{0};
  std::atomic<bool> stopping{false};
  /// Units not done yet; zero is the end of the loop. 32 bits for the futex.
  alignas(64) std::atomic<uint32_t> unitsLeft{0};
  std::atomic<uint32_t> callerSleeps{0};
};

} // namespace chorus::rt

#endif // CHORUS_RT_THREADPOOL_H
