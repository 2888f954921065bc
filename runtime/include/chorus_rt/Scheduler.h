//===- Scheduler.h - Fills each step with rows of many requests -*- C++ -*-===//
//
// A request's prompt is computed once, in chunks. Its candidates then fork and
// run as rows of one batch; a candidate that ends makes room for the next one
// at once. Which rows share a step changes no bit of a result.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SCHEDULER_H
#define CHORUS_RT_SCHEDULER_H

#include "chorus_rt/Decoder.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/ScratchBuffer.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/ThreadPool.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace chorus::rt {

struct SchedulerOptions {
  /// Decode rows in a step at most; further candidates wait.
  int64_t maxBatch = 256;
  /// Prompt rows in a step at most.
  int64_t prefillChunk = 512;
  /// Positions of a sequence at most, prompt and generated tokens together.
  int64_t contextLength = 0;
  /// Ids that end a candidate, ascending.
  std::vector<int32_t> stopIds;
};

/// Runs requests over one decoder. Not thread safe.
class Scheduler {
public:
  /// All outlive the scheduler. `tokenBytes` is empty for a model without
  /// tokenizer: then there is no text and no stop string.
  Scheduler(Decoder &decoder, const Sampler &sampler, ThreadPool &threads,
            TokenBytes tokenBytes, SchedulerOptions options);
  ~Scheduler();

  /// Pages that the request takes when as many of its candidates run at once
  /// as fit into a batch.
  int64_t pagesNeeded(const Request &request) const;

  /// Usage errors for parameters out of range and a prompt that is empty or
  /// longer than the context; N09 (exit 4) if not even one candidate of the
  /// request fits into the cache.
  Status check(const Request &request) const;

  /// Takes a request that check() accepts. Returns its number.
  StatusOr<int64_t> submit(Request request, TokenCallback onToken = nullptr);

  /// Whether nothing is left to do.
  bool idle() const;

  /// Takes one step: a row of each running candidate and a chunk of the oldest
  /// unfinished prompt. An error is one of the machine (memory) or of a
  /// callback; the scheduler is of no use after it.
  Status step();

  /// Tokens of a request's prompt that have been computed.
  int64_t promptComputed(int64_t request) const;

  /// Ends the unfinished candidates of all requests as Cancelled.
  void cancelAll();

  /// Hands over a finished request's result, once.
  Generation take(int64_t request);

private:
  struct Active;
  struct Waiting;

  Status admitCandidates(Waiting &request);
  void startNextRequest();
  Status sampleAndAccept(const std::vector<Active *> &candidates,
                         const std::vector<const float *> &rows,
                         const std::vector<float> &logSumExp);
  Status accept(Active &candidate, const SampledToken &token);
  void retireFinished();
  int64_t tokenLimit(const Request &request) const;
  int64_t pagesOfCandidate(const Request &request) const;

  Decoder &decoder;
  const Sampler &sampler;
  ThreadPool &threads;
  TokenBytes tokenBytes;
  SchedulerOptions options;

  int64_t nextRequest = 0;
  int64_t reservedPages = 0;
  /// Requests in order of arrival, until take().
  std::deque<std::unique_ptr<Waiting>> requests;
  /// Candidates that run, in order of admission.
  std::vector<std::unique_ptr<Active>> active;
  ScratchBuffer logits;
  std::vector<float> logSumExp;
};

} // namespace chorus::rt

#endif // CHORUS_RT_SCHEDULER_H
