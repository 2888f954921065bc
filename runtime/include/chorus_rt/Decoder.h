//===- Decoder.h - One step of many sequences -------------------*- C++ -*-===//
//
// What the scheduler sees of a model: sequences go in with the tokens that they
// have not computed yet, logits of the wanted rows come out. Two kinds of
// models stand behind it: step programs over a paged cache, and stateless
// programs that compute the whole sequence every time.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_DECODER_H
#define CHORUS_RT_DECODER_H

#include "chorus_rt/KVPool.h"
#include "chorus_rt/ScratchBuffer.h"
#include "chorus_rt/Sequence.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/ThreadPool.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace chorus::rt {

/// The rows of one sequence in a step: its next `rows` tokens. Logits are
/// wanted for the last `outputs` of them.
struct SequenceRows {
  Sequence *sequence = nullptr;
  int64_t rows = 0;
  int64_t outputs = 0;
};

/// What was done so far.
struct DecoderCounters {
  uint64_t steps = 0;
  uint64_t rowsComputed = 0;
  /// Rows whose logits were wanted.
  uint64_t outputRows = 0;
  /// Positions that the rows attended to, their own included.
  uint64_t positionsRead = 0;
  uint64_t pagesAllocated = 0;
  int64_t peakPages = 0;
};

/// Computes logits. Not thread safe; it uses the threads of its pool.
class Decoder {
public:
  virtual ~Decoder() = default;

  virtual int64_t vocabSize() const = 0;

  virtual Sequence newSequence() = 0;

  /// Computes the rows and advances the sequences. `logits` is [outputs, vocab]
  /// and `logSumExp` [outputs], in the order of `batch`. On an error the
  /// sequences' tokens are unchanged, their caches may be ahead of use.
  virtual Status step(const std::vector<SequenceRows> &batch, float *logits,
                      float *logSumExp) = 0;

  /// The pages of its sequences. Null for a model without cache.
  virtual KVPool *pages() const = 0;

  virtual DecoderCounters counters() const = 0;

  /// Where the NaN or infinity came from that the last computed row of
  /// `sequence` gave, in words; empty if that cannot be told.
  virtual std::string locateNonFinite(const Sequence & /*sequence*/) const {
    return "";
  }

  /// Of the last step's outputs, in their order, what the program says beside
  /// the logits for a value head; empty for a program without it.
  const std::vector<float> &values() const { return lastValues; }

protected:
  std::vector<float> lastValues;
};

/// Arguments of one call of a step entry; step_abi.h says what they mean.
struct StepTables {
  std::vector<int32_t> tokens, positions;
  std::vector<const int32_t *> rowPages;
  std::vector<int32_t> outputRows;
  int64_t sharingRows = 0;
};

/// Compiled code that takes one step.
class StepProgram {
public:
  virtual ~StepProgram() = default;
  virtual int64_t vocabSize() const = 0;
  virtual uint64_t pageBytes() const = 0;
  /// Bytes of scratch memory for a step.
  virtual uint64_t arenaBytes(int64_t rows, int64_t outputRows) const = 0;
  virtual int64_t layers() const = 0;
  /// The first layer whose keys or values in that slot of a page are NaN or
  /// infinite.
  virtual std::optional<int64_t> firstNonFiniteLayer(const uint8_t *page,
                                                     int64_t slot) const = 0;
  /// Whether run() writes values.
  virtual bool hasValues() const { return false; }
  /// `logits` is [R, vocab], `logSumExp` and `values` [R], for R output rows.
  virtual Status run(const StepTables &tables, uint8_t *pool, uint8_t *arena,
                     const chorus_runtime_api &api, float *logits,
                     float *logSumExp, float *values) const = 0;
};

/// Compiled code that maps a whole sequence to logits of all its positions.
class SequenceProgram {
public:
  virtual ~SequenceProgram() = default;
  virtual int64_t vocabSize() const = 0;
  virtual uint64_t arenaBytes(int64_t length) const = 0;
  /// Whether run() writes values.
  virtual bool hasValues() const { return false; }
  /// `logits` is [length, vocab], `logSumExp` and `values` [length].
  virtual Status run(const std::vector<int32_t> &tokens, uint8_t *arena,
                     const chorus_runtime_api &api, float *logits,
                     float *logSumExp, float *values) const = 0;
};

/// A step program over a pool of pages.
class PagedDecoder : public Decoder {
public:
  /// All three outlive the decoder. `sharingRows` as in step_abi.h.
  PagedDecoder(const StepProgram &program, KVPool &pool, ThreadPool &threads,
               int64_t sharingRows = 0)
      : program(program), pool(pool), threads(threads) {
    tables.sharingRows = sharingRows;
  }

  int64_t vocabSize() const override { return program.vocabSize(); }
  Sequence newSequence() override { return Sequence(pool); }
  Status step(const std::vector<SequenceRows> &batch, float *logits,
              float *logSumExp) override;
  KVPool *pages() const override { return &pool; }
  DecoderCounters counters() const override;
  std::string locateNonFinite(const Sequence &sequence) const override;

private:
  const StepProgram &program;
  KVPool &pool;
  ThreadPool &threads;
  ScratchBuffer arena;
  StepTables tables;
  std::vector<PageCopy> copies;
  DecoderCounters counts;
};

/// A stateless program; every step computes whole sequences.
class RecomputingDecoder : public Decoder {
public:
  /// Both outlive the decoder.
  RecomputingDecoder(const SequenceProgram &program, ThreadPool &threads)
      : program(program), threads(threads) {}

  int64_t vocabSize() const override { return program.vocabSize(); }
  Sequence newSequence() override { return Sequence(); }
  Status step(const std::vector<SequenceRows> &batch, float *logits,
              float *logSumExp) override;
  KVPool *pages() const override { return nullptr; }
  DecoderCounters counters() const override;

private:
  const SequenceProgram &program;
  ThreadPool &threads;
  ScratchBuffer arena, allLogits;
  std::vector<float> allLogSumExp, allValues;
  DecoderCounters counts;
};

} // namespace chorus::rt

#endif // CHORUS_RT_DECODER_H
