//===- ChorusBenchTest.cpp - chorus-bench as a process --------------------===//

#include "ToolProcess.h"
#include "ToyArtifact.h"

#include "chorus_rt/CpuFeatures.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace chorus::test;
using nlohmann::json;

namespace {

TEST(ChorusBench, OneObjectForEachConfiguration) {
  ToolResult result =
      runTool(CHORUS_BENCH, {toyArtifact(), "--prompt-tokens", "40",
                             "--generate", "6", "--candidates", "1,5",
                             "--threads", "1,2", "--repeat", "3", "--json"});
  ASSERT_EQ(result.exitCode, 0) << result.err;
  std::vector<std::string> lines = result.lines();
  ASSERT_EQ(lines.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    json item = json::parse(lines[i]);
    int n = i < 2 ? 1 : 5;
    EXPECT_EQ(item["candidates"], n);
    EXPECT_EQ(item["threads"], i % 2 + 1);
    // Of one candidate all; several may share their first rows.
    EXPECT_LE(item["rows_computed"], 40 + n * 5);
    EXPECT_GE(item["rows_computed"], n == 1 ? 45 : 40 + n * 5 - 8);
    EXPECT_EQ(item["samples"].size(), 3u);
    for (const char *field : {"prefill_tok_s", "decode_tok_s", "total_tok_s",
                              "ttft_s", "peak_rss_bytes", "peak_anon_bytes"})
      EXPECT_GT(item[field].get<double>(), 0) << field;
    EXPECT_LE(item["min"]["total_tok_s"], item["total_tok_s"]);
    EXPECT_GE(item["max"]["total_tok_s"], item["total_tok_s"]);
    for (const char *limit : {"read_GB_s", "int8_GOP_s", "f32_GFLOP_s"})
      EXPECT_GT(item["limits"][limit].get<double>(), 1) << limit;
    // Measured where there is AMX, null elsewhere.
    const auto &amx = item["limits"]["amx_int8_GOP_s"];
    if (chorus::rt::CpuFeatures::host().has("amx_int8"))
      EXPECT_GT(amx, item["limits"]["int8_GOP_s"]);
    else
      EXPECT_TRUE(amx.is_null());
    EXPECT_TRUE(item["share"].contains("decode_read"));
    EXPECT_FALSE(item["cpu"].get<std::string>().empty());
  }
}

TEST(ChorusBench, AShareAboveThePeakFailsTheBench) {
  // No machine does what these products would be.
  std::string wide = temporaryFolder() + "/wide.chorus";
  ToyOptions options;
  options.dFF = 4000000000u;
  writeToyArtifact(wide, options);
  ToolResult result =
      runTool(CHORUS_BENCH, {wide, "--prompt-tokens", "40", "--generate", "6",
                             "--threads", "1,2", "--repeat", "1", "--json"});
  EXPECT_EQ(result.exitCode, 1);
  // The figures of all configurations are there, and one line says why not.
  EXPECT_EQ(result.lines().size(), 2u);
  EXPECT_EQ(result.err.find("chorus-bench: error share: candidates 1, threads "
                            "1: share.prefill_int8: "),
            0u)
      << result.err;
  EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
}

TEST(ChorusBench, TextAndUsage) {
  ToolResult result = runTool(CHORUS_BENCH, {toyArtifact(), "--prompt-tokens",
                                             "8", "--generate", "1", "--repeat",
                                             "1", "--threads", "1"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_NE(result.out.find("rows computed 8 of 8"), std::string::npos)
      << result.out;
  for (std::vector<std::string> wrong :
       {std::vector<std::string>{toyArtifact(), "--candidates", "0"},
        std::vector<std::string>{toyArtifact(), "--prompt-tokens", "5000"},
        std::vector<std::string>{toyArtifact(), "--repeat", "0"}})
    EXPECT_EQ(runTool(CHORUS_BENCH, wrong).exitCode, 2);
}

} // namespace
