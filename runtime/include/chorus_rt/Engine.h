//===- Engine.h - Answers requests with a loaded model ----------*- C++ -*-===//
//
// Threads, cache, sampler and scheduler around one Program: what a tool, a
// server or a C API drives.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_ENGINE_H
#define CHORUS_RT_ENGINE_H

#include "chorus_rt/BeamSearch.h"
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
#include <optional>
#include <vector>

namespace chorus::rt {

/// Whether sequences attend together to pages that they share: where the code
/// finds it worthwhile, wherever two of them share one, or never.
enum class SharedAttention : uint8_t { Auto, On, Off };

/// Nothing here changes a bit of a result.
struct EngineOptions {
  int threads = 0; ///< 0: as many as cores that the process may use.
  int64_t prefillChunk = 512;
  int64_t maxBatch = 256;
  int64_t contextLength = 0; ///< 0: the model's.
  uint64_t maxMemory = 0;    ///< Bytes; 0: what the machine has.
  /// Candidates share rows while their tokens are equal.
  bool lateFork = true;
  SharedAttention sharedAttention = SharedAttention::Auto;
  /// Pages of prompts are kept for later requests.
  bool prefixCache = true;

  /// Usage error that names the option and its range.
  Status validate() const;
};

/// What the caller of generate() wants to know or decide in between. All may be
/// empty.
struct GenerationHooks : RequestHooks {
  /// After each step.
  std::function<void(const GenerationProgress &)> onStep;
  /// Asked before each step; true ends the generation, its unfinished
  /// candidates are Cancelled.
  std::function<bool()> shouldCancel;
};

/// What a beam search found.
struct BeamResults {
  std::vector<Candidate> candidates; ///< Best first, numbered from 0.
  std::vector<double> scores;        ///< Theirs.
};

/// The distribution of the token after one of a given text.
struct TokenDistribution {
  int64_t position = 0; ///< Of the token that was read, from 0.
  /// Likeliest first, ties by lower id.
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
};

/// One model, ready to run. Not thread safe: one call at a time. Requests are
/// submitted and taken when they have finished, or run one by one with
/// generate().
class Engine {
public:
  /// `program` and `tokenizer` are kept; a model without tokenizer has null.
  /// Errors: `unsupported` for a model that does not map tokens to logits,
  /// usage for options out of range, exit 4 if memory can't be had.
  static StatusOr<std::unique_ptr<Engine>>
  create(std::shared_ptr<const Program> program,
         std::shared_ptr<const Tokenizer> tokenizer,
         const EngineOptions &options);
  /// The same for a model of an artifact, with its tokenizer and the code that
  /// `cpu` names. Also errors of Program::load and Tokenizer::create.
  static StatusOr<std::unique_ptr<Engine>>
  open(std::shared_ptr<const Artifact> artifact, size_t model,
       std::string_view cpu, const EngineOptions &options);
  ~Engine();

  const Program &program() const { return *loaded; }
  const Tokenizer *tokenizer() const { return text.get(); }
  int64_t contextLength() const { return context; }
  const EngineOptions &options() const { return limits; }
  ThreadPool &threads() { return *pool; }
  DecoderCounters counters() const { return decoder->counters(); }

  /// Bytes that it takes to run the request: weights, scratch memory and logits
  /// of full steps, and the cache of one candidate. `request` is valid. What is
  /// allowed beyond that holds pages of more candidates at once; the others
  /// wait.
  uint64_t memoryNeeded(const Request &request) const;

  /// Takes a request, of which any number may be under way, and returns its
  /// number. Errors: those of Scheduler::submit, and exit 4 when memoryNeeded
  /// is more than is allowed. What happens to single candidates stands in their
  /// results.
  StatusOr<int64_t> submit(Request request, RequestHooks hooks = {});

  /// One candidate with the model's own sampling defaults, no prompt yet.
  Request defaultRequest() const;

  /// Whether no request is under way.
  bool idle() const { return scheduler->idle(); }

  /// Works on all requests for one step, a fraction of a second. After an
  /// error, of the machine or of a hook, all requests are cancelled.
  Status step();

  /// A request that has finished, each told once; the oldest first.
  std::optional<int64_t> nextFinished() { return scheduler->nextFinished(); }

  /// Whether the request's result can be taken.
  bool isFinished(int64_t request) const {
    return scheduler->isFinished(request);
  }

  /// Hands over a finished request's result, once. Its number means nothing
  /// after that. Not for hooks.
  Generation take(int64_t request) { return scheduler->take(request); }

  /// Of a request that has not been taken.
  GenerationProgress progress(int64_t request) const {
    return scheduler->progress(request);
  }

  /// A candidate (by its place in the request) that has finished, of a request
  /// that has not been taken; null while it is under way.
  const Candidate *finishedCandidate(int64_t request, size_t place) const {
    return scheduler->finishedCandidate(request, place);
  }

  /// Ends a request, or one candidate (by its index), as Cancelled. Its pages
  /// are back within a step.
  void cancel(int64_t request) { scheduler->cancel(request); }
  void cancel(int64_t request, int64_t candidate) {
    scheduler->cancel(request, candidate);
  }

  /// Submits one request and takes steps until it has finished. Errors: those
  /// of submit() and step().
  StatusOr<Generation> generate(const Request &request,
                                const GenerationHooks &hooks = {});

  /// The likeliest continuations of a prompt; of the request, `prompt`,
  /// `maxTokens` and `ignoreEos` count. The engine is idle. Errors: as
  /// submit(), N09 (exit 4) if the beams do not fit into the cache, and those
  /// of beamSearch(). `shouldCancel` as in GenerationHooks; the result is then
  /// empty.
  StatusOr<BeamResults>
  beamSearch(const Request &request, const BeamOptions &options,
             const std::function<bool()> &shouldCancel = nullptr);

  /// Reads `ids` and gives, for each position, the `count` likeliest next
  /// tokens (all, if the vocabulary has fewer). The engine is idle. Errors: as
  /// submit(), N01 (exit 1) where the model gives NaN, and those of
  /// `onPosition`.
  /// `shouldCancel` as in GenerationHooks; the result is then Ok and cut.
  Status distributions(
      const std::vector<int32_t> &ids, int64_t count,
      const std::function<Status(const TokenDistribution &)> &onPosition,
      const std::function<bool()> &shouldCancel = nullptr);

private:
  Engine() = default;
  Status build(const EngineOptions &options);
  Status buildPages();
  uint64_t memoryWithoutPages(uint64_t arenaBytes, int64_t logitsRows) const;
  uint64_t memoryOfSteps() const;
  Candidate candidateOf(const Beam &beam, int64_t index) const;

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

/// The tokenizer of a model; null if it has none. Errors: Tokenizer::create's.
StatusOr<std::shared_ptr<const Tokenizer>>
loadTokenizer(const Artifact &artifact, const ModelInfo &model);

} // namespace chorus::rt

#endif // CHORUS_RT_ENGINE_H
