//===- ScoreExpressionTest.cpp --------------------------------------------===//

#include "chorus_rt/ScoreExpression.h"
#include "TokenizerData.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace chorus::rt;

namespace {

void mapLog(const double *x, int64_t count, double *result) {
  for (int64_t i = 0; i < count; ++i)
    result[i] = std::log(x[i]);
}

const ScalarFunctions functions{nullptr, mapLog};

StatusOr<double> evaluate(std::string_view source,
                          const std::vector<double> &probabilities) {
  StatusOr<ScoreExpression> expression = ScoreExpression::parse(source);
  if (!expression.ok())
    return expression.status();
  EXPECT_EQ(expression->texts().size(), probabilities.size());
  return expression->evaluate(probabilities, functions);
}

double value(std::string_view source,
             const std::vector<double> &probabilities) {
  StatusOr<double> result = evaluate(source, probabilities);
  EXPECT_TRUE(result.ok()) << result.status().line("");
  return result.ok() ? *result : NAN;
}

TEST(ScoreExpression, ShareOfOneToken) {
  StatusOr<ScoreExpression> expression =
      ScoreExpression::parse("p(\" yes\") / (p(\" yes\") + p(\" no\"))");
  ASSERT_TRUE(expression.ok());
  EXPECT_EQ(expression->texts(), (std::vector<std::string>{" yes", " no"}));
  EXPECT_EQ(*expression->evaluate({0.3, 0.1}, functions), 0.3 / (0.3 + 0.1));
}

TEST(ScoreExpression, Grammar) {
  EXPECT_EQ(value("1+2*p(\"a\")", {0.5}), 2);
  EXPECT_EQ(value("(1+2)*p(\"a\")", {0.5}), 1.5);
  EXPECT_EQ(value("8-4-p(\"a\")", {1}), 3);
  EXPECT_EQ(value("8/4/2*p(\"a\")", {1}), 1);
  EXPECT_EQ(value("-p(\"a\")*2 - -3", {0.25}), 2.5);
  EXPECT_EQ(value("+p(\"a\")", {0.25}), 0.25);
  EXPECT_EQ(value(" 1e-2 * .5\n* p ( \"a\" ) ", {1}), 0.005);
  EXPECT_EQ(value("log(p(\"a\")) - log(p(\"b\"))", {0.5, 0.25}),
            std::log(0.5) - std::log(0.25));
  EXPECT_EQ(value("0/1 + p(\"a\")", {0}), 0);
}

TEST(ScoreExpression, Strings) {
  StatusOr<ScoreExpression> expression = ScoreExpression::parse(
      R"~(p("\"") + p("\\n") + p("\n\r\t") + p("é)") + p(""))~");
  ASSERT_TRUE(expression.ok()) << expression.status().line("");
  EXPECT_EQ(expression->texts(),
            (std::vector<std::string>{"\"", "\\n", "\n\r\t", "é)", ""}));
}

TEST(ScoreExpression, WrongSyntaxIsAUsageErrorWithItsOffset) {
  struct Case {
    std::string source;
    size_t offset;
  } cases[] = {{"", 0},
               {"p", 0},
               {"p(yes)", 2},
               {"p(\"yes\"", 7},
               {"p(\"yes", 6},
               {"p(\"\\x\")", 4},
               {"p(\"\\", 4},
               {"1 + ", 4},
               {"p(\"a\") 2", 7},
               {"p(\"a\") ** 2", 8},
               {"(p(\"a\")", 7},
               {"p(\"a\"))", 6},
               {"exp(p(\"a\"))", 0},
               {"inf*p(\"a\")", 0},
               {"nan*p(\"a\")", 0},
               {"1e999*p(\"a\")", 0},
               {"log p(\"a\")", 0}};
  for (const Case &c : cases) {
    Status status = ScoreExpression::parse(c.source).status();
    EXPECT_EQ(status.code(), "usage") << c.source;
    EXPECT_NE(status.message().find("' @" + std::to_string(c.offset) + ": "),
              std::string::npos)
        << c.source << ": " << status.message();
  }
  EXPECT_EQ(ScoreExpression::parse("1 + 2").status().code(), "usage");
  EXPECT_EQ(ScoreExpression::parse("p(\"\xFF\")").status().code(), "usage");
  std::string deep(5000, '(');
  EXPECT_EQ(ScoreExpression::parse(deep).status().code(), "usage");
  EXPECT_EQ(ScoreExpression::parse(deep.substr(0, 4000)).status().code(),
            "usage");
  EXPECT_EQ(ScoreExpression::parse(std::string(4000, '-')).status().code(),
            "usage");
  EXPECT_EQ(value("((((((p(\"a\"))))))) ", {0.5}), 0.5);
}

TEST(ScoreExpression, EachTextIsExactlyOneToken) {
  auto tokenizer =
      Tokenizer::create(readFile(tokenizerData("smollm2.segment")));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().line("");
  auto tokens = [&](std::string_view source) {
    return ScoreExpression::parse(source)->tokens(**tokenizer);
  };
  StatusOr<std::vector<int32_t>> ids =
      tokens("p(\" yes\") + p(\"<|im_end|>\") + p(\" yes\")");
  ASSERT_TRUE(ids.ok()) << ids.status().line("");
  ASSERT_EQ(ids->size(), 2u);
  EXPECT_EQ(*(*tokenizer)->tokenText((*ids)[1]), "<|im_end|>");
  Status status = tokens("p(\" yes\") + p(\" yes and no\")").status();
  EXPECT_EQ(status.code(), "usage");
  EXPECT_NE(status.message().find("p(\" yes and no\") is 3 tokens"),
            std::string::npos)
      << status.message();
  EXPECT_NE(tokens("p(\"\")").status().message().find("is 0 tokens"),
            std::string::npos);
}

TEST(ScoreExpression, N08WhatHasNoValueIsAnError) {
  auto code = [](std::string_view source,
                 const std::vector<double> &probabilities) {
    Status status = evaluate(source, probabilities).status();
    EXPECT_EQ(status.exitCode(), ExitCode::SomeRecordsFailed);
    return status.code();
  };
  EXPECT_EQ(code("p(\"a\") / (p(\"a\") + p(\"b\"))", {0, 0}), "N08");
  EXPECT_EQ(code("log(p(\"a\"))", {0}), "N08");
  EXPECT_EQ(code("log(p(\"a\") - 1)", {0.5}), "N08");
  EXPECT_EQ(code("1e308 * 10 * p(\"a\")", {1}), "N08");
  EXPECT_EQ(code("p(\"a\")", {NAN}), "N08");
  EXPECT_EQ(code("p(\"a\")", {-0.1}), "N08");
  EXPECT_EQ(code("p(\"a\")", {1.1}), "N08");
  EXPECT_EQ(code("p(\"a\")", {INFINITY}), "N08");
  EXPECT_EQ(value("p(\"a\")", {0}), 0);
  EXPECT_EQ(value("p(\"a\")", {1}), 1);
}

} // namespace
