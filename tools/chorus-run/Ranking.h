//===- Ranking.h - Scores and order of candidates ---------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_RANKING_H
#define CHORUS_TOOLS_CHORUS_RUN_RANKING_H

#include "Options.h"

#include "chorus_rt/Answer.h"
#include "chorus_rt/Engine.h"
#include "chorus_rt/Journal.h"
#include "chorus_rt/Judge.h"
#include "chorus_rt/Ranker.h"

#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace chorus::run {

/// A request's candidates with their scores and ranks.
struct Ranking {
  std::vector<rt::CandidateRanking> candidates; ///< In candidate order.
  std::vector<rt::Vote> votes;
  /// (k, pass@k), where there is a reference answer.
  std::vector<std::pair<int64_t, double>> passAtK;
  /// The first error of a candidate or its scoring.
  rt::Status failure;
};

/// Ranks as --rank, --answer-pattern, --judges and --pass-at say.
class CandidateRanker {
public:
  /// `engine`, the generator's, outlives the ranker. Loads the artifact's
  /// verifier if --rank needs one. Errors: usage for a bad pattern and for an
  /// artifact without verifier, those of Program, Engine and Judge.
  static rt::StatusOr<std::unique_ptr<CandidateRanker>>
  create(rt::Engine &engine, const Options &options);

  /// `messages`: what a verifier's template sees. `reference`: the right
  /// answer. An error ends the run; what is wrong with single candidates
  /// stands in the result.
  rt::StatusOr<Ranking>
  rank(const std::vector<rt::Candidate> &candidates,
       const nlohmann::ordered_json &messages,
       const std::optional<std::string> &reference = std::nullopt);

  /// What the ranking depends on besides artifact and candidates.
  rt::JournalFingerprint fingerprint() const;

private:
  explicit CandidateRanker(const Options &options) : options(options) {}
  rt::Status loadVerifier(rt::Engine &generator);
  static rt::Status judge(rt::Judge &verifier,
                          const std::vector<rt::Candidate> &candidates,
                          const nlohmann::ordered_json &messages,
                          Ranking &ranking);
  rt::Status addPassAtK(const std::string &reference, Ranking &ranking) const;

  const Options &options;
  rt::RankRule rule = rt::RankRule::MeanLogprob;
  rt::AnswerRule answers;
  /// Null where the generator itself is the verifier, or none is needed.
  std::unique_ptr<rt::Engine> verifierEngine;
  std::optional<rt::Judge> verifierJudge;
};

/// The order of candidates without any choice.
Ranking rankByMeanLogprob(const std::vector<rt::Candidate> &candidates);

/// The order of a beam search's results.
Ranking rankBeams(const rt::BeamResults &beams);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_RANKING_H
