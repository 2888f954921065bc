//===- EmittedFunctionsTest.cpp - What the runtime takes of code ----------===//

#include "../Import/ScratchFolder.h"
#include "CompileFile.h"
#include "chorus_rt/Program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

using namespace chorus;

namespace {

class EmittedFunctions : public ::testing::Test {
protected:
  void SetUp() override {
    std::ofstream(folder.path("f.mlir")) << R"(
      func.func @f(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
        %y = arith.addf %x, %x : tensor<?x32xf32>
        return %y : tensor<?x32xf32>
      })";
    auto opened = chorus::test::compileFile(folder.path("f.mlir"),
                                            folder.path("f.chorus"));
    ASSERT_TRUE(opened.ok()) << opened.status().line("");
    artifact = *opened;
  }

  std::vector<double> call(chorus_map_fn function,
                           const std::vector<double> &x) {
    std::vector<double> result(x.size());
    function(x.data(), static_cast<int64_t>(x.size()), result.data());
    return result;
  }

  chorus::test::ScratchFolder folder;
  std::shared_ptr<const rt::Artifact> artifact;
};

TEST_F(EmittedFunctions, AgreeWithTheMathematicalLibrary) {
  auto program = rt::Program::load(artifact);
  ASSERT_TRUE(program.ok()) << program.status().line("");
  rt::ScalarFunctions functions = (*program)->scalarFunctions();
  ASSERT_TRUE(bool(functions));

  std::vector<double> x;
  for (int i = -7070000; i <= 7080000; i += 37)
    x.push_back(i * 1e-4);
  std::vector<double> exps = call(functions.mapExp, x);
  for (size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(exps[i] / std::exp(x[i]), 1, 0x1p-51) << x[i];
  std::vector<double> positive = exps;
  for (int i = -3000; i < 3000; ++i)
    positive.push_back(1 + i * 1e-7);
  std::vector<double> logs = call(functions.mapLog, positive);
  for (size_t i = 0; i < positive.size(); ++i) {
    double expected = std::log(positive[i]);
    ASSERT_NEAR(logs[i], expected, std::fabs(expected) * 0x1p-51)
        << positive[i];
  }
}

TEST_F(EmittedFunctions, Ends) {
  auto program = rt::Program::load(artifact);
  ASSERT_TRUE(program.ok()) << program.status().line("");
  rt::ScalarFunctions functions = (*program)->scalarFunctions();
  double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> exps = call(
      functions.mapExp, {0, -708.5, -1e300, -infinity, 709.5, infinity, NAN});
  EXPECT_EQ(exps[0], 1);
  EXPECT_EQ(exps[1], 0);
  EXPECT_EQ(exps[2], 0);
  EXPECT_EQ(exps[3], 0);
  EXPECT_EQ(exps[4], infinity);
  EXPECT_EQ(exps[5], infinity);
  EXPECT_TRUE(std::isnan(exps[6]));
  EXPECT_EQ(call(functions.mapLog, {1})[0], 0);
}

TEST_F(EmittedFunctions, HaveTheSameBitsOnEveryCPU) {
  std::vector<double> x, positive;
  for (int i = -7000; i <= 7000; i += 3) {
    x.push_back(i * 0.1);
    positive.push_back((i + 7001) * 0.37);
  }
  std::vector<std::vector<double>> exps, logs;
  for (const char *cpu : {"x86-64-v3", "x86-64-v4"}) {
    auto program = rt::Program::load(artifact, 0, cpu);
    if (!program.ok())
      continue; // This machine has less.
    exps.push_back(call((*program)->scalarFunctions().mapExp, x));
    logs.push_back(call((*program)->scalarFunctions().mapLog, positive));
  }
  ASSERT_FALSE(exps.empty());
  EXPECT_EQ(0, std::memcmp(exps.front().data(), exps.back().data(),
                           x.size() * sizeof(double)));
  EXPECT_EQ(0, std::memcmp(logs.front().data(), logs.back().data(),
                           x.size() * sizeof(double)));
}

// To the bit, over whole blocks, a short last one and one of few columns;
// masses themselves are those of exact arithmetic within the error of exp in
// f32.
TEST_F(EmittedFunctions, SumsOfMassesAreThoseOfTheMasses) {
  for (const char *cpu : {"x86-64-v3", "x86-64-v4"}) {
    auto program = rt::Program::load(artifact, 0, cpu);
    if (!program.ok() && std::string(cpu) != "x86-64-v3")
      continue; // This CPU lacks it.
    ASSERT_TRUE(program.ok()) << program.status().line("");
    for (int64_t count : {1, 15, 16, 1024, 1025, 5000}) {
      std::vector<float> logits;
      for (int64_t i = 0; i < count; ++i)
        logits.push_back(static_cast<float>((i * 7919) % 4001) * -0.01f);
      if (count > 16)
        logits[7] = -std::numeric_limits<float>::infinity();
      for (float inverse : {1.0f, 0.6f, 10.0f}) {
        std::vector<uint64_t> masses(logits.size()),
            sums(logits.size() / 1024 + 1);
        (*program)->samplingMasses()(logits.data(), count, 0, inverse,
                                     masses.data());
        ASSERT_NE((*program)->samplingSums(), nullptr);
        (*program)->samplingSums()(logits.data(), count, 0, inverse,
                                   sums.data());
        std::vector<uint64_t> expected(sums.size());
        for (size_t i = 0; i < masses.size(); ++i) {
          expected[i / CHORUS_SAMPLING_BLOCK] += masses[i];
          double exact = std::exp(double(logits[i]) * inverse) * 0x1p40;
          ASSERT_NEAR(static_cast<double>(masses[i]), exact,
                      exact * 0x1p-20 + 1)
              << logits[i];
        }
        if (count % CHORUS_SAMPLING_BLOCK == 0)
          expected.back() = sums.back(); // There is no such block.
        EXPECT_EQ(sums, expected) << cpu << ", " << count << " columns";
      }
    }
  }
}

} // namespace
