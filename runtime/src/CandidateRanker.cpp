//===- CandidateRanker.cpp - Scores and ranks of a request ----------------===//

#include "chorus_rt/CandidateRanker.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace chorus::rt {

StatusOr<CandidateRanker> CandidateRanker::create(Engine &engine,
                                                  RankOptions options) {
  CandidateRanker ranker(std::move(options));
  if (ranker.options.answerPattern) {
    StatusOr<AnswerRule> answers =
        AnswerRule::fromPattern(*ranker.options.answerPattern);
    CHORUS_RETURN_IF_ERROR(answers.status());
    ranker.answers = std::move(*answers);
  }
  if (needsVerifier(ranker.options.rule))
    CHORUS_RETURN_IF_ERROR(ranker.loadVerifier(engine));
  return ranker;
}

Status CandidateRanker::loadVerifier(Engine &generator) {
  const std::shared_ptr<const Artifact> &artifact =
      generator.program().sharedArtifact();
  if (artifact->metadata().valueHead) {
    if (options.judges.judges != 1)
      return usageError("judges is " + std::to_string(options.judges.judges) +
                        ", and the artifact's verifier is a value head, which "
                        "reads no template");
    readsValues = true;
    return Status();
  }
  const std::optional<VerifierInfo> &info = artifact->metadata().verifier;
  if (!info)
    return usageError("rank " + std::string(rankRuleName(options.rule)) +
                      " needs a verifier, and the artifact has none; "
                      "chorus-compile --verifier or --value-head adds one");
  Engine *engine = &generator;
  if (info->model != 0) {
    // The generator's context is none of the verifier's.
    EngineOptions engineOptions = generator.options();
    engineOptions.contextLength = 0;
    StatusOr<std::unique_ptr<Engine>> created =
        Engine::open(artifact, info->model, generator.program().code().target,
                     engineOptions);
    CHORUS_RETURN_IF_ERROR(created.status());
    verifierEngine = std::move(*created);
    engine = verifierEngine.get();
  }
  StatusOr<Judge> created =
      Judge::create(*engine, info->templateText, info->score, options.judges);
  CHORUS_RETURN_IF_ERROR(created.status());
  judge.emplace(std::move(*created));
  return Status();
}

/// Why the candidate has no score.
static void setError(CandidateRanking &candidate, const Status &reason) {
  candidate.error =
      Status::error(ExitCode::SomeRecordsFailed, reason.code(),
                    "candidate " + std::to_string(candidate.candidate) +
                        (reason.place().empty() ? "" : ": " + reason.place()),
                    reason.message());
}

static Status noScore(const char *place, const char *reason) {
  return Status::error(ExitCode::SomeRecordsFailed, "N08", place, reason);
}

/// Asks the verifier about all candidates that have a result.
Status CandidateRanker::askJudge(Judge &verifier,
                                 const std::vector<Candidate> &candidates,
                                 const nlohmann::ordered_json &messages,
                                 Ranking &ranking) const {
  for (CandidateRanking &candidate : ranking.candidates) {
    candidate.verifierName = "verifier";
    if (messages.empty() && candidate.error.ok())
      setError(candidate, noScore("verifier", "a prompt of token ids has no "
                                              "question that it could see"));
  }
  if (messages.empty())
    return Status();
  std::vector<std::string> texts;
  std::vector<size_t> places;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (candidates[i].finishReason != FinishReason::Error) {
      texts.push_back(candidates[i].text);
      places.push_back(i);
    }
  StatusOr<std::vector<StatusOr<double>>> scores =
      verifier.score(messages, texts, options.shouldCancel);
  CHORUS_RETURN_IF_ERROR(scores.status());
  if (scores->size() != texts.size())
    return Status::error(ExitCode::SomeRecordsFailed, "cancelled", "verifier",
                         "cancelled");
  for (size_t i = 0; i < scores->size(); ++i) {
    CandidateRanking &candidate = ranking.candidates[places[i]];
    StatusOr<double> &score = (*scores)[i];
    if (score.ok())
      candidate.verifier = *score;
    else
      setError(candidate, score.status());
  }
  return Status();
}

/// A candidate's score is the value after its last token.
static void takeValue(const Candidate &candidate, CandidateRanking &ranking) {
  ranking.verifierName = "value";
  if (candidate.finishReason == FinishReason::Error)
    return;
  if (candidate.values.empty() ||
      candidate.values.size() != candidate.tokenIds.size())
    setError(ranking, noScore("value head", "the candidate has no last token "
                                            "with a value"));
  else
    ranking.verifier = candidate.values.back();
}

StatusOr<int64_t>
CandidateRanker::countCorrect(const std::vector<CandidateRanking> &candidates,
                              const std::string &reference) const {
  StatusOr<std::string> expected = answers.reference(reference);
  CHORUS_RETURN_IF_ERROR(expected.status());
  return std::count_if(
      candidates.begin(), candidates.end(),
      [&](const auto &candidate) { return candidate.answer == *expected; });
}

Status CandidateRanker::addPassAtK(const std::string &reference,
                                   Ranking &ranking) const {
  StatusOr<int64_t> correct = countCorrect(ranking.candidates, reference);
  CHORUS_RETURN_IF_ERROR(correct.status());
  int64_t total = static_cast<int64_t>(ranking.candidates.size());
  std::vector<int64_t> wanted = options.passAt;
  if (wanted.empty())
    wanted = {1, total};
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  for (int64_t k : wanted)
    if (k <= total)
      ranking.passAtK.emplace_back(k, passAtK(total, *correct, k));
  return Status();
}

StatusOr<Ranking>
CandidateRanker::rank(const std::vector<Candidate> &candidates,
                      const nlohmann::ordered_json &messages,
                      const std::optional<std::string> &reference) {
  Ranking ranking;
  for (const Candidate &candidate : candidates)
    ranking.candidates.push_back(rankingOf(candidate, answers));
  if (judge)
    CHORUS_RETURN_IF_ERROR(askJudge(*judge, candidates, messages, ranking));
  if (readsValues)
    for (size_t i = 0; i < candidates.size(); ++i)
      takeValue(candidates[i], ranking.candidates[i]);
  ranking.votes = rankCandidates(ranking.candidates, options.rule);
  if (reference)
    CHORUS_RETURN_IF_ERROR(addPassAtK(*reference, ranking));
  for (const CandidateRanking &candidate : ranking.candidates)
    if (ranking.failure.ok())
      ranking.failure = candidate.error;
  return ranking;
}

Ranking rankByMeanLogprob(const std::vector<Candidate> &candidates) {
  Ranking ranking;
  for (const Candidate &candidate : candidates)
    ranking.candidates.push_back(rankingOf(candidate, AnswerRule()));
  ranking.votes = rankCandidates(ranking.candidates, RankRule::MeanLogprob);
  return ranking;
}

Ranking rankBeams(const BeamResults &beams) {
  Ranking ranking;
  for (size_t i = 0; i < beams.candidates.size(); ++i) {
    ranking.candidates.push_back(rankingOf(beams.candidates[i], AnswerRule()));
    ranking.candidates.back().beam = beams.scores[i];
  }
  ranking.votes = rankCandidates(ranking.candidates, RankRule::Beam);
  return ranking;
}

} // namespace chorus::rt
