//===- ChorusHeaderTest.cpp - chorus.h, and the C program that uses it ----===//

#include "GoldenFile.h"
#include "ToolProcess.h"
#include "ToyArtifact.h"

#include "chorus_rt/chorus.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace chorus::test;
using nlohmann::json;

namespace {

/// An open engine over the toy model.
class ChorusHeader : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(chorus_open(toyArtifact().c_str(), nullptr, &engine, &error), 0)
        << error.message;
    chorus_request_init(engine, &request);
    request.prompt_ids = prompt.data();
    request.prompt_length = prompt.size();
    request.max_tokens = 9;
    request.seed = 7;
    request.temperature = 0.8;
    request.ignore_eos = 1;
  }
  void TearDown() override { chorus_close(engine); }

  std::vector<json> recordsOf(int64_t number) {
    std::vector<json> records;
    chorus_result *result = chorus_take(engine, number);
    EXPECT_NE(result, nullptr);
    for (size_t i = 0; result && i < chorus_result_count(result); ++i)
      records.push_back(json::parse(chorus_result_record(result, i)));
    chorus_result_free(result);
    return records;
  }

  chorus_engine *engine = nullptr;
  chorus_error error{};
  chorus_request request{};
  std::vector<int32_t> prompt = {104, 101, 108, 108, 111};
};

TEST_F(ChorusHeader, SameBitsAsChorusRun) {
  request.candidates = 4;
  int64_t number;
  ASSERT_EQ(chorus_submit(engine, &request, nullptr, &number, &error), 0)
      << error.message;
  EXPECT_EQ(chorus_take(engine, number), nullptr) << "not finished yet";
  ASSERT_EQ(chorus_run(engine, &error), 0) << error.message;
  int64_t finished = -1;
  EXPECT_EQ(chorus_poll(engine, &finished), 1);
  EXPECT_EQ(finished, number);
  EXPECT_EQ(chorus_poll(engine, &finished), 0);
  std::vector<json> records = recordsOf(number);
  ToolResult run =
      runTool(CHORUS_RUN, {toyArtifact(), "--prompt-ids", "104,101,108,108,111",
                           "-n", "4", "--max-tokens", "9", "--seed", "7",
                           "--temperature", "0.8", "--ignore-eos", "--json"});
  ASSERT_EQ(run.exitCode, 0) << run.err;
  std::vector<std::string> lines = run.lines();
  ASSERT_EQ(records.size(), lines.size());
  for (size_t i = 0; i < lines.size(); ++i)
    EXPECT_EQ(records[i], json::parse(lines[i]));
  EXPECT_EQ(chorus_take(engine, number), nullptr) << "taken twice";
}

TEST_F(ChorusHeader, ForcesTokensAndCancels) {
  struct Seen {
    chorus_engine *engine = nullptr;
    int64_t other = -1;
    std::vector<int32_t> forced;
  } seen;
  seen.engine = engine;
  chorus_callbacks callbacks{};
  callbacks.size = sizeof callbacks;
  callbacks.user = &seen;
  callbacks.on_token = [](void *user, const chorus_token *token) {
    auto *s = static_cast<Seen *>(user);
    if (token->forced)
      s->forced.push_back(token->id);
    if (s->other >= 0)
      chorus_cancel(s->engine, s->other, -1);
    return 0;
  };
  callbacks.force_tokens = [](void *, const chorus_token *token,
                              chorus_forced *forced) {
    const int32_t ids[] = {65, 66, 67};
    if (!token->forced)
      chorus_force(forced, ids, 3);
    return 0;
  };
  int64_t first, second;
  ASSERT_EQ(chorus_submit(engine, &request, &callbacks, &first, &error), 0);
  request.max_tokens = 1000;
  ASSERT_EQ(chorus_submit(engine, &request, nullptr, &second, &error), 0);
  seen.other = second;
  ASSERT_EQ(chorus_run(engine, &error), 0) << error.message;
  std::vector<json> records = recordsOf(first);
  ASSERT_EQ(records.size(), 1u);
  std::vector<int32_t> ids = records[0]["token_ids"];
  ASSERT_EQ(ids.size(), 9u);
  for (size_t at : {1u, 5u})
    EXPECT_EQ(std::vector<int32_t>(ids.begin() + at, ids.begin() + at + 3),
              (std::vector<int32_t>{65, 66, 67}));
  EXPECT_EQ(seen.forced.size(), 6u);
  EXPECT_EQ(recordsOf(second)[0]["finish_reason"], "cancelled");
}

