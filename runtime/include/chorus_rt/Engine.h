//===- Engine.h - Answers requests with a loaded model ----------*- C++ -*-===//
//
// Threads, cache, sampler and scheduler around one Program: what a tool, a
// server or a C API drives.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_ENGINE_H
#define CHORUS_RT_ENGINE_H

#include "chorus_rt/Decoder.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/Program.h"
#include "chorus_rt/Sampler.h"
#include "chorus_rt/Scheduler.h"
#include "chorus_rt/ThreadPool.h"
#include "chorus_rt/Tokenizer.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace chorus::rt {

/// Nothing here changes a bit of a result.
struct EngineOptions {
  int threads = 0; ///< 0: as many as cores that the process may use.
  int64_t prefillChunk = 512;
  int64_t maxBatch = 256;
  int64_t contextLength = 0; ///< 0: the model's.
  uint64_t maxMemory = 0;    ///< Bytes; 0: what the machine has.

  /// Usage error that names the option and its range.
  Status validate() const;
};

/// Where a generation stands.
struct GenerationProgress {
  int64_t promptTokens = 0;
  int64_t promptComputed = 0;
  int64_t tokens = 0; ///< Sampled in all.
  int64_t finished = 0;
  int64_t candidates = 0;
};

/// What the caller wants to know or decide in between. All may be empty.
struct GenerationHooks {
  TokenCallback onToken;
  /// After each step.
  std::function<void(const GenerationProgress &)> onStep;
  /// Asked before each step; true ends the generation, its unfinished
  /// candidates are Cancelled.
  std::function<bool()> shouldCancel;
};

/// The distribution of the token after one of a given text.
struct TokenDistribution {
  int64_t position = 0; ///< Of the token that was read, from 0.
  /// Likeliest first, ties by lower id.
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

/// One model, ready to run. Not thread safe: one call at a time.
class Engine {
public:
  /// `program` and `tokenizer` are kept; a model without tokenizer has null.
  /// Errors: `unsupported` for a model that does not map tokens to logits,
  /// usage for options out of range, exit 4 if memory can't be had.
  static StatusOr<std::unique_ptr<Engine>>
  create(std::shared_ptr<const Program> program,
         std::shared_ptr<const Tokenizer> tokenizer,
         const EngineOptions &options);
  ~Engine();

  const Program &program() const { return *loaded; }
  const Tokenizer *tokenizer() const { return text.get(); }
  int64_t contextLength() const { return context; }
  ThreadPool &threads() { return *pool; }
  DecoderCounters counters() const { return decoder->counters(); }

  /// Bytes that a run of the request takes: weights, cache, scratch memory and
  /// rows of logits. `request` is valid.
  uint64_t memoryNeeded(const Request &request) const;

  /// Runs one request to its end. Usage errors for what Scheduler::submit
  /// refuses, exit 4 when memoryNeeded is more than is allowed. What happens to
  /// single candidates stands in their records.
  StatusOr<Generation> generate(const Request &request,
                                const GenerationHooks &hooks = {});

  /// Reads `ids` and gives, for each position, the `count` likeliest next
  /// tokens (all, if the vocabulary has fewer). Errors: as generate(), N01
  /// (exit 1) where the model gives NaN, and those of `onPosition`.
  /// `shouldCancel` as in GenerationHooks; the result is then Ok and cut.
  Status distributions(
      const std::vector<int32_t> &ids, int64_t count,
      const std::function<Status(const TokenDistribution &)> &onPosition,
      const std::function<bool()> &shouldCancel = nullptr);

private:
  Engine() = default;
  Status build(const EngineOptions &options);

  std::shared_ptr<const Program> loaded;
  std::shared_ptr<const Tokenizer> text;
  EngineOptions limits;
  int64_t context = 0;
  std::unique_ptr<StepProgram> stepProgram;
  std::unique_ptr<SequenceProgram> sequenceProgram;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<KVPool> pages;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<Scheduler> scheduler;
};

} // namespace chorus::rt

#endif // CHORUS_RT_ENGINE_H
