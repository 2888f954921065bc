//===- RecordTest.cpp -----------------------------------------------------===//

#include "chorus_rt/Record.h"

#include "chorus_rt/Ranker.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <clocale>
#include <cmath>
#include <cstring>
#include <limits>

using namespace chorus::rt;

namespace {

Request makeRequest() {
  Request request;
  request.prompt = {1, 2, 3};
  request.sampling.seed = UINT64_MAX;
  request.sampling.temperature = 0.8;
  request.sampling.logitBias = {{3, -1.5f}, {7, 100.0f}};
  request.stop = {"\nQ:", "\"\\"};
  return request;
}

nlohmann::json parse(const Candidate &candidate,
                     std::optional<int64_t> rank = std::nullopt,
                     bool hasTokenizer = true) {
  static Request request;
  request = makeRequest();
  RecordContext context;
  context.request = &request;
  context.artifactSha256 = std::string(64, 'a');
  context.numericProfile = "profile-1";
  context.hasTokenizer = hasTokenizer;
  return nlohmann::json::parse(recordLine(context, candidate, rank));
}

TEST(Record, Fields) {
  Candidate candidate;
  candidate.index = 5;
  candidate.tokenIds = {9, 2};
  candidate.logprobs = {-0.25f, -0.75f};
  candidate.text = "a \"b\"\n\x01 \xC3\xA9";
  candidate.finishReason = FinishReason::Stop;
  nlohmann::json record = parse(candidate);
  EXPECT_EQ(record["request"], "0");
  EXPECT_EQ(record["candidate"], 5);
  EXPECT_EQ(record["seed"].get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(record["prompt_tokens"], 3);
  EXPECT_EQ(record["prompt_ids"].size(), 3u);
  EXPECT_EQ(record["token_ids"], (std::vector<int>{9, 2}));
  EXPECT_EQ(record["text"], candidate.text);
  EXPECT_EQ(record["mean_logprob"], -0.5);
  EXPECT_EQ(record["finish_reason"], "stop");
  EXPECT_EQ(record["artifact_sha256"], std::string(64, 'a'));
  EXPECT_EQ(record["profile"], "profile-1");
  EXPECT_EQ(record["parameters"]["temperature"], 0.8);
  EXPECT_EQ(record["parameters"]["logit_bias"]["7"], 100);
  EXPECT_EQ(record["parameters"]["stop"][1], "\"\\");
  EXPECT_EQ(record["parameters"]["ignore_eos"], false);
  EXPECT_FALSE(record.contains("error"));
  EXPECT_FALSE(record.contains("rank"));
  record = parse(candidate, 2, /*hasTokenizer=*/false);
  EXPECT_TRUE(record["text"].is_null());
  EXPECT_EQ(record["rank"], 2);
  EXPECT_EQ(record["scores"]["mean_logprob"], -0.5);
  EXPECT_TRUE(record["answer"].is_null());
}

TEST(Record, ErrorsHaveCodeAndMessage) {
  Candidate candidate;
  candidate.finishReason = FinishReason::Error;
  candidate.error = Status::error(ExitCode::SomeRecordsFailed, "N01",
                                  "candidate 0, position 7", "NaN");
  nlohmann::json record = parse(candidate);
  EXPECT_EQ(record["error"]["code"], "N01");
  EXPECT_EQ(record["error"]["message"], "candidate 0, position 7: NaN");
  EXPECT_TRUE(record["mean_logprob"].is_null());
}

TEST(Record, LogprobsReadBackAsTheSameBits) {
  Candidate candidate;
  uint32_t state = 1;
  while (candidate.logprobs.size() < 2000) {
    state = state * 1664525 + 1013904223;
    float value;
    std::memcpy(&value, &state, sizeof value);
    if (std::isfinite(value))
      candidate.logprobs.push_back(value);
  }
  nlohmann::json record = parse(candidate);
  for (size_t i = 0; i < candidate.logprobs.size(); ++i) {
    float back = static_cast<float>(record["logprobs"][i].get<double>());
    EXPECT_EQ(0, std::memcmp(&back, &candidate.logprobs[i], sizeof back));
  }
}

TEST(Record, N12_LocaleChangesNothing) {
  Candidate candidate;
  candidate.logprobs = {-1.5f};
  nlohmann::json before = parse(candidate);
  for (const char *name : {"de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"})
    if (std::setlocale(LC_ALL, name))
      EXPECT_EQ(parse(candidate), before) << name;
  std::setlocale(LC_ALL, "C");
}

TEST(Record, MeanIsSummedInF64) {
  Candidate candidate;
  candidate.logprobs.assign(1000001, 0.1f);
  EXPECT_NEAR(candidate.meanLogprob(), static_cast<double>(0.1f), 1e-12);
}

TEST(Record, ForcedTokensAreNotInTheMean) {
  Candidate candidate;
  candidate.tokenIds = {1, 2, 3, 4};
  candidate.logprobs = {-1, -10, -20, -3};
  candidate.forced = {1, 2};
  EXPECT_EQ(parse(candidate)["mean_logprob"], -2.0);
  EXPECT_EQ(parse(candidate)["logprobs"].size(), 4u);
  candidate.forced = {0, 1, 2, 3};
  EXPECT_TRUE(parse(candidate)["mean_logprob"].is_null());
}

TEST(Record, TokenLines) {
  TokenEvent event;
  event.candidate = 3;
  event.tokenId = 17;
  event.logprob = -0.1f;
  event.textDelta = "x\ty";
  EXPECT_EQ(tokenLine(event), "{\"candidate\":3,\"token_id\":17,\"logprob\":"
                              "-0.1,\"text_delta\":\"x\\ty\"}");
  EXPECT_EQ(idsLine({1, 2}), "{\"ids\":[1,2]}");
  TokenDistribution distribution;
  distribution.ids = {4};
  distribution.logprobs = {-std::numeric_limits<float>::infinity()};
  EXPECT_EQ(distributionObject(distribution),
            "{\"ids\":[4],\"logprobs\":[null]}");
}

TEST(Ranker, MeanLogprobThenIndexErrorsLast) {
  std::vector<Candidate> candidates(5);
  for (size_t i = 0; i < 5; ++i)
    candidates[i].index = static_cast<int64_t>(i);
  candidates[0].logprobs = {-2};
  candidates[1].logprobs = {-1, -1};
  candidates[2].logprobs = {-1};
  candidates[3].logprobs = {-0.1f};
  candidates[3].finishReason = FinishReason::Error;
  EXPECT_EQ(rankByMeanLogprob(candidates),
            (std::vector<int64_t>{3, 1, 2, 4, 5}));
}

} // namespace
