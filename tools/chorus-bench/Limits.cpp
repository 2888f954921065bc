//===- Limits.cpp - What the machine can do -------------------------------===//

#include "Limits.h"

#include "chorus_rt/CpuFeatures.h"
#include "chorus_rt/ScratchBuffer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <immintrin.h>

using namespace chorus;
using namespace chorus::bench;

namespace {

/// Keeps results alive, so that no loop is removed.
std::atomic<uint64_t> sink;

/// Runs `iterations` rounds and returns the operations done.
using PeakKernel = double (*)(int64_t iterations);

// Each kernel holds enough independent accumulators to cover the latency of
// its instruction at two a cycle.

__attribute__((target("avx512f,avx512vnni"))) double
int8PeakVNNI(int64_t iterations) {
  constexpr int count = 20;
  __m512i acc[count];
  for (int i = 0; i < count; ++i)
    acc[i] = _mm512_set1_epi32(i);
  __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2);
  for (int64_t n = 0; n < iterations; ++n)
#pragma clang loop unroll(full)
    for (int i = 0; i < count; ++i)
      acc[i] = _mm512_dpbusd_epi32(acc[i], a, b);
  for (int i = 1; i < count; ++i)
    acc[0] = _mm512_add_epi32(acc[0], acc[i]);
  sink += static_cast<uint64_t>(_mm512_reduce_add_epi32(acc[0]));
  return static_cast<double>(iterations) * count * 128;
}

__attribute__((target("avx2"))) double int8PeakAVX2(int64_t iterations) {
  constexpr int count = 10;
  __m256i acc[count];
  for (int i = 0; i < count; ++i)
    acc[i] = _mm256_set1_epi32(i);
  __m256i ones = _mm256_set1_epi16(1), b = _mm256_set1_epi8(-2);
  for (int64_t n = 0; n < iterations; ++n)
#pragma clang loop unroll(full)
    for (int i = 0; i < count; ++i)
      // The accumulator is an operand, so that nothing is loop invariant.
      acc[i] = _mm256_add_epi32(
          acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(acc[i], b), ones));
  for (int i = 1; i < count; ++i)
    acc[0] = _mm256_add_epi32(acc[0], acc[i]);
  sink += static_cast<uint64_t>(_mm256_extract_epi32(acc[0], 0));
  return static_cast<double>(iterations) * count * 64;
}

__attribute__((target("amx-tile,amx-int8"))) double
int8PeakAMX(int64_t iterations) {
  constexpr int count = 6; // Tiles of sums; the factors are in the other two.
  struct {
    uint8_t palette = 1, startRow = 0, reserved[14] = {};
    uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  alignas(64) int8_t tile[16][64];
  std::memset(tile, 3, sizeof tile);
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_loadd(6, tile, 64);
  _tile_loadd(7, tile, 64);
  for (int64_t n = 0; n < iterations; ++n) {
    _tile_dpbssd(0, 6, 7);
    _tile_dpbssd(1, 6, 7);
    _tile_dpbssd(2, 6, 7);
    _tile_dpbssd(3, 6, 7);
    _tile_dpbssd(4, 6, 7);
    _tile_dpbssd(5, 6, 7);
  }
  _tile_release();
  return static_cast<double>(iterations) * count * 16 * 16 * 64 * 2;
}

__attribute__((target("avx512f"))) double f32PeakAVX512(int64_t iterations) {
  constexpr int count = 20;
  __m512 acc[count];
  for (int i = 0; i < count; ++i)
    acc[i] = _mm512_set1_ps(static_cast<float>(i));
  __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
  for (int64_t n = 0; n < iterations; ++n)
#pragma clang loop unroll(full)
    for (int i = 0; i < count; ++i)
      acc[i] = _mm512_fmadd_ps(acc[i], a, b);
  for (int i = 1; i < count; ++i)
    acc[0] = _mm512_add_ps(acc[0], acc[i]);
  sink += static_cast<uint64_t>(_mm512_reduce_add_ps(acc[0]));
  return static_cast<double>(iterations) * count * 32;
}

__attribute__((target("avx2,fma"))) double f32PeakAVX2(int64_t iterations) {
  constexpr int count = 12;
  __m256 acc[count];
  for (int i = 0; i < count; ++i)
    acc[i] = _mm256_set1_ps(static_cast<float>(i));
  __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
  for (int64_t n = 0; n < iterations; ++n)
#pragma clang loop unroll(full)
    for (int i = 0; i < count; ++i)
      acc[i] = _mm256_fmadd_ps(acc[i], a, b);
  for (int i = 1; i < count; ++i)
    acc[0] = _mm256_add_ps(acc[0], acc[i]);
  sink += static_cast<uint64_t>(_mm256_cvtss_f32(acc[0]));
  return static_cast<double>(iterations) * count * 16;
}

/// Sum of the 8-byte words of a multiple of 256 bytes.
__attribute__((target("avx2"))) uint64_t readAVX2(const uint8_t *data,
                                                  int64_t bytes) {
  __m256i acc[8];
  for (__m256i &sum : acc)
    sum = _mm256_setzero_si256();
  for (int64_t at = 0; at < bytes; at += 256)
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; ++i)
      acc[i] = _mm256_add_epi64(
          acc[i], _mm256_load_si256(
                      reinterpret_cast<const __m256i *>(data + at + 32 * i)));
  for (int i = 1; i < 8; ++i)
    acc[0] = _mm256_add_epi64(acc[0], acc[i]);
  return static_cast<uint64_t>(_mm256_extract_epi64(acc[0], 0));
}

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

