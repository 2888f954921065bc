//===- Ranking.cpp - Scores and order of candidates -----------------------===//

#include "Ranking.h"

#include "Cancellation.h"
#include "Input.h"

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace chorus;
using namespace chorus::run;

rt::StatusOr<std::unique_ptr<CandidateRanker>>
CandidateRanker::create(rt::Engine &engine, const Options &options) {
  std::unique_ptr<CandidateRanker> ranker(new CandidateRanker(options));
  if (options.rank)
    ranker->rule = rt::findRankRule(*options.rank).value_or(ranker->rule);
  if (options.answerPattern) {
    rt::StatusOr<rt::AnswerRule> answers =
        rt::AnswerRule::fromPattern(*options.answerPattern);
    CHORUS_RETURN_IF_ERROR(answers.status());
    ranker->answers = std::move(*answers);
  }
  if (rt::needsVerifier(ranker->rule))
    CHORUS_RETURN_IF_ERROR(ranker->loadVerifier(engine));
  return ranker;
}

rt::Status CandidateRanker::loadVerifier(rt::Engine &generator) {
  const std::shared_ptr<const rt::Artifact> &artifact =
      generator.program().sharedArtifact();
  const std::optional<rt::VerifierInfo> &info = artifact->metadata().verifier;
  if (!info)
    return rt::usageError("--rank " + options.rank.value_or("") +
                          " needs a verifier, and the artifact has none; "
                          "chorus-compile --verifier adds one");
  rt::Engine *engine = &generator;
  if (info->model != 0) {
    // --context is the generator's.
    rt::EngineOptions engineOptions = options.engine();
    engineOptions.contextLength = 0;
    rt::StatusOr<std::unique_ptr<rt::Engine>> created =
        rt::Engine::open(artifact, info->model, options.cpu, engineOptions);
    CHORUS_RETURN_IF_ERROR(created.status());
    verifierEngine = std::move(*created);
    engine = verifierEngine.get();
  }
  rt::JudgeOptions judgeOptions;
  judgeOptions.judges = options.judges;
  judgeOptions.combination = options.judgeCombine == "mean"
                                 ? rt::JudgeCombination::Mean
                                 : rt::JudgeCombination::Min;
  rt::StatusOr<rt::Judge> judge =
      rt::Judge::create(*engine, info->templateText, info->score, judgeOptions);
  CHORUS_RETURN_IF_ERROR(judge.status());
  verifierJudge.emplace(std::move(*judge));
  return rt::Status();
}

/// Asks the verifier about all candidates that have a result.
rt::Status CandidateRanker::judge(rt::Judge &verifier,
                                  const std::vector<rt::Candidate> &candidates,
                                  const nlohmann::ordered_json &messages,
                                  Ranking &ranking) {
  if (messages.empty()) {
    for (rt::CandidateRanking &candidate : ranking.candidates) {
      candidate.judged = true;
      if (candidate.error.ok())
        candidate.error = rt::Status::error(rt::ExitCode::SomeRecordsFailed,
                                            "N08", "verifier",
                                            "a prompt of token ids has no "
                                            "question that it could see");
    }
    return rt::Status();
  }
  std::vector<std::string> texts;
  std::vector<size_t> places;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (candidates[i].finishReason != rt::FinishReason::Error) {
      texts.push_back(candidates[i].text);
      places.push_back(i);
    }
  rt::StatusOr<std::vector<rt::StatusOr<double>>> scores =
      verifier.score(messages, texts, cancelRequested);
  CHORUS_RETURN_IF_ERROR(scores.status());
  for (size_t i = 0; i < scores->size(); ++i) {
    rt::CandidateRanking &candidate = ranking.candidates[places[i]];
    candidate.judged = true;
    rt::StatusOr<double> &score = (*scores)[i];
    if (score.ok())
      candidate.verifier = *score;
    else
      candidate.error = score.status();
  }
  return rt::Status();
}

rt::Status CandidateRanker::addPassAtK(const std::string &reference,
                                       Ranking &ranking) const {
  rt::StatusOr<std::string> expected = answers.reference(reference);
  CHORUS_RETURN_IF_ERROR(expected.status());
  int64_t total = static_cast<int64_t>(ranking.candidates.size());
  int64_t correct = std::count_if(
      ranking.candidates.begin(), ranking.candidates.end(),
      [&](const auto &candidate) { return candidate.answer == *expected; });
  std::vector<int64_t> wanted = options.passAt;
  if (wanted.empty())
    wanted = {1, total};
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  for (int64_t k : wanted)
    if (k <= total)
      ranking.passAtK.emplace_back(k, rt::passAtK(total, correct, k));
  return rt::Status();
}

rt::StatusOr<Ranking>
CandidateRanker::rank(const std::vector<rt::Candidate> &candidates,
                      const nlohmann::ordered_json &messages,
                      const std::optional<std::string> &reference) {
  Ranking ranking;
  for (const rt::Candidate &candidate : candidates)
    ranking.candidates.push_back(rt::rankingOf(candidate, answers));
  if (verifierJudge)
    CHORUS_RETURN_IF_ERROR(
        judge(*verifierJudge, candidates, messages, ranking));
  ranking.votes = rt::rankCandidates(ranking.candidates, rule);
  if (reference)
    CHORUS_RETURN_IF_ERROR(addPassAtK(*reference, ranking));
  for (const rt::CandidateRanking &candidate : ranking.candidates)
    if (ranking.failure.ok())
      ranking.failure = candidate.error;
  return ranking;
}

rt::JournalFingerprint CandidateRanker::fingerprint() const {
  rt::JournalFingerprint all;
  if (options.rank || options.top)
    all.emplace_back("rank", options.rank.value_or("mean-logprob"));
  auto text = [](const std::string &value) {
    return nlohmann::json(value).dump();
  };
  if (options.answerPattern)
    all.emplace_back("answer_pattern", text(*options.answerPattern));
  if (verifierJudge) {
    all.emplace_back("judges", std::to_string(options.judges));
    all.emplace_back("judge_combine", options.judgeCombine);
  }
  if (!options.passAt.empty())
    all.emplace_back("pass_at", nlohmann::json(options.passAt).dump());
  return all;
}

Ranking run::rankByMeanLogprob(const std::vector<rt::Candidate> &candidates) {
  Ranking ranking;
  for (const rt::Candidate &candidate : candidates)
    ranking.candidates.push_back(rt::rankingOf(candidate, rt::AnswerRule()));
  ranking.votes =
      rt::rankCandidates(ranking.candidates, rt::RankRule::MeanLogprob);
  return ranking;
}

Ranking run::rankBeams(const rt::BeamResults &beams) {
  Ranking ranking;
  for (size_t i = 0; i < beams.candidates.size(); ++i) {
    ranking.candidates.push_back(
        rt::rankingOf(beams.candidates[i], rt::AnswerRule()));
    ranking.candidates.back().beam = beams.scores[i];
  }
  ranking.votes = rt::rankCandidates(ranking.candidates, rt::RankRule::Beam);
  return ranking;
}
