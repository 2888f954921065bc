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

/// One prompt and how many candidates to sample from it.
struct Request {
  /// Most candidates of one request.
  static constexpr int64_t maxCandidates = 65536;

  std::string id = "0";
  std::vector<int32_t> prompt;
  /// Candidates are firstCandidate .. firstCandidate + candidates - 1; a
  /// candidate's tokens depend on its own index only.
  int64_t firstCandidate = 0;
  int64_t candidates = 1;
  /// Tokens per candidate; fewer where the context ends.
  int64_t maxTokens = 256;
  SamplingParameters sampling;
  /// Texts that end a candidate.
  std::vector<std::string> stop;
  /// Goes on after the model's stop tokens.
  bool ignoreEos = false;
};

enum class FinishReason {
  Stop,       ///< A stop token of the model.
  StopString, ///< A stop string of the request.
  Length,     ///< maxTokens, or the end of the context.
  Cancelled,
  Error, ///< Candidate::error says why.
};

/// "stop", "stop_string", "length", "cancelled", "error".
std::string_view finishReasonName(FinishReason reason);

/// One sampled continuation.
struct Candidate {
  int64_t index = 0;
  /// All sampled tokens, stop token and those of a stop string included, and
  /// their log-probabilities under the unmodified model.
  std::vector<int32_t> tokenIds;
  std::vector<float> logprobs;
  /// What stands before a stop token or stop string; valid UTF-8. Empty for a
  /// model without tokenizer.
  std::string text;
  FinishReason finishReason = FinishReason::Length;
  Status error;

  /// Mean of the log-probabilities, summed in f64; 0 without tokens.
  double meanLogprob() const;
};

/// What a request has become.
struct Generation {
  std::vector<Candidate> candidates; ///< In rising index.
  /// Times since submission, for figures of speed.
  std::chrono::steady_clock::duration
      promptTime{}; ///< Last prompt token's logits.
  std::chrono::steady_clock::duration firstTokens{}; ///< First token is known.
  std::chrono::steady_clock::duration total{};
};

/// A token that has just been sampled.
struct TokenEvent {
  int64_t candidate = 0;
  int32_t tokenId = -1;
  float logprob = 0;
  /// Text that has become certain; adds up to Candidate::text.
  std::string_view textDelta;
  bool last = false;
};

/// Called on the thread that runs the scheduler, in rising candidate within a
/// step. An error ends the generation.
using TokenCallback = std::function<Status(const TokenEvent &)>;

/// The bytes that a token adds to a text; empty for control tokens.
using TokenBytes = std::function<std::string_view(int32_t token)>;

} // namespace chorus::rt

#endif // CHORUS_RT_GENERATION_H
