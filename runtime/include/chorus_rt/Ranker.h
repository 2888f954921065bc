//===- Ranker.h - Votes, and the order of candidates ------------*- C++ -*-===//
//
// Everything here is a function of the set of candidates: the order in which
// their scores arrive changes nothing.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_RANKER_H
#define CHORUS_RT_RANKER_H

#include "chorus_rt/Answer.h"
#include "chorus_rt/Generation.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// What decides the order; see CandidateRanking.
enum class RankRule { MeanLogprob, Vote, Verifier, WeightedVote, Beam };

/// "mean-logprob", "vote", "verifier", "weighted-vote"; nothing for another
/// name. The scores of beams belong to their search.
std::optional<RankRule> findRankRule(std::string_view name);

/// The name for which findRankRule() gives the rule; "beam" for beams.
std::string_view rankRuleName(RankRule rule);

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
  /// What a verifier's score is called in records, "verifier" or "value" (of a
  /// value head), and what it said. Empty: none was asked.
  std::string_view verifierName;
  std::optional<double> verifier;
  std::optional<double> beam; ///< Of a beam search.
  Status error;

  /// Candidates with the same answer.
  std::optional<int64_t> votes;
  /// The sum of their verifier's scores. Absent without such a score.
  std::optional<double> weightedVotes;
  int64_t rank = 0; ///< From 1.
};

/// What is known of a candidate by itself. One that ended in an error has no
/// score.
CandidateRanking rankingOf(const Candidate &candidate, const AnswerRule &rule);

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
