//===- RecordTest.cpp -----------------------------------------------------===//

#include "chorus_rt/Record.h"

#include "TemporaryFolder.h"

#include "chorus_rt/Ranker.h"
#include "chorus_rt/RequestLine.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

using namespace chorus::rt;
using namespace chorus::rt::test;

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
                     const CandidateRanking *ranking = nullptr,
                     bool hasTokenizer = true) {
  static Request request;
  request = makeRequest();
  RecordContext context;
  context.request = &request;
  context.artifactSha256 = std::string(64, 'a');
  context.numericProfile = "profile-1";
  context.hasTokenizer = hasTokenizer;
  return nlohmann::json::parse(recordLine(context, candidate, ranking));
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
  record = parse(candidate, nullptr, /*hasTokenizer=*/false);
  EXPECT_TRUE(record["text"].is_null());
}

TEST(Record, Ranking) {
  Candidate candidate;
  CandidateRanking ranking;
  ranking.meanLogprob = -0.5;
  ranking.rank = 2;
  nlohmann::json record = parse(candidate, &ranking);
  EXPECT_EQ(record["rank"], 2);
  EXPECT_TRUE(record["answer"].is_null());
  EXPECT_EQ(record["scores"],
            nlohmann::json::parse(R"({"mean_logprob":-0.5,"vote":null})"));
  EXPECT_FALSE(record.contains("error"));
  ranking.answer = "\"7\"";
  ranking.votes = 3;
  ranking.verifierName = "verifier";
  ranking.verifier = 0.25;
  ranking.weightedVotes = 1.5;
  record = parse(candidate, &ranking);
  EXPECT_EQ(record["answer"], "\"7\"");
  EXPECT_EQ(record["scores"],
            nlohmann::json::parse(R"({"mean_logprob":-0.5,"vote":3,
                "verifier":0.25,"weighted_vote":1.5})"));
  // A score that could not be computed is null, and the record says why.
  ranking.verifier = ranking.weightedVotes = std::nullopt;
  ranking.error = Status::error(ExitCode::SomeRecordsFailed, "N08", "score @3",
                                "division by zero");
  record = parse(candidate, &ranking);
  EXPECT_TRUE(record["scores"]["verifier"].is_null());
  EXPECT_EQ(record["error"]["code"], "N08");
  EXPECT_EQ(record["finish_reason"], "length");
}

TEST(Record, Beams) {
  Request request = makeRequest();
  RecordContext context;
  context.request = &request;
  context.beams = BeamOptions();
  context.beams->lengthPenalty = 0.6;
  CandidateRanking ranking;
  ranking.beam = -1.25;
  nlohmann::json record =
      nlohmann::json::parse(recordLine(context, Candidate(), &ranking));
  EXPECT_EQ(record["scores"]["beam"], -1.25);
  EXPECT_EQ(record["parameters"],
            nlohmann::json::parse(R"({"max_tokens":256,"beams":4,
                "length_penalty":0.6,"length_form":"gnmt",
                "ignore_eos":false})"));
}

TEST(Record, VotesAndPassAtK) {
  EXPECT_EQ(votesArray({{"7", 2, 1.5}, {"\"", 1, 0}}),
            "[{\"answer\":\"7\",\"count\":2,\"weight\":1.5},"
            "{\"answer\":\"\\\"\",\"count\":1,\"weight\":0}]");
  EXPECT_EQ(votesArray({}), "[]");
  EXPECT_EQ(passAtKObject({{1, 0.25}, {10, 1}}), "{\"1\":0.25,\"10\":1}");
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

/// A locale made here, as none but C may be installed.
TEST(Record, N12_DecimalCommaChangesNothing) {
  TemporaryFolder folder;
  writeFile(folder.path("source"), "escape_char /\ncomment_char %\nLC_NUMERIC\n"
                                   "decimal_point \",\"\nthousands_sep \".\"\n"
                                   "grouping 3;3\nEND LC_NUMERIC\n");
  // It warns of the categories that the source leaves out, and exits with 1.
  std::string command = "localedef -c -i " + folder.path("source") + " " +
                        folder.path("comma") + " 2>/dev/null";
  ASSERT_NE(std::system(command.c_str()), -1);
  auto texts = [] {
    Candidate candidate;
    candidate.logprobs = {-1.5f, -1234567.5f};
    SamplingParameters wrong;
    wrong.temperature = 1234.5;
    JsonlLine line;
    line.text = R"({"prompt":"x","temperature":0.75,"logit_bias":{"3":-2.5}})";
    RequestLine read;
    EXPECT_TRUE(parseRequestLine(line, "in", Request(), 100, read).ok());
    EXPECT_EQ(read.request.sampling.temperature, 0.75);
    EXPECT_EQ(read.request.sampling.logitBias[0].second, -2.5f);
    Request request = makeRequest();
    RecordContext context;
    context.request = &request;
    return recordLine(context, candidate) + wrong.validate(100).message();
  };
  std::string before = texts();
  setenv("LOCPATH", folder.path().c_str(), 1);
  const char *set = std::setlocale(LC_ALL, "comma");
  char written[16];
  std::snprintf(written, sizeof written, "%.1f", 1.5);
  std::string after = texts();
  std::setlocale(LC_ALL, "C");
  unsetenv("LOCPATH");
  ASSERT_NE(set, nullptr);
  EXPECT_STREQ(written, "1,5");
  EXPECT_EQ(after, before);
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

} // namespace
