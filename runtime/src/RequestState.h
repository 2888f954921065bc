//===- RequestState.h - A request on its way --------------------*- C++ -*-===//
//
// What a request's candidates have become so far, and what a token does to
// them. Which of them run, and where their pages are, is the Scheduler's.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_REQUESTSTATE_H
#define CHORUS_RT_REQUESTSTATE_H

#include "chorus_rt/Artifact.h"
#include "chorus_rt/Detokenizer.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/StopStrings.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace chorus::rt {

/// The model's side of a generation.
struct GenerationRules {
  int64_t vocabSize = 0;
  /// Positions of a sequence at most, prompt and generated tokens together.
  int64_t contextLength = 0;
  /// Ids that end a candidate, ascending.
  std::vector<int32_t> stopIds;
  /// Empty for a model without tokenizer: no text and no stop string.
  TokenBytes tokenBytes;
  std::optional<ValueHeadInfo> valueHead;
};

/// One candidate on its way.
struct CandidateState {
  CandidateState(Candidate &result, const StopStrings &strings)
      : result(result), stop(strings) {}

  Candidate &result;
  TokenCounts generated;
  StopMatcher stop;
  Detokenizer detokenizer;
  /// Tokens that come next without being drawn.
  std::deque<int32_t> forced;
  /// It has its last token, whose value is still wanted.
  std::optional<FinishReason> ending;
  bool finished = false;
};

/// One request and its candidates. Does not move, for they refer to it.
class RequestState {
public:
  /// Usage errors for what is out of range, whatever room there is.
  static Status check(const Request &request, const GenerationRules &rules);

  /// `request` passes check(); `rules` outlives the state.
  RequestState(int64_t number, Request request, RequestHooks hooks,
               StopStrings stop, const GenerationRules &rules);
  RequestState(const RequestState &) = delete;
  RequestState &operator=(const RequestState &) = delete;

  /// Tokens that a candidate may have: max-tokens and the context allow it.
  static int64_t tokenLimit(const Request &request,
                            const GenerationRules &rules);
  int64_t tokenLimit() const { return limit; }

  /// Positions that are computed on the way to the longest end: all but the
  /// last token, and that one where its value is wanted.
  static int64_t positionsAtEnd(const Request &request,
                                const GenerationRules &rules) {
    return static_cast<int64_t>(request.prompt.size()) +
           std::max<int64_t>(
               tokenLimit(request, rules) - (request.values ? 0 : 1), 0);
  }
  int64_t positionsAtEnd() const { return positionsAtEnd(request, rules); }
  int64_t promptLength() const {
    return static_cast<int64_t>(request.prompt.size());
  }

  /// The candidate's next token, drawn from this row of logits.
  SampledToken draw(const CandidateState &candidate, const float *logits,
                    float logSumExp, const Sampler &sampler) const;

  /// Takes the next forced token of a candidate, which has one, from the queue.
  /// The row of logits gives its log-probability.
  static SampledToken takeForced(CandidateState &candidate, const float *logits,
                                 float logSumExp);

  /// The rows of a candidate's last token are there: notes its value, if it is
  /// wanted, and finishes the candidate where that was all that it waited for.
  void endToken(CandidateState &candidate, const float *logits,
                const std::vector<float> &values, size_t row);

  /// Gives a candidate its next token, or the reason why there is none, and
  /// calls the hooks.
  Status accept(CandidateState &candidate, const SampledToken &token,
                bool forced);

  /// Tokens for the candidate's sequence: its last one, and those forced ones
  /// after which another token may come.
  std::vector<int32_t> nextTokens(const CandidateState &candidate) const;

  /// The logits after the prompt are there.
  void endPrompt(const float *logits, float logSumExp);

  /// Ends a candidate that has its last token, or makes it wait for its value.
  void endWith(CandidateState &candidate, FinishReason reason);
  /// Ends a candidate.
  void finish(CandidateState &candidate, FinishReason reason);
  /// Ends what is unfinished as Cancelled.
  void cancel();

  bool done() const {
    return finishedCandidates == request.candidates && !awaitsScores();
  }
  /// Whether the prompt is computed for its scores.
  bool awaitsScores() const {
    return !request.scoredTokens.empty() && !promptDone && !cancelled;
  }
  GenerationProgress progress() const;

  const int64_t number;
  const Request request;
  Generation generation;
  std::vector<CandidateState> candidates;
  int64_t promptComputed = 0;
  /// Its end has been told to the caller.
  bool reported = false;

private:
  void noteEnd();

  const RequestHooks hooks;
  const StopStrings stop;
  const GenerationRules &rules;
  const int64_t limit;
  /// Distinct tokens of the prompt, rising, for the repetition penalty.
  std::vector<int32_t> promptTokens;
  const std::chrono::steady_clock::time_point submitted;
  int64_t finishedCandidates = 0;
  int64_t tokens = 0;
  bool promptDone = false;
  bool cancelled = false;
};

} // namespace chorus::rt

#endif // CHORUS_RT_REQUESTSTATE_H
