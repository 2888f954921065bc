//===- Ranker.h - Votes, and the order of candidates ------------*- C++ -*-===//
//
// Everything here is a function of the set of candidates: the order in which
// their scores arrive changes nothing.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_RANKER_H
#define CHORUS_RT_RANKER_H

#include "chorus_rt/Generation.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// Rank of each candidate, from 1: higher mean log-probability first, lower
/// index on a tie. Candidates that ended in an error, and those without tokens,
/// come last.
std::vector<int64_t>
rankByMeanLogprob(const std::vector<Candidate> &candidates);

/// What decides the order; see CandidateRanking.
enum class RankRule { MeanLogprob, Vote, Verifier, WeightedVote };

/// "mean-logprob", "vote", "verifier", "weighted-vote"; nothing for another
/// name.
std::optional<RankRule> findRankRule(std::string_view name);

/// Whether the rule needs scores of a verifier.
inline bool needsVerifier(RankRule rule) {
  return rule == RankRule::Verifier || rule == RankRule::WeightedVote;
}

/// One candidate's scores. Whoever ranks fills in the first part; a score that
/// could not be computed is absent, and `error` says why.
struct CandidateRanking {
  int64_t candidate = 0; ///< Its index.
  std::optional<double> meanLogprob;
  std::optional<std::string> answer; ///< Absent: no vote.
  std::optional<double> verifier;
  Status error;

  /// Candidates with the same answer.
  std::optional<int64_t> votes;
  /// The sum of their verifier's scores. Absent without such a score.
  std::optional<double> weightedVotes;
  int64_t rank = 0; ///< From 1.
};

/// An answer and the candidates that gave it.
struct Vote {
  std::string answer;
  int64_t count = 0;
  /// The sum of the verifier's scores; `count` where no verifier was asked.
  double weight = 0;
};

/// Fills in votes and ranks and returns the votes, most by the rule's measure
/// first, then most by the other, then by answer in order of its bytes.
/// Candidates go by the rule's score, then mean log-probability, then index;
/// those without a score come last. A verifier's score that is not finite, or
/// that is negative where it weighs votes, is an error of that candidate (N08)
/// and is taken away.
std::vector<Vote> rankCandidates(std::vector<CandidateRanking> &candidates,
                                 RankRule rule);

/// The unbiased estimate of the chance that at least one of `k` candidates is
/// correct, from `total` of which `correct` are: 1 - C(total - correct, k) /
/// C(total, k). 1 <= k <= total. Source: Chen et al., "Evaluating Large
/// Language Models Trained on Code", 2021.
double passAtK(int64_t total, int64_t correct, int64_t k);

} // namespace chorus::rt

#endif // CHORUS_RT_RANKER_H
