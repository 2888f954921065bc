//===- AnswerTest.cpp -----------------------------------------------------===//

#include "chorus_rt/Answer.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace chorus::rt;

namespace {

using Answer = std::optional<std::string>;

Answer find(const AnswerRule &rule, std::string_view text) {
  StatusOr<Answer> answer = rule.find(text);
  EXPECT_TRUE(answer.ok()) << answer.status().line("");
  return answer.ok() ? *answer : Answer();
}

Answer find(std::string_view pattern, std::string_view text) {
  StatusOr<AnswerRule> rule = AnswerRule::fromPattern(pattern);
  EXPECT_TRUE(rule.ok()) << rule.status().line("");
  return rule.ok() ? find(*rule, text) : Answer();
}

TEST(Answer, Gsm8kGoldens) {
  std::ifstream file(CHORUS_SOURCE_DIR "/test/data/text/gsm8k_answer.jsonl");
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    nlohmann::json item = nlohmann::json::parse(line);
    Answer expected;
    if (!item["answer"].is_null())
      expected = item["answer"].get<std::string>();
    EXPECT_EQ(gsm8kAnswer(item["text"].get<std::string>()), expected) << line;
  }
  EXPECT_EQ(lines, 60);
}

TEST(Answer, WithoutPatternGsm8kElseTheTrimmedText) {
  AnswerRule rule;
  EXPECT_EQ(find(rule, "5+3=8\n#### 1,008\n"), "1008");
  EXPECT_EQ(find(rule, "#### none, #### -2"), "-2");
  EXPECT_EQ(find(rule, " \n Paris, France. \t"), "Paris, France.");
  EXPECT_EQ(find(rule, "1,008"), "1008");
  EXPECT_EQ(find(rule, "1,008 apples"), "1,008 apples");
  EXPECT_EQ(find(rule, " \n"), std::nullopt);
  EXPECT_EQ(find(rule, ""), std::nullopt);
  EXPECT_EQ(find(rule, "#### ,"), std::nullopt);
}

TEST(Answer, PatternGivesItsFirstGroupOrAllOfIt) {
  EXPECT_EQ(find("####\\s*(-?[\\d,.]+)", "a #### 1,234\n#### 5"), "1234");
  EXPECT_EQ(find("answer is .*", "the answer is  x y \nz"), "answer is  x y");
  EXPECT_EQ(find("A: *(\\w+)|B: *(\\w+)", "B: yes"), "yes");
  EXPECT_EQ(find("x(y)?", "-x-"), "x");
  EXPECT_EQ(find("####(.*)", "no marker"), std::nullopt);
  EXPECT_EQ(find("####(.*)", "####  \n"), std::nullopt);
  EXPECT_EQ(find("Größe (.)", "Größe é"), "é");
  // Bytes that are no UTF-8 are never part of a match.
  EXPECT_EQ(find("b(.+)", "a\xFF"
                          "bc\xFF"
                          "d"),
            "c");
}

TEST(Answer, PatternThatDoesNotCompileIsAUsageError) {
  StatusOr<AnswerRule> rule = AnswerRule::fromPattern("ab(c");
  EXPECT_EQ(rule.status().code(), "usage");
  EXPECT_EQ(rule.status().exitCode(), ExitCode::Usage);
  EXPECT_NE(rule.status().message().find("'ab(c' @4: "), std::string::npos)
      << rule.status().message();
  EXPECT_EQ(AnswerRule::fromPattern("a\xFF").status().code(), "usage");
  EXPECT_EQ(AnswerRule::fromPattern("\\C").status().code(), "usage");
  EXPECT_EQ(AnswerRule::fromPattern("((((a{1,999}){1,999}){1,999}){1,999})")
                .status()
                .code(),
            "usage");
  EXPECT_TRUE(AnswerRule::fromPattern("ab(c)").ok());
}

TEST(Answer, PatternThatBacktracksForeverIsStopped) {
  StatusOr<AnswerRule> rule = AnswerRule::fromPattern("(a+)+$");
  ASSERT_TRUE(rule.ok());
  EXPECT_EQ(rule->find(std::string(60, 'a') + "b").status().code(), "limit");
  EXPECT_EQ(find(*rule, std::string(60, 'a')), std::string(60, 'a'));
}

} // namespace
