//===- ChorusRunTest.cpp - chorus-run as a process ------------------------===//

#include "ToolProcess.h"
#include "ToyArtifact.h"
#include "toy_model.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <map>
#include <sys/stat.h>

using namespace chorus::test;
using nlohmann::json;

namespace {

ToolResult run(std::vector<std::string> arguments,
               const ToolInput &input = {}) {
  return runTool(CHORUS_RUN, std::move(arguments), input);
}

/// Runs over the toy model.
ToolResult runToy(std::vector<std::string> arguments,
                  const ToolInput &input = {}) {
  arguments.insert(arguments.begin(), toyArtifact());
  return run(std::move(arguments), input);
}

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

size_t countLines(const std::string &text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

TEST(ChorusRun, ReplayGivesTheRecordAgain) {
  ToolResult first =
      runToy({"--prompt", "hello", "-n", "5", "--max-tokens", "12", "--seed",
              "9", "--temperature", "0.9", "--top-k", "20", "--min-tokens", "3",
              "--stop", "zz", "--logit-bias", "70=-1.25", "--json"});
  ASSERT_EQ(first.exitCode, 0) << first.err;
  // Any record, alone; several, one after the other.
  for (size_t k : {4u, 1u}) {
    ToolResult again = runToy(
        {"--replay", writeTemporary("one.json", first.lines()[k]), "--json"});
    EXPECT_EQ(again.exitCode, 0) << again.err;
    EXPECT_EQ(again.out, first.lines()[k] + "\n");
  }
  ToolResult all = runToy({"--replay", writeTemporary("all.jsonl", first.out),
                           "--json", "--threads", "3", "--prefill-chunk", "2"});
  EXPECT_EQ(all.exitCode, 0) << all.err;
  EXPECT_EQ(all.out, first.out);
}

TEST(ChorusRun, ReplaysAnyRecord) {
  auto expectReplayed = [](const std::string &records, const std::string &out) {
    ToolResult again =
        runToy({"--replay", writeTemporary("any.json", records), "--json"});
    EXPECT_EQ(again.exitCode, 0) << again.err;
    EXPECT_EQ(again.out, out);
  };
  // Beams: without the scores, which belong to the search.
  ToolResult beams = runToy(
      {"--prompt", "hello", "--beams", "3", "--max-tokens", "6", "--json"});
  ASSERT_EQ(beams.lines().size(), 3u) << beams.err;
  std::string plain;
  for (const std::string &line : beams.lines()) {
    size_t scores = line.find(",\"scores\":"),
           origin = line.find(",\"artifact_sha256\":");
    plain += line.substr(0, scores) + line.substr(origin) + "\n";
  }
  expectReplayed(beams.out, plain);
  json wrong = json::parse(beams.lines()[1]);
  wrong["token_ids"][1] = (wrong["token_ids"][1].get<int>() + 1) % 256;
  ToolResult differs =
      runToy({"--replay", writeTemporary("wrong.json", wrong.dump())});
  EXPECT_EQ(differs.exitCode, 1);
  EXPECT_TRUE(contains(differs.err, "candidate 1: token 1 is")) << differs.err;

  // A request's line of a JSONL run: its candidates; one that failed has none.
  std::string in = writeTemporary(
      "in.jsonl", "{\"id\":\"a\",\"prompt\":\"hello\",\"n\":3,\"max_tokens\":"
                  "5,\"allowed\":[70,71,72]}\n{\"prompt\":7}\n");
  ToolResult requests = runToy({"--jsonl", in, "--out", "-"}),
             candidates = runToy(
                 {"--jsonl", in, "--out", "-", "--records", "candidate"});
  ASSERT_EQ(requests.lines().size(), 2u) << requests.err;
  ASSERT_EQ(candidates.lines().size(), 4u) << candidates.err;
  std::string records;
  for (size_t i = 0; i < 3; ++i)
    records += candidates.lines()[i] + "\n";
  expectReplayed(requests.out, records);
}

TEST(ChorusRun, ReplayTakesAllFromTheRecord) {
  std::string record = writeTemporary(
      "record.json",
      runToy({"--prompt", "hello", "--max-tokens", "4", "--json"}).out);
  for (std::vector<std::string> more : std::vector<std::vector<std::string>>{
           {"--prompt", "x"},
           {"-n", "2"},
           {"--rank", "vote"},
           {"--jsonl", record, "--out", "-"}}) {
    more.insert(more.end(), {"--replay", record});
    ToolResult result = runToy(more);
    EXPECT_EQ(result.exitCode, 2) << more[0];
    EXPECT_TRUE(contains(result.err, "--replay takes everything")) << more[0];
  }
}

TEST(ChorusRun, ReplayTellsWhatDiffers) {
  ToolResult first =
      runToy({"--prompt", "hello", "--max-tokens", "4", "--json"});
  json record = json::parse(first.lines().at(0));
  auto replayOf = [](const json &changed) {
    return runToy(
        {"--replay", writeTemporary("changed.json", changed.dump()), "--json"});
  };
  auto expectError = [&](const json &changed, int exitCode,
                         const std::string &needle) {
    ToolResult result = replayOf(changed);
    EXPECT_EQ(result.exitCode, exitCode);
    EXPECT_TRUE(contains(result.err, needle)) << result.err;
  };
  json token = record;
  token["token_ids"][2] = (token["token_ids"][2].get<int>() + 1) % 256;
  expectError(token, 1, "token 2 is");
  json bits = record;
  bits["logprobs"][1] = bits["logprobs"][1].get<double>() - 0.001;
  expectError(bits, 1, "the log-probability of token 1 has other bits");
  json profile = record;
  profile["profile"] = "cpu0";
  expectError(profile, 2, "of numeric profile cpu0");
  json artifact = record;
  artifact["artifact_sha256"] = std::string(64, '0');
  expectError(artifact, 2, "of artifact 0000");
  json missing = record;
  missing.erase("seed");
  expectError(missing, 3, "'seed' not found");
  json range = record;
  range["parameters"]["top_p"] = 2;
  expectError(range, 3, "top_p");
  ToolResult broken = runToy({"--replay", writeTemporary("broken.json", "{")});
  EXPECT_EQ(broken.exitCode, 3);
  EXPECT_TRUE(contains(broken.err, "J01")) << broken.err;
  std::string deep = record.dump();
  size_t stop = deep.find("\"stop\":[") + 8, levels = 200000;
  deep.insert(stop, std::string(levels, '['));
  deep.insert(stop + levels, std::string(levels, ']'));
  ToolResult nested = runToy({"--replay", writeTemporary("deep.json", deep)});
  EXPECT_EQ(nested.exitCode, 3);
  EXPECT_TRUE(contains(nested.err, "J01: ")) << nested.err;
  EXPECT_TRUE(contains(nested.err, "nested deeper than 8")) << nested.err;
}

TEST(ChorusRun, RecordsInCandidateOrder) {
  ToolResult result =
      runToy({"--prompt", "hello", "-n", "4", "--max-tokens", "9", "--seed",
              "7", "--temperature", "0.8", "--top-p", "0.95", "--json"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_EQ(result.err, "");
  std::vector<std::string> lines = result.lines();
  ASSERT_EQ(lines.size(), 4u);
  for (size_t k = 0; k < 4; ++k) {
    json record = json::parse(lines[k]);
    EXPECT_EQ(record["candidate"], k);
    EXPECT_EQ(record["request"], "0");
    EXPECT_EQ(record["seed"], 7);
    EXPECT_EQ(record["prompt_tokens"], 5);
    EXPECT_EQ(record["token_ids"].size(), record["logprobs"].size());
    EXPECT_EQ(record["profile"], "toy-profile");
    EXPECT_EQ(record["artifact_sha256"].get<std::string>().size(), 64u);
    EXPECT_EQ(record["parameters"]["top_p"], 0.95);
    EXPECT_FALSE(record.contains("rank"));
  }
  EXPECT_NE(json::parse(lines[0])["token_ids"],
            json::parse(lines[1])["token_ids"]);
}

std::vector<std::string> sampled() {
  return {"--prompt",     "The quick brown fox jumps over the lazy dog, twice.",
          "-n",           "8",
          "--max-tokens", "60",
          "--seed",       "3",
          "--json"};
}

TEST(ChorusRun, N06_SameBytesInEverySetting) {
  std::string expected = runToy(sampled()).out;
  EXPECT_EQ(countLines(expected), 8u);
  for (std::vector<std::string> setting :
       std::vector<std::vector<std::string>>{{"--threads", "1"},
                                             {"--threads", "2"},
                                             {"--threads", "3"},
                                             {"--threads", "256"},
                                             {"--prefill-chunk", "1"},
                                             {"--prefill-chunk", "7"},
                                             {"--shared-attention", "off"},
                                             {"--shared-attention", "on"},
                                             {"--max-batch", "1"},
                                             {"--max-batch", "3"},
                                             {"--late-fork", "off"},
                                             {"--prefix-cache", "off"},
                                             {"--cpu", "x86-64-v3"},
                                             {"--cpu", "x86-64-v4"},
                                             {"--context", "200"},
                                             {"--max-memory", "50000000"}}) {
    std::string name = setting[0] + setting[1];
    std::vector<std::string> common = sampled();
    setting.insert(setting.begin(), common.begin(), common.end());
    EXPECT_EQ(runToy(setting).out, expected) << name;
  }
}

TEST(ChorusRun, N07_CandidateAlone) {
  std::vector<std::string> lines = runToy(sampled()).lines();
  for (size_t k : {0, 3, 7}) {
    std::vector<std::string> alone = sampled();
    alone.insert(alone.end(), {"--candidate", std::to_string(k)});
    EXPECT_EQ(runToy(alone).lines(), std::vector<std::string>{lines[k]});
  }
}

TEST(ChorusRun, ReferenceArtifactRunsTheSameWay) {
  std::vector<std::string> arguments = sampled();
  auto withoutHash = [](const ToolResult &result) {
    std::vector<json> records;
    for (const std::string &line : result.lines()) {
      records.push_back(json::parse(line));
      records.back().erase("artifact_sha256");
    }
    return records;
  };
  std::vector<json> step = withoutHash(runToy(arguments));
  arguments.insert(arguments.begin(), toyArtifact({/*reference=*/true}));
  std::vector<json> plain = withoutHash(run(arguments));
  EXPECT_EQ(step.size(), 8u);
  EXPECT_EQ(plain, step);
}

TEST(ChorusRun, EchoGivesTheLogprobsOfGeneration) {
  json record = json::parse(runToy({"--prompt-ids", "5,6,7", "--max-tokens",
                                    "20", "--json", "--ignore-eos"})
                                .lines()
                                .at(0));
  std::string ids = "5,6,7";
  for (int id : record["token_ids"])
    ids += "," + std::to_string(id);
  ToolResult echoed =
      runToy({"--prompt-ids", ids, "--json", "--echo-logprobs",
              std::to_string(TOY_VOCAB), "--prefill-chunk", "4"});
  ASSERT_EQ(echoed.exitCode, 0) << echoed.err;
  json positions = json::parse(echoed.out)["positions"];
  ASSERT_EQ(positions.size(), 23u);
  for (size_t i = 0; i < 20; ++i) {
    const json &position = positions[i + 2];
    ASSERT_EQ(position["ids"].size(), size_t(TOY_VOCAB));
    size_t at = 0;
    while (position["ids"][at] != record["token_ids"][i])
      ++at;
    // The shortest forms are equal where the bits are.
    EXPECT_EQ(position["logprobs"][at].dump(), record["logprobs"][i].dump());
  }
  // Likeliest first, and as many as asked for.
  json three = json::parse(
      runToy({"--prompt-ids", ids, "--json", "--echo-logprobs", "3"})
          .out)["positions"];
  for (size_t i = 0; i < 23; ++i)
    for (size_t j = 0; j < 3; ++j)
      EXPECT_EQ(three[i]["ids"][j], positions[i]["ids"][j]);
}

TEST(ChorusRun, TextShowsRankScoreAndReason) {
  ToolResult result = runToy({"--prompt", "x", "-n", "3", "--max-tokens", "5"});
  EXPECT_EQ(result.exitCode, 0);
  for (const char *part :
       {"] rank 1, mean logprob -", "] rank 2, ", "] rank 3, ", ", length\n"})
    EXPECT_TRUE(contains(result.out, part)) << result.out;
  ToolResult best =
      runToy({"--prompt", "x", "-n", "3", "--max-tokens", "5", "--top", "1"});
  EXPECT_TRUE(contains(best.out, "rank 1"));
  EXPECT_FALSE(contains(best.out, "rank 2"));
  ToolResult ranked =
      runToy({"--prompt", "x", "-n", "3", "--max-tokens", "5", "--rank",
              "mean-logprob", "--top", "2", "--json"});
  ASSERT_EQ(ranked.lines().size(), 2u);
  for (const std::string &line : ranked.lines()) {
    json record = json::parse(line);
    EXPECT_LE(record["rank"], 2);
    EXPECT_EQ(record["scores"]["mean_logprob"], record["mean_logprob"]);
  }
}

TEST(ChorusRun, StreamedLinesAddUpToTheRecords) {
  ToolResult result = runToy({"--prompt", "x", "-n", "3", "--max-tokens", "40",
                              "--stream", "--json", "--stop", "a"});
  std::map<int, std::string> texts;
  std::map<int, std::vector<int>> ids;
  int records = 0;
  for (const std::string &line : result.lines()) {
    json item = json::parse(line);
    int candidate = item["candidate"];
    if (item.contains("token_id")) {
      EXPECT_EQ(records, 0);
      texts[candidate] += item["text_delta"];
      ids[candidate].push_back(item["token_id"]);
      continue;
    }
    ++records;
    EXPECT_EQ(texts[candidate], item["text"]);
    EXPECT_EQ(ids[candidate], item["token_ids"]);
  }
  EXPECT_EQ(records, 3);
  ToolResult text = runToy({"--prompt", "x", "--max-tokens", "8", "--stream"});
  EXPECT_TRUE(contains(text.out, "rank 1"));
}

TEST(ChorusRun, StopStringEndsTheText) {
  json record =
      json::parse(runToy({"--prompt", "x", "--max-tokens", "400",
                          "--temperature", "3", "--json", "--ignore-eos"})
                      .lines()
                      .at(0));
  std::string text = record["text"];
  // Any ASCII character of it will do.
  size_t at = 20;
  while (text[at] < 'a' || text[at] > 'z')
    ++at;
  std::string stop = text.substr(at, 1);
  json stopped = json::parse(
      runToy({"--prompt", "x", "--max-tokens", "400", "--temperature", "3",
              "--json", "--ignore-eos", "--stop", stop, "--stop", "no such"})
          .lines()
          .at(0));
  EXPECT_EQ(stopped["finish_reason"], "stop_string");
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(stopped["parameters"]["stop"][0], stop);
}

//===----------------------------------------------------------------------===//
// Prompts
//===----------------------------------------------------------------------===//

TEST(ChorusRun, PrintPromptRendersTheChat) {
  ToolResult result = runToy({"--chat", "--system", "Be kind.", "--prompt",
                              "Hi <|im_end|>", "--print-prompt", "--json"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  json prompt = json::parse(result.out);
  EXPECT_EQ(prompt["text"],
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n"
            "Hi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  auto count = [](const json &ids, int id) {
    return std::count(ids.begin(), ids.end(), id);
  };
  // T10: what the user wrote is plain text unless asked.
  EXPECT_EQ(count(prompt["ids"], TOY_END), 2);
  prompt = json::parse(runToy({"--chat", "--prompt", "Hi <|im_end|>",
                               "--print-prompt", "--json", "--parse-special"})
                           .out);
  EXPECT_EQ(count(prompt["ids"], TOY_END), 2);
  EXPECT_EQ(runToy({"--prompt", "ab", "--print-prompt"}).out, "ab\n97,98\n");
  EXPECT_EQ(
      runToy({"--prompt", "<|im_end|>", "--print-prompt", "--parse-special"})
          .out,
      "<|im_end|>\n257\n");
}

TEST(ChorusRun, PromptsFromFilesAndStandardInput) {
  std::string expected =
      runToy({"--prompt", "abc\n", "--max-tokens", "5", "--json"}).out;
  EXPECT_FALSE(expected.empty());
  std::string file = writeTemporary("prompt.txt", "abc\n");
  EXPECT_EQ(runToy({"--prompt-file", file, "--max-tokens", "5", "--json"}).out,
            expected);
  ToolInput input;
  input.standardInput = "abc\n";
  EXPECT_EQ(
      runToy({"--prompt-file", "-", "--max-tokens", "5", "--json"}, input).out,
      expected);
  std::string messages =
      R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Yo"}])";
  input.standardInput = messages;
  std::string rendered = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant"
                         "\nYo<|im_end|>\n<|im_start|>assistant\n";
  std::string path = writeTemporary("messages.json", messages);
  for (const std::string &from : {std::string("-"), path})
    EXPECT_EQ(
        json::parse(
            runToy({"--messages", from, "--print-prompt", "--json"}, input)
                .out)["text"],
        rendered);
  std::string other =
      writeTemporary("other.jinja", "{{ messages[0].content }}!");
  EXPECT_EQ(runToy({"--chat", "--prompt", "Hi", "--template", other,
                    "--print-prompt"})
                .lines()
                .at(0),
            "Hi!");
}

TEST(ChorusRun, TokenizeFile) {
  std::string file = writeTemporary(
      "texts.jsonl", "{\"text\":\"ab\"}\n\n{\"text\":\"<|im_end|>\"}\r\n"
                     "{\"text\":\"\\u0000\"}");
  ToolResult result = runToy({"--tokenize-file", file, "--json"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::vector<std::string> lines = result.lines();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "{\"ids\":[97,98]}");
  EXPECT_EQ(json::parse(lines[1])["ids"].size(), 10u);
  EXPECT_EQ(lines[2], "{\"ids\":[0]}");
  EXPECT_EQ(runToy({"--tokenize-file", file, "--json", "--parse-special"})
                .lines()
                .at(1),
            "{\"ids\":[257]}");
}

TEST(ChorusRun, WithoutTokenizerIdsOnly) {
  std::string artifact = toyArtifact({false, /*tokenizer=*/false});
  ToolResult result =
      run({artifact, "--prompt-ids", "1,2", "--max-tokens", "3", "--json"});
  EXPECT_EQ(result.exitCode, 0) << result.err;
  EXPECT_TRUE(json::parse(result.out)["text"].is_null());
  result = run({artifact, "--prompt", "x"});
  EXPECT_EQ(result.exitCode, 3);
  EXPECT_TRUE(contains(result.err, "unsupported")) << result.err;
}

TEST(ChorusRun, ChatOnATerminal) {
  ToolResult result =
      runOnTerminal(CHORUS_RUN, {toyArtifact(), "--max-tokens", "6", "--quiet"},
                    "hello\nagain\n");
  EXPECT_EQ(result.exitCode, 0) << result.out;
  size_t prompts = 0;
  for (size_t at = 0; (at = result.out.find("> ", at)) != std::string::npos;
       ++at)
    ++prompts;
  EXPECT_GE(prompts, 3u) << result.out;
}

//===----------------------------------------------------------------------===//
// Refusals
//===----------------------------------------------------------------------===//

/// One line on stderr, nothing on stdout, the exit code and a part of the line.
void expectError(const ToolResult &result, int exitCode,
                 const std::string &part) {
  EXPECT_EQ(result.exitCode, exitCode) << result.err;
  EXPECT_EQ(countLines(result.err), 1u) << result.err;
  EXPECT_LE(result.err.size(), 513u);
  EXPECT_TRUE(contains(result.err, part)) << result.err;
}

TEST(ChorusRun, BadCommandLinesSayWhatIsAllowed) {
  auto refuse = [](std::vector<std::string> arguments,
                   const std::string &part) {
    SCOPED_TRACE(part);
    ToolResult result = runToy(std::move(arguments));
    expectError(result, 2, part);
    EXPECT_TRUE(result.out.empty());
  };
  refuse({"--prompt", "x", "-n", "0"}, "allowed is 1 to 65536");
  refuse({"--prompt", "x", "-n", "1000000000"}, "allowed is 1 to 65536");
  // With --jsonl it is the flag's fault, too, and no line's.
  std::string in = writeTemporary("flags.jsonl", "{\"prompt\":\"x\"}\n");
  for (std::vector<std::string> flags :
       std::vector<std::vector<std::string>>{{"--top-p", "2"},
                                             {"--max-tokens", "0"},
                                             {"--logit-bias", "258=1"},
                                             {"--stop", ""}}) {
    std::string name = flags[0];
    flags.insert(flags.end(), {"--jsonl", in, "--out", "-"});
    refuse(flags, (name + " ").c_str());
  }
  refuse({"--prompt", "x", "--top-p", "2"}, "--top-p is 2, allowed is above 0");
  refuse({"--prompt", "x", "--top-p", "0"}, "--top-p is 0, allowed is above 0");
  refuse({"--prompt", "x", "--temperature", "-1"}, "allowed is 0 or 0.001");
  refuse({"--prompt", "x", "--temperature", "nan"}, "allowed is 0 or 0.001");
  refuse({"--prompt", "x", "--temperature", "1e308"}, "allowed is 0 or 0.001");
  refuse({"--prompt", "x", "--min-p", "1.5"}, "allowed is 0 to 1");
  refuse({"--prompt", "x", "--max-tokens", "-1"}, "allowed is 1 and up");
  refuse({"--prompt", "x", "--max-tokens", "9223372036854775808"},
         "whole number");
  refuse({"--prompt", "x", "--max-tokens", "1e3"}, "whole number");
  refuse({"--prompt", "x", "--seed", "18446744073709551616"}, "whole number");
  refuse({"--prompt", "x", "--seed", "-1"}, "whole number");
  refuse({"--prompt", "x", "--threads", "4294967297"}, "whole number");
  refuse({"--prompt", "x", "--logit-bias", "1"}, "needed is ID=V");
  refuse({"--prompt", "x", "--logit-bias", "258=1"}, "allowed is 0 to 257");
  refuse({"--prompt", "x", "--stop", ""}, "--stop is an empty string");
  refuse({"--prompt", "x", "--threads", "0"}, "allowed is 1 and up");
  refuse({"--prompt", "x", "-n", "4", "--candidate", "4"}, "allowed is 0 to 3");
  refuse({"--prompt", "x", "--threads", "2000"}, "allowed is 1 to 1024");
  refuse({"--prompt", "x", "--max-batch", "0"}, "allowed is 1 to 65536");
  refuse({"--prompt", "x", "--context", "5000"}, "allowed is 1 to 4096");
  refuse({"--prompt", "x", "--cpu", "sparc"}, "--cpu");
  refuse({"--prompt", "x", "--candidate", "-1"}, "allowed is 0 and up");
  refuse({"--prompt", "x", "--top", "0"}, "allowed is 1 and up");
  refuse({"--prompt", "x", "--rank", "votes"}, "--rank");
  refuse({"--prompt", "x", "--tmeperature", "1"}, "did you mean --temperature");
  refuse({"--prompt", "x", "--prompt-ids", "1"}, "only one is allowed");
  refuse({"--prompt-ids", "1,x"}, "item 1 is no token id");
  refuse({"--prompt-ids", "258"}, "allowed is 0 to 257");
  refuse({"--prompt", ""}, "no tokens");
  refuse({"--prompt", std::string(5000, 'x')}, "5000 tokens, allowed are 4096");
  refuse({"--chat", "--prompt-ids", "1"}, "--chat needs a text");
  refuse({"--prompt", "x", "--system", "y"}, "need --chat");
  refuse({"--prompt", "x", "--echo-logprobs", "3"}, "needs --json");
  refuse({"--prompt", "x", "--json", "--echo-logprobs", "0"},
         "allowed is 1 to 258");
  refuse({"--entry", "step"}, "--entry needs --inputs");
  refuse({}, "no prompt");
  expectError(run({"/nonexistent.chorus", "--prompt", "x"}), 2, "No such file");
  EXPECT_EQ(run({}).exitCode, 2);
}

TEST(ChorusRun, T09_InvalidText) {
  expectError(runToy({"--prompt", "a\xFF"}), 3, "T09: prompt @1");
  expectError(runToy({"--chat", "--prompt", "a\xC0\xAF"}), 3, "T09");
  std::string path = writeTemporary("surrogate.json",
                                    R"([{"role":"user","content":"a\ud800"}])");
  expectError(runToy({"--messages", path}), 3, "T09");
  path = writeTemporary("surrogate.jsonl", "{\"text\":\"ok\"}\n"
                                           "{\"text\":\"\\udc00\"}\n");
  ToolResult result = runToy({"--tokenize-file", path, "--json"});
  expectError(result, 3, "T09");
  EXPECT_TRUE(contains(result.err, ":2:")) << result.err;
}

TEST(ChorusRun, T08_TextOver16MiB) {
  std::string path =
      writeTemporary("long.txt", std::string((16u << 20) + 1, 'x'));
  expectError(runToy({"--prompt-file", path}), 4, "T08");
}

TEST(ChorusRun, ToolsReachTheTemplate) {
  std::string source = writeTemporary(
      "tools.jinja",
      "{% if tools is defined %}{% for tool in tools %}[{{ tool.name }}]"
      "{% endfor %}{% endif %}{{ messages[0].content }}");
  std::string tools =
      writeTemporary("tools.json", R"([{"name":"add"},{"name":"mul"}])");
  auto promptOf = [&](std::vector<std::string> options) {
    options.insert(options.end(), {"--template", source, "--print-prompt"});
    return runToy(options).out;
  };
  std::string messages =
      writeTemporary("talk.json", R"([{"role":"user","content":"hi"}])");
  EXPECT_TRUE(contains(promptOf({"--messages", messages, "--tools", tools}),
                       "[add][mul]hi"));
  EXPECT_TRUE(contains(promptOf({"--chat", "--prompt", "hi", "--tools", tools}),
                       "[add][mul]hi"));
  EXPECT_FALSE(contains(promptOf({"--messages", messages}), "["));
  // A line of a file has the tools, too.
  std::string in = writeTemporary(
      "talk.jsonl", R"({"messages":[{"role":"user","content":"hi"}]})");
  auto tokensOf = [&](std::vector<std::string> options) {
    options.insert(options.end(), {"--template", source, "--jsonl", in, "--out",
                                   "-", "--max-tokens", "1"});
    return json::parse(
               runToy(options).lines().at(0))["candidates"][0]["prompt_tokens"]
        .get<int>();
  };
  EXPECT_EQ(tokensOf({"--tools", tools}), 12);
  EXPECT_EQ(tokensOf({}), 2);

  expectError(runToy({"--prompt", "x", "--tools", tools}), 2, "--tools need");
  for (const char *bad : {"[", "{}", "[]", "[1]"})
    expectError(runToy({"--messages", messages, "--tools",
                        writeTemporary("bad-tools.json", bad)}),
                3, "T01");
}

TEST(ChorusRun, TemplateThatNoLineCouldUse) {
  std::string in = writeTemporary("one.jsonl", "{\"prompt\":\"x\"}\n");
  auto runWith = [&](const char *source) {
    return runToy({"--chat", "--template",
                   writeTemporary("lines.jinja", source), "--jsonl", in,
                   "--out", "-", "--max-tokens", "1"});
  };
  for (const char *broken : {"{% for %}", "{{ messages[0].content }"}) {
    ToolResult result = runWith(broken);
    EXPECT_EQ(result.out, "");
    expectError(result, 3, "template");
  }
  EXPECT_EQ(runWith("{{ messages[0].content }}").exitCode, 0);
}

TEST(ChorusRun, T01_MalformedMessages) {
  auto refuse = [](const std::string &text) {
    std::string path = writeTemporary("bad.json", text);
    expectError(runToy({"--messages", path}), 3, "T01");
  };
  refuse("[");
  refuse("{}");
  refuse("[]");
  refuse("[1]");
  refuse(R"([{"role":1,"content":"x"}])");
  refuse(R"([{"role":"user"}])");
  refuse(R"([{"role":"user","content":"x"},])");
  refuse(R"([{"role":"user","content":"x","k":1e999}])");
  refuse(std::string(100000, '['));
  std::string deep = R"([{"role":"user","content":)" +
                     std::string(100000, '[') + std::string(100000, ']') + "}]";
  refuse(deep);
  auto nested = [](size_t depth) {
    return R"([{"role":"user","content":"x","more":)" +
           std::string(depth - 2, '[') + std::string(depth - 2, ']') + "}]";
  };
  refuse(nested(65));
  std::string path = writeTemporary("deep.json", nested(64));
  EXPECT_EQ(runToy({"--messages", path, "--print-prompt"}).exitCode, 0);
}

TEST(ChorusRun, MaxMemoryRefusesTheRun) {
  ToolResult result = runToy({"--prompt", "x", "--max-memory", "1000"});
  expectError(result, 4, "allowed are 1000");
  EXPECT_EQ(runToy({"--prompt", "x", "--max-tokens", "4", "--max-memory",
                    "100000000"})
                .exitCode,
            0);
}

TEST(ChorusRun, N09_CandidatesWaitForMemory) {
  // Exactly what one candidate needs.
  std::vector<std::string> run = {"--prompt", std::string(50, 'x'), "-n",
                                  "20",       "--max-tokens",       "40",
                                  "--json",   "--max-memory",       "1"};
  std::string refusal = runToy(run).err;
  size_t at = refusal.find("needs ");
  ASSERT_NE(at, std::string::npos) << refusal;
  std::string needed =
      std::to_string(std::strtoull(refusal.c_str() + at + 6, nullptr, 10));
  run.back() = needed;
  ToolResult tight = runToy(run);
  EXPECT_EQ(tight.exitCode, 0) << tight.err;
  run.back() = "100000000";
  EXPECT_EQ(tight.out, runToy(run).out);
}

TEST(ChorusRun, W12_StandardOutputThatCannotBeWritten) {
  ToolInput input;
  input.outputPath = "/dev/full";
  expectError(runToy({"--prompt", "x", "--json", "--max-tokens", "4"}, input),
              5, "W12");
  expectError(runToy({"--prompt", "x", "--stream", "--max-tokens", "4"}, input),
              5, "W12");
}

TEST(ChorusRun, SignalsEndTheRun) {
  for (auto [signal, exitCode] :
       {std::pair(SIGINT, 130), std::pair(SIGTERM, 143),
        std::pair(SIGHUP, 129)}) {
    // What started this test may ignore some, and its children inherit that.
    std::signal(signal, SIG_DFL);
    ToolInput input;
    input.signal = signal;
    input.signalAfterMs = 300;
    ToolResult result = runToy({"--prompt", "x", "-n", "256", "--max-tokens",
                                "4000", "--ignore-eos", "--json"},
                               input);
    expectError(result, exitCode, "stopped by SIG");
    EXPECT_EQ(result.out, "");
    // Before there is anything to stop: while the prompt is waited for.
    std::string fifo = temporaryFolder() + "/prompt" + std::to_string(signal);
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_EQ(runToy({"--prompt-file", fifo}, input).exitCode, exitCode);
  }
}

/// nohup, and a shell's jobs in the background, ignore some.
TEST(ChorusRun, IgnoredSignalsStayIgnored) {
  auto before = std::signal(SIGHUP, SIG_IGN);
  ToolInput input;
  input.signal = SIGHUP;
  input.signalAfterMs = 100;
  ToolResult result = runToy(
      {"--prompt", "x", "-n", "256", "--max-tokens", "1000", "--ignore-eos"},
      input);
  std::signal(SIGHUP, before);
  EXPECT_EQ(result.exitCode, 0) << result.err;
}

// The rows of runs of many requests are in test/Integration/jsonl_runs.py; this
// is what runs under sanitizers too.
TEST(ChorusRun, FileOfRequestsGoesOnAfterASignal) {
  std::string lines;
  for (int i = 0; i < 40; ++i)
    lines += "{\"id\":\"q" + std::to_string(i) +
             "\",\"prompt\":\"x\",\"n\":3,\"answer\":\"1\",\"max_tokens\":" +
             std::to_string(400 + i) + "}\n";
  lines += "{\"id\":\"bad\",\"prompt\":\"x\",\"top_p\":2}\nbroken\n";
  std::string in = writeTemporary("requests.jsonl", lines);
  for (const char *records : {"request", "candidate"}) {
    std::string out = temporaryFolder() + "/results-" + records;
    std::vector<std::string> arguments = {
        "--jsonl",     in,  "--out",     out,    "--ignore-eos",
        "--max-batch", "2", "--records", records};
    ToolInput input;
    input.signal = SIGTERM;
    input.signalAfterMs = 200;
    ToolResult stopped = runToy(arguments, input);
    if (stopped.exitCode == 143)
      EXPECT_TRUE(contains(stopped.err, "the same command goes on"))
          << stopped.err;
    ToolResult result = runToy(arguments);
    EXPECT_EQ(result.exitCode, 1) << result.err;
    EXPECT_TRUE(contains(result.err, "error J05: ")) << result.err;
    EXPECT_TRUE(contains(result.err, "first of 2 failed requests of 42"))
        << result.err;
    arguments[3] = "-";
    ToolResult printed = runToy(arguments);
    EXPECT_EQ(printed.exitCode, 1);
    std::ifstream file(out, std::ios::binary);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}),
              printed.out);
    std::vector<std::string> results = printed.lines();
    ASSERT_EQ(results.size(), records == std::string("request") ? 42u : 122u);
    EXPECT_EQ(json::parse(results.back())["error"]["code"], "J01");
  }
}

TEST(ChorusRun, ErrorsAsJson) {
  ToolResult result = runToy({"--prompt", "x", "-n", "0", "--json-errors"});
  EXPECT_EQ(result.exitCode, 2);
  json error = json::parse(result.err);
  EXPECT_EQ(error["code"], "usage");
}

} // namespace