TEST_F(ChorusHeader, ErrorsHaveCodeAndOneLine) {
  int64_t number;
  request.temperature = -1;
  EXPECT_EQ(chorus_submit(engine, &request, nullptr, &number, &error), 2);
  EXPECT_STREQ(error.code, "usage");
  EXPECT_NE(std::strstr(error.message, "temperature is -1"), nullptr);
  request.temperature = 1;
  EXPECT_EQ(chorus_submit(engine, &request, nullptr, &number, nullptr), 0);
  chorus_engine *other = nullptr;
  EXPECT_EQ(chorus_open("/nowhere.chorus", nullptr, &other, &error), 2);
  EXPECT_EQ(other, nullptr);
  chorus_close(other);
}

TEST_F(ChorusHeader, FieldsThatACallerDoesNotKnowAreNotRead) {
  int64_t number;
  request.values = 1; // The model has no value head.
  EXPECT_EQ(chorus_submit(engine, &request, nullptr, &number, &error), 2);
  request.size = offsetof(chorus_request, values);
  EXPECT_EQ(chorus_submit(engine, &request, nullptr, &number, &error), 0);
}

TEST_F(ChorusHeader, CallbackEndsTheRun) {
  chorus_callbacks callbacks{};
  callbacks.size = sizeof callbacks;
  callbacks.on_token = [](void *, const chorus_token *) { return 42; };
  int64_t number;
  ASSERT_EQ(chorus_submit(engine, &request, &callbacks, &number, &error), 0);
  EXPECT_EQ(chorus_run(engine, &error), 42);
  EXPECT_STREQ(error.code, "callback");
}

TEST_F(ChorusHeader, TokenizesAndTellsFacts) {
  chorus_ids ids;
  ASSERT_EQ(chorus_tokenize(engine, "hello", 5, 0, &ids, &error), 0)
      << error.message;
  EXPECT_EQ(std::vector<int32_t>(ids.ids, ids.ids + ids.length), prompt);
  chorus_ids_free(&ids);
  EXPECT_EQ(std::strlen(chorus_artifact_sha256(engine)), 64u);
  EXPECT_GT(chorus_vocab_size(engine), 0);
}

/// Ranking over a model that judges itself, or that has a value head.
class ChorusHeaderRanking : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    path = temporaryFolder() + "/" + GetParam() + ".chorus";
    ToyOptions options;
    options.valueHead = std::strcmp(GetParam(), "value") == 0;
    options.verifier = !options.valueHead;
    writeToyArtifact(path, options);
    ASSERT_EQ(chorus_open(path.c_str(), nullptr, &engine, &error), 0)
        << error.message;
    chorus_rank_options_init(&options_);
  }
  void TearDown() override { chorus_close(engine); }

  /// 20 candidates of "2+2?".
  chorus_result *result(int values) {
    std::vector<int32_t> prompt = {'2', '+', '2', '?'};
    chorus_request request;
    chorus_request_init(engine, &request);
    request.prompt_ids = prompt.data();
    request.prompt_length = prompt.size();
    request.candidates = 20;
    request.max_tokens = 12;
    request.seed = 5;
    request.values = values;
    int64_t number = -1;
    EXPECT_EQ(chorus_submit(engine, &request, nullptr, &number, &error), 0)
        << error.message;
    EXPECT_EQ(chorus_run(engine, &error), 0) << error.message;
    return chorus_take(engine, number);
  }

  std::string path;
  chorus_engine *engine = nullptr;
  chorus_error error{};
  chorus_rank_options options_{};
};

