//===- Ranker.cpp - Votes, and the order of candidates --------------------===//

#include "chorus_rt/Ranker.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace chorus::rt {

std::string_view rankRuleName(RankRule rule) {
  switch (rule) {
  case RankRule::MeanLogprob:
    return "mean-logprob";
  case RankRule::Vote:
    return "vote";
  case RankRule::Verifier:
    return "verifier";
  case RankRule::WeightedVote:
    return "weighted-vote";
  case RankRule::Beam:
    return "beam";
  }
  return "";
}

std::optional<RankRule> findRankRule(std::string_view name) {
  for (RankRule rule : {RankRule::MeanLogprob, RankRule::Vote,
                        RankRule::Verifier, RankRule::WeightedVote})
    if (name == rankRuleName(rule))
      return rule;
  return std::nullopt;
}

CandidateRanking rankingOf(const Candidate &candidate, const AnswerRule &rule) {
  CandidateRanking ranking;
  ranking.candidate = candidate.index;
  ranking.error = candidate.error;
  if (candidate.finishReason == FinishReason::Error)
    return ranking;
  if (candidate.sampledTokens() > 0)
    ranking.meanLogprob = candidate.meanLogprob();
  StatusOr<std::optional<std::string>> answer = rule.find(candidate.text);
  if (answer.ok())
    ranking.answer = std::move(*answer);
  else
    ranking.error =
        Status::error(ExitCode::SomeRecordsFailed, answer.status().code(),
                      "candidate " + std::to_string(candidate.index) + ": " +
                          answer.status().place(),
                      answer.status().message());
  return ranking;
}

static void checkVerifierScore(CandidateRanking &candidate, RankRule rule) {
  if (!candidate.verifier)
    return;
  const char *found =
      !std::isfinite(*candidate.verifier) ? "is not finite"
      : rule == RankRule::WeightedVote && *candidate.verifier < 0
          ? "is negative and cannot weigh a vote"
          : nullptr;
  if (!found)
    return;
  candidate.verifier.reset();
  candidate.error =
      Status::error(ExitCode::SomeRecordsFailed, "N08",
                    "candidate " + std::to_string(candidate.candidate),
                    std::string("the verifier's score ") + found);
}

static std::optional<double> scoreOf(const CandidateRanking &candidate,
                                     RankRule rule) {
  switch (rule) {
  case RankRule::MeanLogprob:
    return candidate.meanLogprob;
  case RankRule::Vote:
    if (candidate.votes)
      return static_cast<double>(*candidate.votes);
    return std::nullopt;
  case RankRule::Verifier:
    return candidate.verifier;
  case RankRule::WeightedVote:
    return candidate.weightedVotes;
  case RankRule::Beam:
    return candidate.beam;
  }
  return std::nullopt;
}

/// Larger first, absent last.
static int compare(const std::optional<double> &a,
                   const std::optional<double> &b) {
  if (!a || !b)
    return int(b.has_value()) - int(a.has_value());
  return int(*b > *a) - int(*a > *b);
}

std::vector<Vote> rankCandidates(std::vector<CandidateRanking> &candidates,
                                 RankRule rule) {
  std::vector<CandidateRanking *> order;
  order.reserve(candidates.size());
  for (CandidateRanking &candidate : candidates)
    order.push_back(&candidate);
  // Sums of weights go by index, too.
  std::sort(order.begin(), order.end(),
            [](auto *a, auto *b) { return a->candidate < b->candidate; });
  std::map<std::string_view, Vote> byAnswer;
  bool judged = false;
  for (CandidateRanking *candidate : order) {
    checkVerifierScore(*candidate, rule);
    judged |= !candidate->verifierName.empty();
    if (!candidate->answer)
      continue;
    Vote &vote = byAnswer[*candidate->answer];
    vote.answer = *candidate->answer;
    ++vote.count;
    vote.weight += candidate->verifier.value_or(0);
  }
  for (CandidateRanking *candidate : order) {
    if (!candidate->answer)
      continue;
    const Vote &vote = byAnswer[*candidate->answer];
    candidate->votes = vote.count;
    if (candidate->verifier)
      candidate->weightedVotes = vote.weight;
  }

  std::sort(order.begin(), order.end(), [&](auto *a, auto *b) {
    if (int first = compare(scoreOf(*a, rule), scoreOf(*b, rule)))
      return first < 0;
    if (int second = compare(a->meanLogprob, b->meanLogprob))
      return second < 0;
    return a->candidate < b->candidate;
  });
  for (size_t i = 0; i < order.size(); ++i)
    order[i]->rank = static_cast<int64_t>(i) + 1;

  std::vector<Vote> votes;
  for (auto &[answer, vote] : byAnswer) {
    if (!judged)
      vote.weight = static_cast<double>(vote.count);
    votes.push_back(vote);
  }
  bool byWeight = rule == RankRule::WeightedVote;
  std::sort(votes.begin(), votes.end(), [&](const Vote &a, const Vote &b) {
    double countA = static_cast<double>(a.count),
           countB = static_cast<double>(b.count);
    return byWeight ? std::tie(b.weight, countB, a.answer) <
                          std::tie(a.weight, countA, b.answer)
                    : std::tie(countB, b.weight, a.answer) <
                          std::tie(countA, a.weight, b.answer);
  });
  return votes;
}

double passAtK(int64_t total, int64_t correct, int64_t k) {
  if (total - correct < k)
    return 1;
  double allWrong = 1;
  for (int64_t n = total - correct + 1; n <= total; ++n)
    allWrong *= 1 - static_cast<double>(k) / static_cast<double>(n);
  return 1 - allWrong;
}

} // namespace chorus::rt
