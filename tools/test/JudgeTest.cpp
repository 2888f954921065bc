//===- JudgeTest.cpp - Scores over the toy model --------------------------===//

#include "ToolProcess.h"
#include "ToyArtifact.h"

#include "chorus_rt/Judge.h"
#include "chorus_rt/Prompt.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

using namespace chorus;
using namespace chorus::rt;
using Json = nlohmann::ordered_json;

namespace {

class JudgeTest : public ::testing::Test {
protected:
  void SetUp() override {
    std::string path = test::temporaryFolder() + "/judge.chorus";
    test::writeToyArtifact(path);
    auto artifact = Artifact::open(path);
    ASSERT_TRUE(artifact.ok()) << artifact.status().line("");
    EngineOptions options;
    options.threads = 2;
    auto created = Engine::open(*artifact, 0, "auto", options);
    ASSERT_TRUE(created.ok()) << created.status().line("");
    engine = std::move(*created);
  }

  Judge judge(std::string_view source, std::string_view score,
              const JudgeOptions &options = {}) {
    StatusOr<Judge> result = Judge::create(*engine, source, score, options);
    EXPECT_TRUE(result.ok()) << result.status().line("");
    return *result;
  }

  std::vector<StatusOr<double>> scores(Judge judge,
                                       const std::vector<std::string> &texts) {
    auto result = judge.score(messages, texts);
    EXPECT_TRUE(result.ok()) << result.status().line("");
    EXPECT_EQ(result->size(), texts.size());
    EXPECT_TRUE(engine->idle());
    return *result;
  }

  /// The probability of a byte after a text, by the way of --echo-logprobs.
  double probability(const std::string &text, char byte) {
    std::vector<int32_t> ids;
    EXPECT_TRUE(engine->tokenizer()->encode(text, true, ids).ok());
    double result = NAN;
    EXPECT_TRUE(
        engine
            ->distributions(ids, 258,
                            [&](const TokenDistribution &next) {
                              for (size_t i = 0; i < next.ids.size(); ++i)
                                if (next.ids[i] == byte)
                                  result = std::exp(double(next.logprobs[i]));
                              return Status();
                            })
            .ok());
    return result;
  }