/// Every rule gives what chorus-run gives, fields and records alike.
TEST_P(ChorusHeaderRanking, SameAsChorusRun) {
  for (const char *rule :
       {"mean-logprob", "vote", "verifier", "weighted-vote"}) {
    options_.rule = rule;
    options_.answer_pattern = "[A-Z]";
    chorus_ranker *ranker = nullptr;
    ASSERT_EQ(chorus_ranker_create(engine, &options_, &ranker, &error), 0)
        << error.message;
    bool needsVerifier =
        std::strstr(rule, "verifier") || std::strstr(rule, "weighted");
    bool isValue = std::strcmp(GetParam(), "value") == 0;
    EXPECT_EQ(chorus_ranker_needs_values(ranker), isValue && needsVerifier);
    chorus_result *ranked = result(chorus_ranker_needs_values(ranker));
    std::string before = chorus_result_record(ranked, 0);
    EXPECT_EQ(before.find("\"rank\""), std::string::npos);
    std::string messages = R"([{"role":"user","content":"2+2?"}])";
    ASSERT_EQ(
        chorus_rank(ranker, ranked, messages.data(), messages.size(), &error),
        0)
        << error.message;
    ToolResult run =
        runTool(CHORUS_RUN, {path, "--prompt", "2+2?", "-n", "20",
                             "--max-tokens", "12", "--seed", "5", "--rank",
                             rule, "--answer-pattern", "[A-Z]", "--json"});
    ASSERT_EQ(chorus_result_count(ranked), 20u);
    ASSERT_EQ(run.lines().size(), 20u) << run.err;
    std::map<std::string, std::pair<int64_t, double>> counted;
    for (size_t i = 0; i < 20; ++i) {
      json expected = json::parse(run.lines()[i]);
      EXPECT_EQ(json::parse(chorus_result_record(ranked, i)), expected);
      chorus_candidate_ranking got;
      chorus_result_ranking(ranked, i, &got);
      EXPECT_EQ(got.rank, expected["rank"]);
      json answer;
      if (got.answer)
        answer = std::string(got.answer, got.answer_length);
      EXPECT_EQ(answer, expected["answer"]);
      json score = expected["scores"].value(isValue ? "value" : "verifier",
                                            json(nullptr));
      if (score.is_null())
        EXPECT_TRUE(std::isnan(got.verifier));
      else
        EXPECT_EQ(got.verifier, score);
      EXPECT_EQ(got.error_code != nullptr, expected.contains("error"));
      if (got.answer) {
        auto &[count, weight] = counted[answer];
        ++count;
        weight += std::isnan(got.verifier) ? !needsVerifier : got.verifier;
        EXPECT_EQ(got.votes, expected["scores"]["vote"]);
      }
    }
    ASSERT_EQ(chorus_result_vote_count(ranked), counted.size());
    for (size_t i = 0; i < counted.size(); ++i) {
      chorus_vote vote;
      chorus_result_vote(ranked, i, &vote);
      auto &[count, weight] = counted.at({vote.answer, vote.answer_length});
      EXPECT_EQ(vote.count, count);
      EXPECT_NEAR(vote.weight, weight, 1e-9);
    }
    chorus_result_free(ranked);
    chorus_ranker_free(ranker);
  }
}

TEST_P(ChorusHeaderRanking, ErrorsAndCancellation) {
  chorus_ranker *ranker = nullptr;
  options_.rule = "loudest";
  EXPECT_EQ(chorus_ranker_create(engine, &options_, &ranker, &error), 2);
  EXPECT_NE(std::strstr(error.message, "loudest"), nullptr);
  EXPECT_EQ(ranker, nullptr);
  options_.rule = "verifier";
  options_.judge_combine = "max";
  EXPECT_EQ(chorus_ranker_create(engine, &options_, &ranker, &error), 2);
  options_.judge_combine = "mean";
  options_.judges = 65;
  EXPECT_EQ(chorus_ranker_create(engine, &options_, &ranker, &error), 2);
  options_.judges = 1;
  options_.should_cancel = [](void *) { return 1; };
  ASSERT_EQ(chorus_ranker_create(engine, &options_, &ranker, &error), 0);
  std::string messages = R"([{"role":"user","content":"2+2?"}])";
  chorus_result *without = result(0);
  int code =
      chorus_rank(ranker, without, messages.data(), messages.size(), &error);
  if (chorus_ranker_needs_values(ranker)) {
    // A result without values has no scores.
    EXPECT_EQ(code, 0);
    chorus_candidate_ranking ranking;
    chorus_result_ranking(without, 0, &ranking);
    EXPECT_STREQ(ranking.error_code, "N08");
  } else {
    EXPECT_EQ(code, 1);
    EXPECT_STREQ(error.code, "cancelled");
  }
  chorus_result_free(without);
  chorus_ranker_free(ranker);
  EXPECT_TRUE(chorus_idle(engine));
}

TEST_P(ChorusHeaderRanking, CountsCorrectAnswers) {
  options_.rule = "vote";
  options_.answer_pattern = "[A-Z]";
  chorus_ranker *ranker = nullptr;
  ASSERT_EQ(chorus_ranker_create(engine, &options_, &ranker, &error), 0);
  chorus_result *ranked = result(0);
  ASSERT_EQ(chorus_rank(ranker, ranked, nullptr, 0, &error), 0);
  std::map<std::string, int64_t> counts = {{"no answer of theirs", 0}};
  for (size_t i = 0; i < chorus_result_vote_count(ranked); ++i) {
    chorus_vote vote;
    chorus_result_vote(ranked, i, &vote);
    // The rule finds a reference's answer, too.
    std::string answer(vote.answer, vote.answer_length);
    counts[answer] = counts["it is " + answer] = vote.count;
  }
  ASSERT_GT(counts.size(), 3u);
  for (const auto &[reference, count] : counts) {
    int64_t correct = -1;
    ASSERT_EQ(chorus_count_correct(ranker, ranked, reference.data(),
                                   reference.size(), &correct, &error),
              0);
    EXPECT_EQ(correct, count) << reference;
  }
  chorus_result_free(ranked);
  chorus_ranker_free(ranker);
}