/// Operations a second with all threads of the pool: the best of five rounds.
double measurePeak(rt::ThreadPool &pool, PeakKernel kernel) {
  constexpr int64_t iterations = 20000; // Well under a millisecond.
  int64_t units = 64 * pool.threads();
  double best = 0;
  for (int round = 0; round < 6; ++round) {
    std::atomic<int64_t> operations{0};
    Clock::time_point start = Clock::now();
    pool.forEachRange(units, [&](int64_t begin, int64_t end) {
      operations += static_cast<int64_t>(kernel(iterations * (end - begin)));
    });
    double rate =
        static_cast<double>(operations) / seconds(start, Clock::now());
    // The first round warms up.
    if (round > 0)
      best = std::max(best, rate);
  }
  return best;
}

/// Bytes a second: the best of ten passes over the buffer.
double measureRead(rt::ThreadPool &pool, const uint8_t *data, uint64_t bytes) {
  constexpr int64_t piece = 65536;
  int64_t pieces = std::max<int64_t>(static_cast<int64_t>(bytes) / piece, 1);
  double best = 0;
  for (int pass = 0; pass < 11; ++pass) {
    Clock::time_point start = Clock::now();
    pool.forEachRange(pieces, [&](int64_t begin, int64_t end) {
      sink += readAVX2(data + begin * piece, (end - begin) * piece);
    });
    double rate =
        static_cast<double>(pieces * piece) / seconds(start, Clock::now());
    if (pass > 0)
      best = std::max(best, rate);
  }
  return best;
}

} // namespace

rt::StatusOr<Limits> bench::measureLimits(int threads, uint64_t bufferBytes) {
  rt::CpuFeatures cpu = rt::CpuFeatures::host();
  if (!cpu.has("avx2") || !cpu.has("fma"))
    return rt::ioError("A09", "cpu", "no AVX2 and FMA, which are needed");
  rt::ThreadPool pool(threads);
  Limits limits;
  {
    rt::ScratchBuffer buffer;
    CHORUS_RETURN_IF_ERROR(
        buffer.reserve(std::max<uint64_t>(bufferBytes, 65536)));
    std::memset(buffer.data(), 1, buffer.size());
    limits.readBytesPerSecond = measureRead(pool, buffer.data(), bufferBytes);
  }
  limits.int8OpsPerSecond = measurePeak(
      pool, cpu.has("avx512_vnni") && cpu.has("avx512f") ? int8PeakVNNI
                                                         : int8PeakAVX2);
  limits.f32OpsPerSecond = measureF32Peak(pool, cpu.has("avx512f"));
  if (cpu.has("amx_int8"))
    limits.amxInt8OpsPerSecond = measurePeak(pool, int8PeakAMX);
  return limits;
}

double bench::measureF32Peak(rt::ThreadPool &pool, bool avx512) {
  return measurePeak(pool, avx512 ? f32PeakAVX512 : f32PeakAVX2);
}

Limits bench::largest(const Limits &a, const Limits &b) {
  return {std::max(a.readBytesPerSecond, b.readBytesPerSecond),
          std::max(a.int8OpsPerSecond, b.int8OpsPerSecond),
          std::max(a.f32OpsPerSecond, b.f32OpsPerSecond),
          std::max(a.amxInt8OpsPerSecond, b.amxInt8OpsPerSecond)};
}
