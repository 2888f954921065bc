//===- CandidateRanker.h - Scores and ranks of a request --------*- C++ -*-===//
//
// What a request's candidates are asked for their ranks: their answers, and
// where the rule wants one, a verifier of the artifact.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_CANDIDATERANKER_H
#define CHORUS_RT_CANDIDATERANKER_H

#include "chorus_rt/Answer.h"
#include "chorus_rt/Engine.h"
#include "chorus_rt/Judge.h"
#include "chorus_rt/Ranker.h"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace chorus::rt {

struct RankOptions {
  RankRule rule = RankRule::MeanLogprob;
  /// A regular expression that finds a text's answer; without it AnswerRule's
  /// own.
  std::optional<std::string> answerPattern;
  JudgeOptions judges;
  /// The k of pass@k; empty: 1 and the number of candidates.
  std::vector<int64_t> passAt;
  /// Asked between the steps of a verifier; true ends the ranking. May be
  /// empty.
  std::function<bool()> shouldCancel;
};

/// A request's candidates with their scores and ranks.
struct Ranking {
  std::vector<CandidateRanking> candidates; ///< In candidate order.
  std::vector<Vote> votes;
  /// (k, pass@k), where there is a reference answer.
  std::vector<std::pair<int64_t, double>> passAtK;
  /// The first error of a candidate or its scoring.
  Status failure;
};

/// Ranks candidates of one engine's model. Not thread safe, as the engine.
class CandidateRanker {
public:
  /// `engine`, the generator's, outlives the ranker. Makes the artifact's
  /// verifier ready if the rule needs one. Errors: usage for a bad pattern, an
  /// artifact without verifier, and several judges of a value head; those of
  /// Program, Engine and Judge.
  static StatusOr<CandidateRanker> create(Engine &engine, RankOptions options);

  /// Whether the requests to be ranked need Request::values.
  bool needsValues() const { return readsValues; }
  /// Whether a verifier reads a template.
  bool hasJudge() const { return judge.has_value(); }

  /// Whether rank() can use this `reference`. Error `limit` (exit 4) where the
  /// answer pattern takes too long on it.
  Status checkReference(const std::string &reference) const {
    return answers.reference(reference).status();
  }

  /// `messages`: what a verifier's template sees; an empty array where there is
  /// no text. `reference`: the right answer. What is wrong with single
  /// candidates stands in the result. Errors end the run: those of the
  /// verifier's engine, and `cancelled` (exit 1) when shouldCancel says so.
  StatusOr<Ranking>
  rank(const std::vector<Candidate> &candidates,
       const nlohmann::ordered_json &messages,
       const std::optional<std::string> &reference = std::nullopt);

  /// How many of ranked candidates have the right answer, which is found in
  /// `reference` by the rule that finds theirs, or is all of it. Errors:
  /// AnswerRule's.
  StatusOr<int64_t>
  countCorrect(const std::vector<CandidateRanking> &candidates,
               const std::string &reference) const;

private:
  explicit CandidateRanker(RankOptions options) : options(std::move(options)) {}
  Status loadVerifier(Engine &generator);
  Status askJudge(Judge &verifier, const std::vector<Candidate> &candidates,
                  const nlohmann::ordered_json &messages,
                  Ranking &ranking) const;
  Status addPassAtK(const std::string &reference, Ranking &ranking) const;

  RankOptions options;
  AnswerRule answers;
  bool readsValues = false;
  /// Null where the generator itself is the verifier, or none is needed.
  std::unique_ptr<Engine> verifierEngine;
  std::optional<Judge> judge;
};

/// The order of candidates without any choice.
Ranking rankByMeanLogprob(const std::vector<Candidate> &candidates);

/// The order of a beam search's results.
Ranking rankBeams(const BeamResults &beams);

} // namespace chorus::rt

#endif // CHORUS_RT_CANDIDATERANKER_H
