//===- ScalarFunctionsTest.cpp - Emitted exp and log ----------------------===//

#include "../Import/ScratchFolder.h"
#include "chorus/Pipelines/Compile.h"
#include "chorus_rt/Program.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

using namespace chorus;

namespace {

class ScalarFunctions : public ::testing::Test {
protected:
  void SetUp() override {
    std::ofstream(folder.path("f.mlir")) << R"(
      func.func @f(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
        %y = arith.addf %x, %x : tensor<?x32xf32>
        return %y : tensor<?x32xf32>
      })";
    mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
    rt::StatusOr<ImportedModel> model =
        importModel(folder.path("f.mlir"), {}, context);
    ASSERT_TRUE(model.ok()) << model.status().line("");
    rt::StatusOr<ArtifactWriter> writer =
        ArtifactWriter::create(folder.path("f.chorus"));
    ASSERT_TRUE(writer.ok()) << writer.status().line("");
    CompileOptions options;
    ArtifactCompiler compiler(options, *writer);
    for (rt::Status status :
         {compiler.add(*model), compiler.finish(), writer->commit()})
      ASSERT_TRUE(status.ok()) << status.line("");
    auto opened = rt::Artifact::open(folder.path("f.chorus"));
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

TEST_F(ScalarFunctions, AgreeWithTheMathematicalLibrary) {
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

TEST_F(ScalarFunctions, Ends) {
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

TEST_F(ScalarFunctions, HaveTheSameBitsOnEveryCPU) {
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

} // namespace
