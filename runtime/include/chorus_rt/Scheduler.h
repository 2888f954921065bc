//===- Scheduler.h - Fills each step with rows of many requests -*- C++ -*-===//
//
// The unit of work is a branch: a sequence together with the candidates of one
// request whose tokens so far are equal. What a sequence has not computed yet
// is pending: a prompt, the last token, a few forced tokens, or all of them
// after its pages were given away. When nothing is pending, each candidate gets
// its next token from the branch's last row of logits, and those that differ
// part: the branch forks. Equal histories give equal bits, and so do all ways
// to fill a step.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SCHEDULER_H
#define CHORUS_RT_SCHEDULER_H

#include "chorus_rt/Artifact.h"
#include "chorus_rt/Decoder.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/PrefixCache.h"
#include "chorus_rt/ScratchBuffer.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/ThreadPool.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace chorus::rt {

struct GenerationRules;
class RequestState;

struct SchedulerOptions {
  /// Branches that run at once; further ones wait.
  int64_t maxBatch = 256;
  /// Rows of prompts in a step at most.
  int64_t prefillChunk = 512;
  /// Positions of a sequence at most, prompt and generated tokens together.
  int64_t contextLength = 0;
  /// Ids that end a candidate, ascending.
  std::vector<int32_t> stopIds;
  /// The model's, for requests that want values.
  std::optional<ValueHeadInfo> valueHead;
  /// Whether candidates stay one branch while their tokens are equal. Otherwise
  /// they part at the first token.
  bool lateFork = true;
  /// Pages of finished prompts to keep, a quarter of all at most; 0: none.
  int64_t prefixPages = INT64_MAX;
};

/// Runs requests over one decoder. Not thread safe.
class Scheduler {
public:
  /// All outlive the scheduler. `tokenBytes` is empty for a model without
  /// tokenizer: then there is no text and no stop string.
  Scheduler(Decoder &decoder, const Sampler &sampler, ThreadPool &threads,
            TokenBytes tokenBytes, SchedulerOptions options);
  ~Scheduler();

  /// Usage errors for parameters out of range and a prompt that is empty or
  /// longer than the context.
  Status check(const Request &request) const;

  /// Pages that one candidate of the request takes at its end.
  int64_t pagesNeeded(const Request &request) const;

  /// Takes a request; any number may wait. Returns its number. Errors:
  /// check()'s and those of stop strings; N09 (exit 4) if not even one
  /// candidate of the request fits into the cache.
  StatusOr<int64_t> submit(Request request, RequestHooks hooks = {});

  /// Whether nothing is left to do.
  bool idle() const { return branches.empty(); }

  /// Takes one step: the rows of each branch that only decodes, and a chunk of
  /// the oldest prompts. An error is one of the machine (memory) or of a
  /// callback; only cancelAll() is of use after it.
  Status step();

  /// Of a request that has not been taken.
  GenerationProgress progress(int64_t request) const;

  /// Whether the request's result can be taken.
  bool isFinished(int64_t request) const;

  /// A candidate (by its place in the request) that has finished, of a request
  /// that has not been taken; null while it is under way.
  const Candidate *finishedCandidate(int64_t request, size_t place) const;

  /// A request that has finished since; each is told once.
  std::optional<int64_t> nextFinished();

  /// Hands over a finished request's result, once. Not for hooks.
  Generation take(int64_t request);

  /// Ends what is unfinished of all requests, of one, or one candidate (by its
  /// index) as Cancelled. Pages are back at once, or, when a callback calls
  /// this, at the end of the step. Unknown and finished ones are left alone.
  void cancelAll();
  void cancel(int64_t request);
  void cancel(int64_t request, int64_t candidate);

  /// Pages that only the prefix cache holds are given back until `count` are
  /// free, as far as there are any.
  void makeRoom(int64_t count);

  /// Pages that the prefix cache holds.
  int64_t prefixPages() const { return prefixes ? prefixes->pages() : 0; }

private:
  struct Branch;
  struct Draw;
  using Branches = std::vector<std::unique_ptr<Branch>>;

  // Who runs.
  void chooseRunning();
  bool reserve(Branch &branch, int64_t &freePages);
  int64_t freePages() const;
  void takePrefix(Branch &branch);

  // One step of those that run.
  std::vector<Branch *> chooseRows(std::vector<SequenceRows> &batch);
  void keepPrefixes(const std::vector<Branch *> &chosen,
                    const std::vector<SequenceRows> &batch);
  Status advance(const std::vector<Branch *> &ended);
  void drawTokens(std::vector<Draw> &draws);
  SampledToken located(const Draw &draw) const;
  void fork(Branch &branch);
  void insertForks();
  void removeFinished();

  RequestState *find(int64_t request) const;

  Decoder &decoder;
  const Sampler &sampler;
  ThreadPool &threads;
  SchedulerOptions options;
  std::unique_ptr<const GenerationRules> rules;
  /// Null: none.
  std::unique_ptr<PrefixCache> prefixes;

  int64_t nextRequest = 0;
  bool inStep = false;
  /// By number, until take().
  std::map<int64_t, std::unique_ptr<RequestState>> requests;
  /// By request, then in the order of the tree: a fork stands behind the branch
  /// that it left, so that neighbours share most pages.
  Branches branches;
  ScratchBuffer logits;
  std::vector<float> logSumExp;
};

} // namespace chorus::rt

#endif // CHORUS_RT_SCHEDULER_H