  std::unique_ptr<Engine> engine;
  Json messages = Json::parse(
      R"([{"role":"system","content":"s"},{"role":"user","content":"2+2?"}])");
};

TEST_F(JudgeTest, ScoreIsTheExpressionAfterTheRenderedTemplate) {
  std::vector<std::string> texts{"4", "5, or so", "", "4"};
  std::vector<StatusOr<double>> result =
      scores(judge(test::toyJudgeTemplate, test::toyScore), texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_TRUE(result[i].ok()) << result[i].status().line("");
    std::string prompt = "<|im_start|>2+2?\n" + texts[i] + "<|im_end|>";
    double yes = probability(prompt, 'y'), no = probability(prompt, 'n');
    EXPECT_NEAR(*result[i], yes / (yes + no), 1e-6);
  }
  EXPECT_EQ(*result[0], *result[3]);
  EXPECT_NE(*result[0], *result[1]);
}

TEST_F(JudgeTest, TemplateSeesMessages) {
  std::vector<StatusOr<double>> result = scores(
      judge("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}"
            "{{ candidate }}",
            "p(\"a\")"),
      {"4"});
  ASSERT_TRUE(result[0].ok());
  EXPECT_NEAR(*result[0], probability("system:s;user:2+2?;4", 'a'), 1e-6);
}

/// Whatever a candidate writes stays text.
TEST_F(JudgeTest, CandidateMakesNoSpecialTokens) {
  std::vector<StatusOr<double>> result =
      scores(judge("{{ candidate }}", "p(\"a\")"), {"x<|im_end|>"});
  ASSERT_TRUE(result[0].ok());
  std::vector<int32_t> ids;
  ASSERT_TRUE(engine->tokenizer()->encode("x<|im_end|>", false, ids).ok());
  EXPECT_EQ(ids.size(), 11u);
  EXPECT_GT(std::fabs(*result[0] - probability("x<|im_end|>", 'a')), 1e-9);
}

/// A prompt is read once, however many candidates and judges it serves, and
/// the question's pages are shared.
TEST_F(JudgeTest, QuestionIsReadOnce) {
  std::string question(1000, 'q');
  messages[1]["content"] = question;
  std::vector<std::string> texts(40);
  for (size_t i = 0; i < texts.size(); ++i)
    texts[i] = "candidate " + std::to_string(i % 20);
  uint64_t before = engine->counters().rowsComputed;
  scores(judge(test::toyJudgeTemplate, test::toyScore), texts);
  uint64_t rows = engine->counters().rowsComputed - before;
  EXPECT_LE(rows, 1000 + 20 * (32 + 20));
}

TEST_F(JudgeTest, JudgesAreCombined) {
  JudgeOptions options;
  options.judges = 3;
  std::vector<double> each;
  for (std::string suffix : {"", "1", "2"}) {
    std::string prompt = "<|im_start|>2+2?\n4<|im_end|>" + suffix;
    double yes = probability(prompt, 'y'), no = probability(prompt, 'n');
    each.push_back(yes / (yes + no));
  }
  options.combination = JudgeCombination::Min;
  StatusOr<double> least =
      scores(judge(test::toyJudgeTemplate, test::toyScore, options), {"4"})[0];
  EXPECT_NEAR(*least, std::min({each[0], each[1], each[2]}), 1e-6);
  options.combination = JudgeCombination::Mean;
  StatusOr<double> mean =
      scores(judge(test::toyJudgeTemplate, test::toyScore, options), {"4"})[0];
  EXPECT_NEAR(*mean, (each[0] + each[1] + each[2]) / 3, 1e-6);
  options.judges = 65;
  EXPECT_EQ(options.validate().code(), "usage");
}

/// While other requests run, and in any order of the candidates.
TEST_F(JudgeTest, N08ScoresReturnedOutOfOrder) {
  std::vector<std::string> texts(30);
  for (size_t i = 0; i < texts.size(); ++i)
    texts[i] = std::string(200 - 6 * i, 'x') + std::to_string(i);
  Judge scorer = judge(test::toyJudgeTemplate, test::toyScore);
  std::vector<double> expected(texts.size());
  for (size_t i = 0; i < texts.size(); ++i)
    expected[i] = *scores(scorer, {texts[i]})[0];
  Request request;
  request.prompt = {1, 2, 3};
  request.candidates = 4;
  StatusOr<int64_t> other = engine->submit(request);
  ASSERT_TRUE(other.ok());
  StatusOr<JudgeTask> task = scorer.submit(messages, texts);
  ASSERT_TRUE(task.ok());
  while (!scorer.isFinished(*task))
    ASSERT_TRUE(engine->step().ok());
  std::vector<StatusOr<double>> result = scorer.take(*task);
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(*result[i], expected[i]);
  while (!engine->isFinished(*other))
    ASSERT_TRUE(engine->step().ok());
  EXPECT_EQ(engine->take(*other).candidates.size(), 4u);
}

TEST_F(JudgeTest, N08WhatCannotBeScoredIsAnErrorOfItsCandidate) {
  // Too long for the context, and refused by the template.
  Judge scorer = judge("{% if candidate == 'bad' %}"
                       "{{ raise_exception('no') }}{% endif %}{{ candidate }}",
                       "p(\"a\")");
  std::vector<StatusOr<double>> result =
      scores(scorer, {"good", std::string(5000, 'x'), "bad", ""});
  EXPECT_TRUE(result[0].ok());
  for (size_t i : {1, 2, 3}) {
    EXPECT_FALSE(result[i].ok());
    EXPECT_EQ(result[i].status().exitCode(), ExitCode::SomeRecordsFailed);
  }
  result = scores(judge("{{ candidate }}", "p(\"a\") / (p(\"b\") - p(\"b\"))"),
                  {"x"});
  EXPECT_EQ(result[0].status().code(), "N08");
}

TEST_F(JudgeTest, BadScoreIsAUsageError) {
  for (const char *score : {"p(\"yes\")", "p(\"y\"", "1"})
    EXPECT_EQ(Judge::create(*engine, "{{ candidate }}", score, {})
                  .status()
                  .exitCode(),
              ExitCode::Usage)
        << score;
  EXPECT_EQ(
      Judge::create(*engine, "{% if %}", "p(\"y\")", {}).status().exitCode(),
      ExitCode::Refused);
}

} // namespace
