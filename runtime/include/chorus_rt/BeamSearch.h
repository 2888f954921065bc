//===- BeamSearch.h - The likeliest continuations ---------------*- C++ -*-===//

#ifndef CHORUS_RT_BEAMSEARCH_H
#define CHORUS_RT_BEAMSEARCH_H

#include "chorus_rt/Decoder.h"
#include "chorus_rt/ScalarFunctions.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/ThreadPool.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace chorus::rt {

/// What the sum of log-probabilities is divided by, for `length` tokens and a
/// penalty a.
enum class LengthForm {
  GNMT,  ///< ((5 + length) / 6)^a. Source: Wu et al., "Google's Neural Machine
         ///< Translation System", 2016.
  Power, ///< length^a.
};

struct BeamOptions {
  /// Unfinished continuations that are kept, and results. 1 to 1024.
  int64_t beams = 4;
  double lengthPenalty = 0; ///< 0 to 10.
  LengthForm lengthForm = LengthForm::GNMT;

  /// Usage error that names the field and its range.
  Status validate() const;
};

/// One search.
struct BeamTask {
  std::vector<int32_t> prompt;  ///< Not empty.
  int64_t maxTokens = 0;        ///< Room for them is the caller's to check.
  std::vector<int32_t> stopIds; ///< Tokens that end a continuation, ascending.
  int64_t prefillChunk = 512;
  BeamOptions options;
  /// Asked before each step; true ends the search without results. May be
  /// empty.
  std::function<bool()> shouldCancel;
};

/// A continuation.
struct Beam {
  /// With the stop token, if it has one.
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  double sumLogprob = 0;
  double score = 0; ///< sumLogprob / penalty.
  bool stopped = false;
};

/// Returns the finished continuations, best first, at most `beams`.
///
/// Each step extends all unfinished beams by all tokens and takes the 2 * beams
/// best sums (ties: the better beam, then the lower token). Of these, the ones
/// that end in a stop token, and at maxTokens all, join the finished ones,
/// which keep the `beams` best scores; the first `beams` others go on. It ends
/// early when no unfinished sum, divided by the penalty of maxTokens, is above
/// the worst of as many finished scores.
///
/// Errors: N01 (exit 1) where the model gives NaN, and the decoder's.
StatusOr<std::vector<Beam>> beamSearch(Decoder &decoder, ThreadPool &threads,
                                       const BeamTask &task,
                                       const ScalarFunctions &functions);

} // namespace chorus::rt

#endif // CHORUS_RT_BEAMSEARCH_H
