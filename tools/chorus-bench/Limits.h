//===- Limits.h - What the machine can do -----------------------*- C++ -*-===//
//
// Speeds are stated as shares of these: read bandwidth over a buffer of the
// weights' size, and the peaks of the multiply-add instructions that the widest
// vectors have.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TOOLS_CHORUS_BENCH_LIMITS_H
#define CHORUS_TOOLS_CHORUS_BENCH_LIMITS_H

#include "chorus_rt/Status.h"
#include "chorus_rt/ThreadPool.h"

#include <cstdint>

namespace chorus::bench {

/// A multiply-add counts as two operations.
struct Limits {
  double readBytesPerSecond = 0;
  /// vpdpbusd at the widest vector, else vpmaddubsw with vpmaddwd.
  double int8OpsPerSecond = 0;
  double f32OpsPerSecond = 0;
  /// Products of int8 tiles; 0 without AMX.
  double amxInt8OpsPerSecond = 0;
};

/// Measures for about a second with that many threads. `bufferBytes`: size of
/// the buffer that is read.
rt::StatusOr<Limits> measureLimits(int threads, uint64_t bufferBytes);

/// f32 operations a second with all threads of the pool, on vectors of 64 bytes
/// or of 32. Takes some 50 ms.
double measureF32Peak(rt::ThreadPool &pool, bool avx512);

/// The larger of each.
Limits largest(const Limits &a, const Limits &b);

} // namespace chorus::bench

#endif // CHORUS_TOOLS_CHORUS_BENCH_LIMITS_H
