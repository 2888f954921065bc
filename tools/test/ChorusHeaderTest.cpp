//===- ChorusHeaderTest.cpp - chorus.h, and the C program that uses it ----===//

#include "ToolProcess.h"
#include "ToyArtifact.h"

#include "chorus_rt/chorus.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <string>
#include <vector>

using namespace chorus::test;
using nlohmann::json;

namespace {

std::string toy() {
  static const std::string path = [] {
    std::string name = temporaryFolder() + "/toy.chorus";
    writeToyArtifact(name);
    return name;
  }();
  return path;
}

/// An open engine over the toy model.
class ChorusHeader : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(chorus_open(toy().c_str(), nullptr, &engine, &error), 0)
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
      runTool(CHORUS_RUN, {toy(), "--prompt-ids", "104,101,108,108,111", "-n",
                           "4", "--max-tokens", "9", "--seed", "7",
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

TEST(ChorusExample, AnswersThroughTheHeader) {
  ToolResult result = runTool(CHORUS_EXAMPLE, {toy(), "hello", "3", "7"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::vector<std::string> lines = result.lines();
  ASSERT_FALSE(lines.empty());
  json record = json::parse(lines.back());
  std::string candidate = std::to_string(record["candidate"].get<int>());
  ToolResult run =
      runTool(CHORUS_RUN, {toy(), "--prompt", "hello", "--candidate", candidate,
                           "--seed", "7", "--max-tokens", "16", "--json"});
  ASSERT_EQ(run.exitCode, 0) << run.err;
  EXPECT_EQ(record, json::parse(run.lines().at(0)));
  EXPECT_EQ(
      runTool(CHORUS_EXAMPLE, {"/nowhere.chorus", "x", "1", "1"}).exitCode, 2);
}

} // namespace
