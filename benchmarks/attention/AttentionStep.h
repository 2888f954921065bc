//===- AttentionStep.h - Steps over tables made by hand ---------*- C++ -*-===//
//
// Runs the step entry of a model that is little else than attention (model.py)
// on sequences whose tables share pages as the caller says, and times the
// attention in it. Pages hold random numbers: nothing of the past is computed.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_BENCHMARKS_ATTENTION_ATTENTIONSTEP_H
#define CHORUS_BENCHMARKS_ATTENTION_ATTENTIONSTEP_H

#include "chorus_rt/EntryPrograms.h"
#include "chorus_rt/ScratchBuffer.h"
#include "chorus_rt/ThreadPool.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace chorus::bench {

/// Values of StepTables::sharingRows.
constexpr int64_t sharingOn = 2, sharingOff = INT64_MAX;

/// The rows of one sequence in a step: tokens at [first, end), of which
/// `pages` holds the past and themselves.
struct SequencePart {
  std::vector<int32_t> pages;
  int32_t first = 0, end = 1;
};

class AttentionStep : rt::LoopObserver {
public:
  /// Room for `pages` pages, or for the largest number below it for which there
  /// is memory.
  static rt::StatusOr<std::unique_ptr<AttentionStep>>
  create(const std::string &artifact, const std::string &cpu, int threads,
         int64_t pages);
  ~AttentionStep() override;

  /// The step that run() takes.
  void setStep(const std::vector<SequencePart> &parts);

  /// Logits of all rows of the step. Page p of a table is page `firstPage` + p
  /// of the pool.
  rt::StatusOr<std::vector<float>> run(int64_t sharingRows,
                                       int64_t firstPage = 0);

  /// Copies the contents of page `from` to page `to`.
  void copyPage(int32_t from, int32_t to);

  /// Of the last run: seconds in attention.
  double attentionSeconds() const { return seconds; }
  /// Of all runs: those whose partitions were units of their own.
  int64_t spreadRuns() const { return joins; }
  /// Multiply-adds of the step's attention, each counted as two.
  double attentionOperations() const;
  /// Query and key pairs of the step.
  double pairs() const;

  int64_t pageCount() const { return pages; }
  uint64_t pageBytes() const { return step.pageBytes(); }
  rt::ThreadPool &threads() { return pool; }
  bool hasAVX512() const;

private:
  AttentionStep(std::shared_ptr<const rt::Program> program, int threads);
  void loopEnded(int64_t kernel, TimePoint begin, TimePoint end) override;

  std::shared_ptr<const rt::Program> program;
  rt::StepEntryProgram step;
  rt::ThreadPool pool;
  uint8_t *memory = nullptr;
  int64_t pages = 0;
  rt::StepTables tables;
  std::vector<SequencePart> parts;
  rt::ScratchBuffer arena;
  double seconds = 0;
  int64_t joins = 0;
};

} // namespace chorus::bench

#endif // CHORUS_BENCHMARKS_ATTENTION_ATTENTIONSTEP_H
