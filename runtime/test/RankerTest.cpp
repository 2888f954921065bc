//===- RankerTest.cpp -----------------------------------------------------===//

#include "chorus_rt/Ranker.h"
#include "GoldenFile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace chorus::rt;

namespace {

CandidateRanking entry(int64_t index, std::optional<double> meanLogprob,
                       std::optional<std::string> answer = std::nullopt,
                       std::optional<double> verifier = std::nullopt) {
  CandidateRanking result;
  result.candidate = index;
  result.meanLogprob = meanLogprob;
  result.answer = std::move(answer);
  if (verifier)
    result.verifierName = "verifier";
  result.verifier = verifier;
  return result;
}

/// Indices by rank.
std::vector<int64_t> order(std::vector<CandidateRanking> candidates,
                           RankRule rule) {
  rankCandidates(candidates, rule);
  std::vector<int64_t> indices(candidates.size());
  for (const CandidateRanking &candidate : candidates)
    indices[static_cast<size_t>(candidate.rank - 1)] = candidate.candidate;
  return indices;
}

using Order = std::vector<int64_t>;

TEST(Ranker, MeanLogprobThenIndex) {
  EXPECT_EQ(order({entry(0, -2), entry(1, -1), entry(2, std::nullopt),
                   entry(3, -1), entry(4, -0.5)},
                  RankRule::MeanLogprob),
            (Order{4, 1, 3, 0, 2}));
}

TEST(Ranker, VoteThenMeanLogprobThenIndex) {
  std::vector<CandidateRanking> candidates{
      entry(0, -1, "7"), entry(1, -3, "8"), entry(2, -2, "8"),
      entry(3, -0.1),    entry(4, -1, "9"), entry(5, -9, "10")};
  // No answer is no vote, however likely the text.
  EXPECT_EQ(order(candidates, RankRule::Vote), (Order{2, 1, 0, 4, 5, 3}));
  std::vector<Vote> votes = rankCandidates(candidates, RankRule::Vote);
  ASSERT_EQ(votes.size(), 4u);
  EXPECT_EQ(votes[0].answer, "8");
  EXPECT_EQ(votes[0].count, 2);
  EXPECT_EQ(votes[0].weight, 2);
  EXPECT_EQ(votes[1].answer, "10");
  EXPECT_EQ(votes[2].answer, "7");
  EXPECT_EQ(votes[3].answer, "9");
  EXPECT_EQ(candidates[1].votes, 2);
  EXPECT_FALSE(candidates[3].votes);
  EXPECT_FALSE(candidates[1].weightedVotes);
}

TEST(Ranker, VerifierAndTheVotesThatItWeighs) {
  std::vector<CandidateRanking> candidates{
      entry(0, -1, "7", 0.9), entry(1, -1, "8", 0.25), entry(2, -2, "8", 0.5),
      entry(3, -1, std::nullopt, 0.95), entry(4, -1, "9")};
  EXPECT_EQ(order(candidates, RankRule::Verifier), (Order{3, 0, 2, 1, 4}));
  EXPECT_EQ(order(candidates, RankRule::WeightedVote), (Order{0, 1, 2, 3, 4}));
  std::vector<Vote> votes = rankCandidates(candidates, RankRule::WeightedVote);
  ASSERT_EQ(votes.size(), 3u);
  EXPECT_EQ(votes[0].answer, "7");
  EXPECT_EQ(votes[1].answer, "8");
  EXPECT_EQ(votes[1].weight, 0.75);
  EXPECT_EQ(votes[2].answer, "9");
  EXPECT_EQ(votes[2].count, 1);
  EXPECT_EQ(votes[2].weight, 0);
  EXPECT_EQ(candidates[2].weightedVotes, 0.75);
  // Without a score of its own there is no place by score.
  EXPECT_FALSE(candidates[4].weightedVotes);
}

TEST(Ranker, N08ScoresOutOfRangeAreErrorsOfTheirCandidates) {
  for (double score : {double(NAN), double(INFINITY), -double(INFINITY)}) {
    std::vector<CandidateRanking> candidates{
        entry(0, -1, "7", score), entry(1, -2, "8", 0), entry(2, -3, "8", 0.5)};
    rankCandidates(candidates, RankRule::Verifier);
    EXPECT_EQ(candidates[0].error.code(), "N08");
    EXPECT_EQ(candidates[0].error.exitCode(), ExitCode::SomeRecordsFailed);
    EXPECT_FALSE(candidates[0].verifier);
    EXPECT_EQ(candidates[0].rank, 3);
    EXPECT_TRUE(candidates[1].error.ok());
    EXPECT_EQ(candidates[1].rank, 2);
    EXPECT_EQ(candidates[2].rank, 1);
  }
  std::vector<CandidateRanking> negative{entry(0, -1, "7", -1),
                                         entry(1, -2, "8", -2)};
  rankCandidates(negative, RankRule::Verifier);
  EXPECT_TRUE(negative[0].error.ok());
  EXPECT_EQ(negative[0].rank, 1);
  rankCandidates(negative, RankRule::WeightedVote);
  EXPECT_EQ(negative[0].error.code(), "N08");
  EXPECT_EQ(negative[1].error.code(), "N08");
}

TEST(Ranker, N08ScoresThatArriveOutOfOrderChangeNothing) {
  std::mt19937 random(3);
  std::vector<CandidateRanking> candidates;
  candidates.reserve(60);
  for (int64_t i = 0; i < 60; ++i)
    candidates.push_back(entry(i, -double(random() % 5),
                               std::string(1, char('a' + random() % 4)),
                               double(random() % 1000) * 1e-3));
  for (RankRule rule : {RankRule::MeanLogprob, RankRule::Vote,
                        RankRule::Verifier, RankRule::WeightedVote}) {
    std::vector<CandidateRanking> expected = candidates;
    std::vector<Vote> votes = rankCandidates(expected, rule);
    for (int round = 0; round < 20; ++round) {
      std::vector<CandidateRanking> shuffled = candidates;
      std::shuffle(shuffled.begin(), shuffled.end(), random);
      std::vector<Vote> same = rankCandidates(shuffled, rule);
      ASSERT_EQ(same.size(), votes.size());
      for (size_t i = 0; i < votes.size(); ++i) {
        EXPECT_EQ(same[i].answer, votes[i].answer);
        EXPECT_EQ(same[i].weight, votes[i].weight);
      }
      for (const CandidateRanking &candidate : shuffled)
        EXPECT_EQ(candidate.rank,
                  expected[static_cast<size_t>(candidate.candidate)].rank);
    }
  }
}

void checkPassAtK(const GoldenFile &golden, size_t rows) {
  std::vector<int32_t> table = golden.read<int32_t>("nck");
  std::vector<double> expected = golden.read<double>("pass_at_k_f64");
  ASSERT_EQ(expected.size(), rows);
  for (size_t i = 0; i < rows; ++i)
    EXPECT_NEAR(passAtK(table[3 * i], table[3 * i + 1], table[3 * i + 2]),
                expected[i], 1e-12)
        << table[3 * i] << " " << table[3 * i + 1] << " " << table[3 * i + 2];
}

TEST(Ranker, PassAtKGoldens) {
  GoldenFile part(CHORUS_SOURCE_DIR
                  "/test/data/sampling/pass_at_k.safetensors");
  ASSERT_TRUE(part.ok());
  checkPassAtK(part, 468);
  GoldenFile full(CHORUS_SOURCE_DIR
                  "/../shared/goldens/sampling/pass_at_k.safetensors");
  if (full.ok())
    checkPassAtK(full, 6082);
}

TEST(Ranker, CandidatesThatEndedInAnErrorHaveNoScores) {
  Candidate candidate;
  candidate.index = 3;
  candidate.tokenIds = {1, 2};
  candidate.logprobs = {-1, -2};
  candidate.text = "so\n#### 1,000";
  CandidateRanking ranking = rankingOf(candidate, AnswerRule());
  EXPECT_EQ(ranking.candidate, 3);
  EXPECT_EQ(ranking.meanLogprob, -1.5);
  EXPECT_EQ(ranking.answer, "1000");
  candidate.finishReason = FinishReason::Error;
  candidate.error = refused("N01", "candidate 3", "NaN");
  ranking = rankingOf(candidate, AnswerRule());
  EXPECT_FALSE(ranking.meanLogprob);
  EXPECT_FALSE(ranking.answer);
  EXPECT_EQ(ranking.error.code(), "N01");
}

TEST(Ranker, AnswerThatCannotBeFoundIsAnError) {
  Candidate candidate;
  candidate.tokenIds = {1};
  candidate.logprobs = {-1};
  candidate.text = std::string(60, 'a') + "b";
  CandidateRanking ranking =
      rankingOf(candidate, *AnswerRule::fromPattern("(a+)+$"));
  EXPECT_EQ(ranking.error.code(), "limit");
  EXPECT_EQ(ranking.error.exitCode(), ExitCode::SomeRecordsFailed);
  EXPECT_FALSE(ranking.answer);
  EXPECT_EQ(ranking.meanLogprob, -1);
}

TEST(Ranker, Rules) {
  EXPECT_EQ(findRankRule("mean-logprob"), RankRule::MeanLogprob);
  EXPECT_EQ(findRankRule("weighted-vote"), RankRule::WeightedVote);
  EXPECT_EQ(findRankRule("votes"), std::nullopt);
}

} // namespace
