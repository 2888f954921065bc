//===- CalculatorTest.cpp -------------------------------------------------===//

#include "chorus_rt/Calculator.h"
#include "TokenizerData.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace chorus::rt;

namespace {

using Forced = std::optional<std::string>;

/// The value of an expression, without the ">>".
std::string value(const std::string &expression) {
  Forced forced = calculatorContinuation("<<" + expression + "=");
  if (!forced)
    return "none";
  EXPECT_EQ(forced->substr(forced->size() - 2), ">>");
  return forced->substr(0, forced->size() - 2);
}

TEST(Calculator, Gsm8kGoldens) {
  std::ifstream file(CHORUS_SOURCE_DIR
                     "/test/data/text/gsm8k_calculator.jsonl");
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    nlohmann::json item = nlohmann::json::parse(line);
    Forced expected;
    if (!item["forced"].is_null())
      expected = item["forced"].get<std::string>();
    EXPECT_EQ(calculatorContinuation(item["text_so_far"].get<std::string>()),
              expected)
        << line;
  }
  EXPECT_EQ(lines, 67);
}

TEST(Calculator, LooksOnlyWhereTheTextEndsInAnEqualsSign) {
  EXPECT_EQ(calculatorContinuation("<<1+2"), std::nullopt);
  EXPECT_EQ(calculatorContinuation("<<1+2=3"), std::nullopt);
  EXPECT_EQ(calculatorContinuation(""), std::nullopt);
  EXPECT_EQ(calculatorContinuation("<<1+2="), "3>>");
}

// As Python's split, which the published rule uses.
TEST(Calculator, OpeningsAreCountedFromTheLeft) {
  EXPECT_EQ(calculatorContinuation("<<<1+2="), std::nullopt);
  EXPECT_EQ(calculatorContinuation("<<<<1+2="), "3>>");
  EXPECT_EQ(calculatorContinuation("<<4<<<1+2="), std::nullopt);
}

// Expected values are Python's.
TEST(Calculator, Powers) {
  EXPECT_EQ(value("-2**2"), "-4");
  EXPECT_EQ(value("2**-1"), "0.5");
  EXPECT_EQ(value("2**3**2"), "512");
  EXPECT_EQ(value("-2**-3**2"), "-0.001953125");
  EXPECT_EQ(value("1.1**10"), "2.5937424601000023");
  EXPECT_EQ(value("1.07**30"), "7.612255042662042");
  EXPECT_EQ(value("0.9**-7"), "2.0907515812876896");
  EXPECT_EQ(value("(-3)**3"), "-27");
  EXPECT_EQ(value("0**0"), "1");
  EXPECT_EQ(value("0**-1"), "none");
  EXPECT_EQ(value("(-8)**(1/3)"), "none");
  EXPECT_EQ(value("2.0**0"), "1");
}

TEST(Calculator, Quotients) {
  EXPECT_EQ(value("-7//2"), "-4");
  EXPECT_EQ(value("7//-2"), "-4");
  EXPECT_EQ(value("7.5//2"), "3");
  EXPECT_EQ(value("-7.5//2"), "-4");
  EXPECT_EQ(value("1//.1"), "9");
  EXPECT_EQ(value("9007199254740993/3"), "3002399751580331");
  EXPECT_EQ(value("9223372036854775807/9223372036854775806"), "1");
  EXPECT_EQ(value("1/9223372036854775807"), "1.0842021724855044e-19");
  EXPECT_EQ(value("-1/7"), "-0.14285714285714285");
  EXPECT_EQ(value("1/0."), "none");
  EXPECT_EQ(value("1.5//0"), "none");
}

TEST(Calculator, Numbers) {
  EXPECT_EQ(value("1/100000"), "1e-05");
  EXPECT_EQ(value("1/8000"), "0.000125");
  EXPECT_EQ(value("10.**22"), "10000000000000000000000");
  EXPECT_EQ(value("0*-1.5"), "0");
  EXPECT_EQ(value("007.5"), "7.5");
  EXPECT_EQ(value("00"), "0");
  EXPECT_EQ(value("1."), "1");
  EXPECT_EQ(value("--+-5"), "-5");
  EXPECT_EQ(value("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(value("9223372036854775807+1"), "none");
  EXPECT_EQ(value("9223372036854775808"), "none");
  EXPECT_EQ(value("2**63"), "none");
  EXPECT_EQ(value(std::string(400, '9') + ".0"), "none");
}

TEST(Calculator, WhatPythonDoesNotTakeHasNoValue) {
  for (const char *expression :
       {".", "()", "1..2", "1.2.3", "2(3)", "(1)(2)", "1*", "*1", "1***2",
        "1///2", "1/ 2", "(", ")", "1)", "...", "+", "5-", "2**", "(1,2"})
    EXPECT_EQ(value(expression), "none") << expression;
  // Neither does the stack grow with the text.
  EXPECT_EQ(value(std::string(100000, '(') + "1"), "none");
  EXPECT_EQ(value(std::string(100000, '-') + "1"), "1");
  std::string tower = "1";
  for (int i = 0; i < 100000; ++i)
    tower += "**1";
  EXPECT_EQ(value(tower), "none");
}

TEST(Calculator, HookFollowsEachCandidate) {
  auto tokenizer =
      Tokenizer::create(readFile(tokenizerData("smollm2.segment")));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().line("");
  ForceCallback hook = calculatorHook(**tokenizer);
  auto forced = [&](int64_t candidate, std::string_view delta) {
    TokenEvent event;
    event.candidate = candidate;
    event.textDelta = delta;
    std::vector<int32_t> next;
    EXPECT_TRUE(hook(event, next).ok());
    std::string text;
    for (int32_t id : next)
      text += *(*tokenizer)->tokenBytes(id);
    return text;
  };
  EXPECT_EQ(forced(0, "He has 2="), "");
  EXPECT_EQ(forced(0, " <"), "");
  EXPECT_EQ(forced(1, "<<5="), "5>>");
  EXPECT_EQ(forced(0, "<3*"), "");
  EXPECT_EQ(forced(0, "4="), "12>>");
  // What follows without text does not ask again.
  EXPECT_EQ(forced(0, ""), "");
  EXPECT_EQ(forced(0, "12>>12, then <<12-"), "");
  EXPECT_EQ(forced(0, "2="), "10>>");
  EXPECT_EQ(forced(1, "5>>="), "");
  EXPECT_EQ(forced(2, "<<"), "");
  EXPECT_EQ(forced(2, "<"), "");
  EXPECT_EQ(forced(2, "5="), "");
}

} // namespace
