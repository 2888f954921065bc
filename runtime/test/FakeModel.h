//===- FakeModel.h - A tiny model whose logits depend on all --*- C++ -*-===//
//
// A step program for tests of what is around the kernels. A row writes a hash
// of its token and position to its page, and its logits are hashes over what
// it reads back from the pages of all positions up to its own. A wrong page
// table, a page that was not copied, a wrong position or a stale slot changes
// everything that follows.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEST_FAKEMODEL_H
#define CHORUS_RT_TEST_FAKEMODEL_H

#include "chorus_rt/Decoder.h"

#include <cmath>
#include <cstring>

namespace chorus::rt {

inline uint64_t mixBits(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9;
  x ^= x >> 27;
  x *= 0x94D049BB133111EB;
  return x ^ x >> 31;
}

/// Logits of a row whose history has that hash.
inline void fakeLogits(uint64_t history, int64_t vocab, float *logits,
                       float *logSumExp) {
  double sum = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    uint64_t bits = mixBits(history + static_cast<uint64_t>(i) * 0x9E37);
    logits[i] = static_cast<float>(bits >> 40) * 0x1p-24f * 8 - 4;
    sum += std::exp(static_cast<double>(logits[i]));
  }
  *logSumExp = static_cast<float>(std::log(sum));
}

/// What a value head reads of a row whose history has that hash.
inline float fakeValue(uint64_t history) {
  return static_cast<float>(mixBits(history + 0xBEAD) >> 40) * 0x1p-24f - 0.5f;
}

inline uint64_t fakeSlot(int32_t token, int32_t position) {
  return mixBits(static_cast<uint64_t>(static_cast<uint32_t>(token)) << 32 |
                 static_cast<uint32_t>(position)) |
         1;
}

inline void fakeMasses(const float *logits, int64_t count, float max,
                       float inverseTemperature, uint64_t *masses) {
  for (int64_t i = 0; i < count; ++i)
    masses[i] = static_cast<uint64_t>(
        std::exp(double(logits[i] - max) * inverseTemperature) * 0x1p40);
}

/// A page is 32 slots of 8 bytes, twice (as keys and as values).
class FakeStepProgram : public StepProgram {
public:
  explicit FakeStepProgram(int64_t vocab) : vocab(vocab) {}

  int64_t vocabSize() const override { return vocab; }
  uint64_t pageBytes() const override { return 2 * 32 * 8; }
  uint64_t arenaBytes(int64_t rows, int64_t) const override {
    return static_cast<uint64_t>(rows) * 8;
  }

  int64_t layers() const override { return 2; }
  /// Hashes are neither; the token that poisons a row is in its slot.
  std::optional<int64_t> firstNonFiniteLayer(const uint8_t *page,
                                             int64_t slot) const override {
    lastSlot = reinterpret_cast<const uint64_t *>(page)[slot];
    return poisonLayer;
  }

  bool hasValues() const override { return true; }
  Status run(const StepTables &tables, uint8_t *pool, uint8_t *arena,
             const chorus_runtime_api &api, float *logits, float *logSumExp,
             float *values) const override {
    size_t rows = tables.tokens.size();
    for (size_t r = 0; r < rows; ++r) {
      int32_t position = tables.positions[r];
      uint64_t *page = slots(pool, tables.rowPages[r], position);
      // A slot that is written twice was somebody else's.
      if (page[position % 32] != 0)
        return Status::error(ExitCode::Internal, "fake", "",
                             "slot of position " + std::to_string(position) +
                                 " is in use");
      page[position % 32] = page[32 + position % 32] =
          fakeSlot(tables.tokens[r], position);
    }
    struct Context {
      const FakeStepProgram *self;
      const StepTables *tables;
      uint8_t *pool;
      uint64_t *histories;
    } context{this, &tables, pool, reinterpret_cast<uint64_t *>(arena)};
    api.parallel_for(
        api.self,
        [](const void *argument, int64_t begin, int64_t end) {
          const Context &c = *static_cast<const Context *>(argument);
          for (size_t r = static_cast<size_t>(begin);
               r < static_cast<size_t>(end); ++r) {
            uint64_t history = 0;
            for (int32_t p = 0; p <= c.tables->positions[r]; ++p) {
              const uint64_t *page =
                  c.self->slots(c.pool, c.tables->rowPages[r], p);
              history = mixBits(history ^ page[p % 32]) + page[32 + p % 32];
            }
            c.histories[r] = history;
          }
        },
        &context, static_cast<int64_t>(rows), /*kernel=*/0);
    for (size_t i = 0; i < tables.outputRows.size(); ++i) {
      size_t row = static_cast<size_t>(tables.outputRows[i]);
      fakeLogits(context.histories[row], vocab,
                 logits + i * static_cast<size_t>(vocab), logSumExp + i);
      values[i] = fakeValue(context.histories[row]);
      if (tables.tokens[row] == poisonToken)
        logits[i * static_cast<size_t>(vocab)] = std::nanf("");
    }
    return Status();
  }

  /// After this token a row has a NaN.
  int32_t poisonToken = -1;
  /// The layer that is said to have it first.
  std::optional<int64_t> poisonLayer;
  /// What was found where it was looked for.
  mutable uint64_t lastSlot = 0;

private:
  uint64_t *slots(uint8_t *pool, const int32_t *table, int32_t position) const {
    return reinterpret_cast<uint64_t *>(
        pool + static_cast<uint64_t>(table[position / 32]) * pageBytes());
  }

  int64_t vocab;
};

/// The same model without cache.
class FakeSequenceProgram : public SequenceProgram {
public:
  explicit FakeSequenceProgram(int64_t vocab) : vocab(vocab) {}

  int64_t vocabSize() const override { return vocab; }
  uint64_t arenaBytes(int64_t) const override { return 64; }
  bool hasValues() const override { return true; }
  Status run(const std::vector<int32_t> &tokens, uint8_t *,
             const chorus_runtime_api &, float *logits, float *logSumExp,
             float *values) const override {
    uint64_t history = 0;
    for (size_t p = 0; p < tokens.size(); ++p) {
      uint64_t slot = fakeSlot(tokens[p], static_cast<int32_t>(p));
      history = mixBits(history ^ slot) + slot;
      fakeLogits(history, vocab, logits + p * static_cast<size_t>(vocab),
                 logSumExp + p);
      values[p] = fakeValue(history);
    }
    return Status();
  }

private:
  int64_t vocab;
};

} // namespace chorus::rt

#endif // CHORUS_RT_TEST_FAKEMODEL_H
