//===- EntryPrograms.h - Entries as decoders call them ----------*- C++ -*-===//
//-*-===//

#ifndef CHORUS_RT_ENTRYPROGRAMS_H
#define CHORUS_RT_ENTRYPROGRAMS_H

#include "chorus_rt/Decoder.h"
#include "chorus_rt/Program.h"

#include <memory>

namespace chorus::rt {

/// The step entry of a language model.
class StepEntryProgram : public StepProgram {
public:
  /// `program` has a step entry and a paged state.
  explicit StepEntryProgram(std::shared_ptr<const Program> program);

  int64_t vocabSize() const override;
  uint64_t pageBytes() const override;
  uint64_t arenaBytes(int64_t rows, int64_t outputRows) const override;
  int64_t layers() const override;
  std::optional<int64_t> firstNonFiniteLayer(const uint8_t *page,
                                             int64_t slot) const override;
  bool hasValues() const override;
  Status run(const StepTables &tables, uint8_t *pool, uint8_t *arena,
             const chorus_runtime_api &api, float *logits, float *logSumExp,
             float *values) const override;

private:
  std::shared_ptr<const Program> program;
  const Program::Entry &entry;
};

/// The plain entry "main" of a model compiled with --reference: tokens
/// [1, S] i32 to logits [1, S, vocab] f32 and log_sum_exp [1, S] f32, with a
/// linear value head also to value [1, S, 1] f32.
class PlainEntryProgram : public SequenceProgram {
public:
  /// Error `unsupported` if the model has no entry of that form.
  static StatusOr<std::unique_ptr<PlainEntryProgram>>
  create(std::shared_ptr<const Program> program);

  int64_t vocabSize() const override;
  uint64_t arenaBytes(int64_t length) const override;
  bool hasValues() const override;
  Status run(const std::vector<int32_t> &tokens, uint8_t *arena,
             const chorus_runtime_api &api, float *logits, float *logSumExp,
             float *values) const override;

private:
  PlainEntryProgram(std::shared_ptr<const Program> program,
                    const Program::Entry &entry);

  std::shared_ptr<const Program> program;
  const Program::Entry &entry;
};

} // namespace chorus::rt

#endif // CHORUS_RT_ENTRYPROGRAMS_H
