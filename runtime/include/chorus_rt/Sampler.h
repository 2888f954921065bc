//===- Sampler.h - From logits to one token ---------------------*- C++ -*-===//
//
// Stages, in this order: allowed-token mask, logit bias, penalties,
// temperature, top-k, top-p, min-p, draw. From the temperature on they work on
// masses, the integers floor(exp((logit - max) / temperature) * 2^40), whose
// sums depend on no order; all comparisons with top-p and min-p are exact in
// 128-bit integers. The choice is the first id, in rising order, whose running
// mass exceeds floor(u * total).
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SAMPLER_H
#define CHORUS_RT_SAMPLER_H

#include "chorus_rt/Status.h"
#include "chorus_rt/step_abi.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace chorus::rt {

/// How the tokens of a request are chosen. The defaults leave the model's
/// distribution as it is.
struct SamplingParameters {
  uint64_t seed = 0;
  /// Only these may be chosen; ids in rising order, each once. Empty: all.
  std::vector<int32_t> allowedTokens;
  /// 0: the most likely token, the lowest id on a tie.
  double temperature = 1;
  /// Keeps the k largest logits and all that equal the k-th; 0: all.
  int64_t topK = 0;
  /// Keeps, in falling mass and lower id first, each token before which at most
  /// this share of the mass lies; 1: all.
  double topP = 1;
  /// Keeps tokens of at least this share of the largest mass; 0: all.
  double minP = 0;
  /// Divides positive and multiplies negative logits of tokens that occur in
  /// the prompt or the generated text; 1: off.
  double repetitionPenalty = 1;
  /// Subtracted from logits of generated tokens: once, and per occurrence.
  double presencePenalty = 0;
  double frequencyPenalty = 0;
  /// Added to logits; ids in rising order, each once.
  std::vector<std::pair<int32_t, float>> logitBias;
  /// Stop tokens are masked until this many tokens are generated.
  int64_t minTokens = 0;

  /// Usage error that names the field and its range. `vocabSize` bounds the
  /// ids of `allowedTokens` and `logitBias`.
  Status validate(int64_t vocabSize) const;
};

/// The smallest temperature apart from 0, and the largest.
inline constexpr double minTemperature = 0.001;
inline constexpr double maxTemperature = 1000;

/// Tokens that one candidate has generated, with their counts: what presence
/// and frequency penalties look at.
class TokenCounts {
public:
  void add(int32_t token);
  /// (id, count) in rising id.
  const std::vector<std::pair<int32_t, int32_t>> &counts() const {
    return entries;
  }

private:
  std::vector<std::pair<int32_t, int32_t>> entries;
};

/// One row of logits and what decides its token.
struct SamplerRow {
  const float *logits = nullptr; ///< [vocab], of the unmodified model.
  float logSumExp = 0;           ///< Of the same row.
  const SamplingParameters *parameters = nullptr;
  /// Distinct tokens of the prompt in rising order, for the repetition penalty.
  const std::vector<int32_t> *promptTokens = nullptr;
  const TokenCounts *generated = nullptr; ///< Null: none.
  /// Ids that must not be chosen now (stop tokens before min-tokens).
  const std::vector<int32_t> *masked = nullptr;
  uint32_t random24 = 0; ///< uniform24() of this candidate and token.
};

/// The chosen token, or why there is none.
struct SampledToken {
  int32_t id = -1;
  /// logit - logSumExp in f32, of the unmodified model.
  float logprob = 0;
  /// N01: a logit is NaN or +infinity; N02: every token is masked.
  Status status;
};

/// Chooses tokens for rows of one vocabulary. All const members may run at the
/// same time; scratch memory (16 bytes a column) is kept for as many calls as
/// run at once.
class Sampler {
public:
  /// Columns at most, so that the sum of all masses stays below 2^63.
  static constexpr int64_t maxVocab = (int64_t(1) << 23) - 1;

  /// `masses` and `sums`: chorus_sampling_masses and chorus_sampling_sums of
  /// the model's code; without `sums` they are taken from masses.
  Sampler(int64_t vocabSize, chorus_sampling_masses_fn masses,
          chorus_sampling_sums_fn sums = nullptr);
  ~Sampler();

  SampledToken sample(const SamplerRow &row) const;

  /// Logits and removed tokens after each stage, for tests of the stages: the
  /// masses that remain before the draw, 0 for a removed token.
  Status remainingMasses(const SamplerRow &row,
                         std::vector<uint64_t> &masses) const;

  /// The `count` likeliest tokens of a row, likeliest first, ties by lower id:
  /// the log-probabilities logit - logSumExp in f32.
  static void likeliest(const float *logits, int64_t vocabSize, float logSumExp,
                        int64_t count, std::vector<int32_t> &ids,
                        std::vector<float> &logprobs);

private:
  struct Scratch;
  struct Selection;
  class ScratchLease;

  SampledToken sampleWith(Scratch &scratch, const SamplerRow &row) const;
  const float *adjustLogits(Scratch &scratch, const SamplerRow &row) const;
  Status select(Scratch &scratch, const SamplerRow &row, const float *logits,
                Selection &selection) const;
  uint64_t sumBlocks(Scratch &scratch, const float *logits, float max,
                     float inverseTemperature) const;
  uint64_t gatherMasses(Scratch &scratch, const float *logits, float max,
                        float inverseTemperature, uint64_t bound) const;
  int32_t drawFromAll(Scratch &scratch, const float *logits, float max,
                      float inverseTemperature, uint32_t random24) const;

  int64_t vocab;
  chorus_sampling_masses_fn massesOf;
  chorus_sampling_sums_fn sumsOf;
  mutable std::mutex scratchMutex;
  mutable std::unique_ptr<Scratch> freeScratch; ///< A linked list.
};

/// floor(fraction * value), exactly. `fraction` in [0, 1].
uint64_t scaleDown(double fraction, uint64_t value);
/// ceil(fraction * value), exactly.
uint64_t scaleUp(double fraction, uint64_t value);

} // namespace chorus::rt

#endif // CHORUS_RT_SAMPLER_H