TEST(ChorusHeaderPassAtK, Goldens) {
  GoldenFile golden(CHORUS_SOURCE_DIR
                    "/test/data/sampling/pass_at_k.safetensors");
  ASSERT_TRUE(golden.ok());
  std::vector<int32_t> table = golden.read<int32_t>("nck");
  std::vector<double> expected = golden.read<double>("pass_at_k_f64");
  ASSERT_EQ(expected.size(), 468u);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(
        chorus_pass_at_k(table[3 * i], table[3 * i + 1], table[3 * i + 2]),
        expected[i], 1e-12);
  // There is no such estimate.
  EXPECT_TRUE(std::isnan(chorus_pass_at_k(5, 2, 6)));
  EXPECT_TRUE(std::isnan(chorus_pass_at_k(5, 2, 0)));
  EXPECT_TRUE(std::isnan(chorus_pass_at_k(5, 6, 1)));
  EXPECT_TRUE(std::isnan(chorus_pass_at_k(5, -1, 1)));
}

/// The toy's value is gain * logit('y') + bias.
TEST(ChorusHeaderValues, AfterEachToken) {
  std::string path = temporaryFolder() + "/values.chorus";
  ToyOptions options;
  options.valueHead = true;
  writeToyArtifact(path, options);
  chorus_engine *engine = nullptr;
  chorus_error error;
  ASSERT_EQ(chorus_open(path.c_str(), nullptr, &engine, &error), 0);
  std::vector<int32_t> prompt = {'a', 'b'};
  chorus_request request;
  chorus_request_init(engine, &request);
  request.prompt_ids = prompt.data();
  request.prompt_length = prompt.size();
  request.max_tokens = 40;
  int64_t plain, valued;
  ASSERT_EQ(chorus_submit(engine, &request, nullptr, &plain, &error), 0);
  request.values = 1;
  ASSERT_EQ(chorus_submit(engine, &request, nullptr, &valued, &error), 0);
  ASSERT_EQ(chorus_run(engine, &error), 0);
  chorus_result *results[] = {chorus_take(engine, plain),
                              chorus_take(engine, valued)};
  chorus_candidate candidates[2];
  for (int i = 0; i < 2; ++i)
    chorus_result_candidate(results[i], 0, &candidates[i]);
  EXPECT_EQ(candidates[0].values, nullptr);
  ASSERT_NE(candidates[1].values, nullptr);
  ASSERT_EQ(candidates[0].length, candidates[1].length);
  // Logits are in [-4, 4).
  for (size_t i = 0; i < candidates[1].length; ++i) {
    float logit = (candidates[1].values[i] - toyBias) / toyGain;
    EXPECT_GE(logit, -4);
    EXPECT_LT(logit, 4);
  }
  for (chorus_result *result : results)
    chorus_result_free(result);
  chorus_close(engine);
}

INSTANTIATE_TEST_SUITE_P(Verifiers, ChorusHeaderRanking,
                         testing::Values("judge", "value"));

TEST(ChorusExample, AnswersThroughTheHeader) {
  ToolResult result =
      runTool(CHORUS_EXAMPLE, {toyArtifact(), "hello", "3", "7"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::vector<std::string> lines = result.lines();
  ASSERT_FALSE(lines.empty());
  json record = json::parse(lines.back());
  EXPECT_EQ(record["rank"], 1);
  ToolResult run =
      runTool(CHORUS_RUN,
              {toyArtifact(), "--prompt", "hello", "-n", "3", "--seed", "7",
               "--max-tokens", "16", "--rank", "vote", "--top", "1", "--json"});
  ASSERT_EQ(run.exitCode, 0) << run.err;
  EXPECT_EQ(record, json::parse(run.lines().at(0)));
  EXPECT_NE(result.out.find("1 votes for "), std::string::npos) << result.out;
  EXPECT_EQ(
      runTool(CHORUS_EXAMPLE, {"/nowhere.chorus", "x", "1", "1"}).exitCode, 2);
}

} // namespace
