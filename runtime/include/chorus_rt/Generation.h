//===- Generation.h - Requests and what comes of them -----------*- C++ -*-===//

#ifndef CHORUS_RT_GENERATION_H
#define CHORUS_RT_GENERATION_H

#include "chorus_rt/Sampler.h"
#include "chorus_rt/Status.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// One prompt and what is wanted of it: candidates, scores, or both.
struct Request {
  /// Most candidates of one request.
  static constexpr int64_t maxCandidates = 65536;

  std::string id = "0";
  std::vector<int32_t> prompt;
  /// Candidates are firstCandidate .. firstCandidate + candidates - 1; a
  /// candidate's tokens depend on its own index only.
  int64_t firstCandidate = 0;
  int64_t candidates = 1; ///< 0 only where `scoredTokens` are wanted.
  /// Tokens whose log-probabilities right after the prompt are wanted.
  std::vector<int32_t> scoredTokens;
  /// Tokens per candidate; fewer where the context ends.
  int64_t maxTokens = 256;
  SamplingParameters sampling;
  /// Texts that end a candidate.
  std::vector<std::string> stop;
  /// Goes on after the model's stop tokens.
  bool ignoreEos = false;
  /// The value head's values after each token are wanted: one more row is
  /// computed for each candidate, that of its last token.
  bool values = false;
  /// GSM8K's calculator writes results into the candidates: Calculator.h.
  bool calculator = false;

  /// Usage error that names the field and its range, for all but the prompt and
  /// the stop strings (StopStrings.h). `vocabSize` bounds token ids.
  Status validate(int64_t vocabSize) const;
};

enum class FinishReason {
  Stop,       ///< A stop token of the model.
  StopString, ///< A stop string of the request.
  Length,     ///< maxTokens, or the end of the context.
  Cancelled,  ///< The text holds what had become certain.
  Error,      ///< Candidate::error says why.
};

/// "stop", "stop_string", "length", "cancelled", "error".
std::string_view finishReasonName(FinishReason reason);

/// One sampled continuation.
struct Candidate {
  int64_t index = 0;
  /// All tokens, forced ones, a stop token and those of a stop string included,
  /// and their log-probabilities under the unmodified model.
  std::vector<int32_t> tokenIds;
  std::vector<float> logprobs;
  /// The value after each token where Request::values asks for it; fewer than
  /// tokens if the candidate was cancelled or ended in an error.
  std::vector<float> values;
  /// Indices of the tokens that were forced, rising.
  std::vector<int32_t> forced;
  /// What stands before a stop token or stop string; valid UTF-8. Empty for a
  /// model without tokenizer.
  std::string text;
  FinishReason finishReason = FinishReason::Length;
  Status error;

  /// Tokens that were drawn, not forced.
  int64_t sampledTokens() const {
    return static_cast<int64_t>(logprobs.size() - forced.size());
  }
  /// Mean of the drawn tokens' log-probabilities, summed in f64; 0 without any.
  double meanLogprob() const;
};

/// What a request has become.
struct Generation {
  std::vector<Candidate> candidates; ///< In rising index.
  /// Of Request::scoredTokens: logit - log-sum-exp in f32. Empty if the request
  /// was cancelled, or for N01 in `scoreError`: a logit is NaN or infinite.
  std::vector<float> scores;
  Status scoreError;
  /// Times since submission, for figures of speed.
  std::chrono::steady_clock::duration
      promptTime{}; ///< Last prompt token's logits.
  std::chrono::steady_clock::duration firstTokens{}; ///< First token is known.
  std::chrono::steady_clock::duration total{};
};

/// A token that a candidate has just got. One that ends in an error, or whose
/// end is not a token, has `tokenId` -1.
struct TokenEvent {
  int64_t candidate = 0;
  int32_t tokenId = -1;
  float logprob = 0;
  bool forced = false;
  /// Text that has become certain; adds up to Candidate::text.
  std::string_view textDelta;
  bool last = false;
};

/// Called on the thread that runs the scheduler, in rising candidate within a
/// step; forced tokens of a step that were waiting for their log-probabilities
/// come before. May submit and cancel. An error ends the run.
using TokenCallback = std::function<Status(const TokenEvent &)>;

/// Asked after each token, save a candidate's last: appends to `next` the
/// tokens that must follow, behind those that are forced already. They are not
/// drawn, count in Request::maxTokens, and may end the candidate like others.
using ForceCallback =
    std::function<Status(const TokenEvent &, std::vector<int32_t> &next)>;

/// What a caller wants to know or decide of a request. All may be empty.
struct RequestHooks {
  TokenCallback onToken = nullptr;
  ForceCallback forceTokens = nullptr;
};

/// Where a request stands.
struct GenerationProgress {
  int64_t promptTokens = 0;
  int64_t promptComputed = 0; ///< Or found in the prefix cache.
  int64_t tokens = 0;         ///< Of all candidates.
  int64_t finished = 0;
  int64_t candidates = 0;
};

/// The bytes that a token adds to a text; empty for control tokens.
using TokenBytes = std::function<std::string_view(int32_t token)>;

} // namespace chorus::rt

#endif // CHORUS_RT_GENERATION_H
