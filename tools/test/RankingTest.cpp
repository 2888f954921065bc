//===- RankingTest.cpp - chorus-run: ranking, beams, calculator -----------===//

#include "ToolProcess.h"
#include "ToyArtifact.h"

#include "chorus_rt/Calculator.h"
#include "chorus_rt/Ranker.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

using namespace chorus::test;
using nlohmann::json;

namespace {

/// The toy model that judges itself.
std::string toy() {
  ToyOptions options;
  options.verifier = true;
  return toyArtifact(options);
}

ToolResult runToy(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), toy());
  return runTool(CHORUS_RUN, std::move(arguments), {});
}

std::vector<json> records(const ToolResult &result) {
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::vector<json> all;
  for (const std::string &line : result.lines())
    all.push_back(json::parse(line));
  return all;
}

void refuse(const std::vector<std::string> &arguments,
            const std::string &part) {
  ToolResult result = runToy(arguments);
  EXPECT_EQ(result.exitCode, 2) << result.err;
  EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
}

std::vector<std::string> with(std::vector<std::string> arguments,
                              const std::vector<std::string> &more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// The command line of 40 candidates, as records.
std::vector<std::string> sampled(const std::vector<std::string> &more) {
  return with({"--prompt", "2+2?", "-n", "40", "--max-tokens", "12", "--seed",
               "5", "--json"},
              more);
}

/// The first capital letter of a text, as a vote.
const char *letterPattern = "[A-Z]";
json firstLetter(const std::string &text) {
  for (char c : text)
    if (c >= 'A' && c <= 'Z')
      return std::string(1, c);
  return nullptr;
}

/// Ranks by a score of the records, ties by mean log-probability and index.
void expectRanked(const std::vector<json> &all, const char *score) {
  std::vector<size_t> order(all.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  auto key = [&](size_t i, const char *name) {
    const json &value = all[i]["scores"][name];
    return value.is_null() ? -INFINITY : value.get<double>();
  };
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::tuple(-key(a, score), -key(a, "mean_logprob"), a) <
           std::tuple(-key(b, score), -key(b, "mean_logprob"), b);
  });
  for (size_t i = 0; i < order.size(); ++i)
    EXPECT_EQ(all[order[i]]["rank"], i + 1);
}

//===----------------------------------------------------------------------===//
// Ranking
//===----------------------------------------------------------------------===//

TEST(Ranking, VoteOverAnswersOfAPattern) {
  std::vector<json> all = records(
      runToy(sampled({"--rank", "vote", "--answer-pattern", letterPattern})));
  ASSERT_EQ(all.size(), 40u);
  std::map<std::string, int> counts;
  for (const json &record : all) {
    EXPECT_EQ(record["answer"], firstLetter(record["text"]));
    if (!record["answer"].is_null())
      ++counts[record["answer"]];
  }
  EXPECT_GT(counts.size(), 2u);
  for (const json &record : all)
    EXPECT_EQ(record["scores"]["vote"], record["answer"].is_null()
                                            ? json(nullptr)
                                            : json(counts[record["answer"]]));
  expectRanked(all, "vote");
}

/// The score by the way of --echo-logprobs over the rendered template.
double expectedScore(const std::string &question, const std::string &text) {
  std::vector<json> all = records(runToy(
      {"--prompt", "<|im_start|>" + question + "\n" + text + "<|im_end|>",
       "--parse-special", "--echo-logprobs", "258", "--json"}));
  const json &last = all[0]["positions"].back();
  std::map<int, double> p;
  for (size_t i = 0; i < last["ids"].size(); ++i)
    p[last["ids"][i]] = std::exp(last["logprobs"][i].get<double>());
  return p['y'] / (p['y'] + p['n']);
}

TEST(Ranking, VerifierOfTheArtifact) {
  std::vector<json> all = records(runToy(sampled({"--rank", "verifier"})));
  ASSERT_EQ(all.size(), 40u);
  for (size_t i : {0, 17, 39})
    EXPECT_NEAR(all[i]["scores"]["verifier"],
                expectedScore("2+2?", all[i]["text"]), 1e-6);
  expectRanked(all, "verifier");
  // Neither how much runs at once nor what is printed changes a score.
  std::vector<json> best =
      records(runToy(sampled({"--rank", "verifier", "--top", "3", "--max-batch",
                              "3", "--threads", "1", "--prefill-chunk", "7"})));
  ASSERT_EQ(best.size(), 3u);
  for (const json &record : best)
    EXPECT_EQ(record, all[record["candidate"].get<size_t>()]);
}

TEST(Ranking, VotesThatTheVerifierWeighs) {
  std::vector<json> all = records(runToy(
      sampled({"--rank", "weighted-vote", "--answer-pattern", letterPattern})));
  std::map<std::string, double> weights;
  for (const json &record : all)
    if (!record["answer"].is_null())
      weights[record["answer"]] += record["scores"]["verifier"].get<double>();
  for (const json &record : all)
    if (!record["answer"].is_null())
      EXPECT_EQ(record["scores"]["weighted_vote"], weights[record["answer"]]);
  expectRanked(all, "weighted_vote");
}

TEST(Ranking, JudgesAreCombined) {
  auto scores = [](const std::vector<std::string> &arguments) {
    std::vector<double> all;
    for (const json &record :
         records(runToy(with(sampled({"--rank", "verifier"}), arguments))))
      all.push_back(record["scores"]["verifier"]);
    return all;
  };
  std::vector<double> one = scores({}), least = scores({"--judges", "3"}),
                      mean =
                          scores({"--judges", "3", "--judge-combine", "mean"});
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_LE(least[i], one[i]);
    EXPECT_LE(least[i], mean[i]);
  }
  EXPECT_NE(one, least);
}

TEST(Ranking, TextSaysWhatDecided) {
  ToolResult vote =
      runToy({"--prompt", "x", "-n", "30", "--max-tokens", "9", "--rank",
              "vote", "--answer-pattern", "[A-Z]", "--top", "1"});
  EXPECT_EQ(vote.exitCode, 0) << vote.err;
  EXPECT_NE(vote.out.find("rank 1, "), std::string::npos) << vote.out;
  EXPECT_NE(vote.out.find("votes for "), std::string::npos) << vote.out;
  ToolResult verifier = runToy(
      {"--prompt", "x", "-n", "3", "--max-tokens", "5", "--rank", "verifier"});
  EXPECT_NE(verifier.out.find("rank 3, verifier 0."), std::string::npos)
      << verifier.out;
}

TEST(Ranking, ValueHead) {
  std::string path = temporaryFolder() + "/valued.chorus";
  ToyOptions toyOptions;
  toyOptions.valueHead = true;
  writeToyArtifact(path, toyOptions);
  std::vector<std::string> ask =
      with({path}, sampled({"--rank", "verifier", "--temperature", "0.7"}));
  ToolResult result = runTool(CHORUS_RUN, ask, {});
  std::vector<json> all = records(result);
  ASSERT_EQ(all.size(), 40u);
  for (const json &record : all) {
    EXPECT_EQ(record["values"].size(), record["token_ids"].size());
    EXPECT_EQ(record["scores"]["value"].get<float>(),
              record["values"].back().get<float>());
    EXPECT_FALSE(record["scores"].contains("verifier"));
  }
  expectRanked(all, "value");
  // Token ids need no question, and files give what single prompts give.
  std::string name = temporaryFolder() + "/valued";
  std::ofstream(name + ".jsonl")
      << R"({"id":"0","prompt_ids":[50,43,50,63],"n":40,"seed":5})";
  ToolResult file =
      runTool(CHORUS_RUN,
              {path, "--jsonl", name + ".jsonl", "--out", name, "--rank",
               "verifier", "--max-tokens", "12", "--temperature", "0.7"},
              {});
  EXPECT_EQ(file.exitCode, 0) << file.err;
  std::ifstream in(name);
  EXPECT_EQ(json::parse(in)["candidates"], json(all));
  // A record can be replayed; its values are not a part of that.
  std::ofstream(name + ".record") << result.lines()[3];
  ToolResult replay =
      runTool(CHORUS_RUN, {path, "--replay", name + ".record", "--json"}, {});
  EXPECT_EQ(replay.exitCode, 0) << replay.err;
  // As text.
  ask.erase(std::find(ask.begin(), ask.end(), "--json"));
  ToolResult text = runTool(CHORUS_RUN, ask, {});
  EXPECT_NE(text.out.find("rank 1, value "), std::string::npos) << text.out;
}

TEST(Ranking, N08CandidateThatCannotBeScored) {
  // Without a question there is nothing to judge.
  ToolResult result = runToy({"--prompt-ids", "1,2", "-n", "2", "--max-tokens",
                              "4", "--rank", "verifier", "--json"});
  EXPECT_EQ(result.exitCode, 1) << result.err;
  ASSERT_EQ(result.lines().size(), 2u);
  for (const std::string &line : result.lines()) {
    json record = json::parse(line);
    EXPECT_EQ(record["error"]["code"], "N08");
    EXPECT_EQ(record["error"]["message"],
              "candidate " + std::to_string(int(record["candidate"])) +
                  ": verifier: a prompt of token ids has no question that it "
                  "could see");
    EXPECT_TRUE(record["scores"]["verifier"].is_null());
    EXPECT_EQ(record["token_ids"].size(), 4u);
  }
}

TEST(Ranking, BadOptionsSayWhatIsAllowed) {
  refuse(sampled({"--rank", "votes"}), "--rank");
  refuse(sampled({"--rank", "vote", "--answer-pattern", "a(b"}), "@3");
  refuse(sampled({"--judges", "0"}), "--judges is 0");
  refuse(sampled({"--judge-combine", "max"}), "--judge-combine");
  refuse(sampled({"--pass-at", "1"}), "--pass-at");
  std::string plain = temporaryFolder() + "/plain.chorus";
  writeToyArtifact(plain);
  ToolResult result =
      runTool(CHORUS_RUN, {plain, "--prompt", "x", "--rank", "verifier"}, {});
  EXPECT_EQ(result.exitCode, 2);
  EXPECT_NE(result.err.find("the artifact has none"), std::string::npos)
      << result.err;
}

/// Runs a file of requests; its output's lines.
std::vector<json> runFile(const std::vector<json> &lines,
                          std::vector<std::string> options) {
  static int number = 0;
  std::string name = temporaryFolder() + "/r" + std::to_string(number++);
  std::ofstream in(name + ".jsonl");
  for (const json &line : lines)
    in << line.dump() << "\n";
  in.close();
  options.insert(options.end(),
                 {"--jsonl", name + ".jsonl", "--out", name + ".out"});
  ToolResult result = runToy(options);
  EXPECT_EQ(result.exitCode, 0) << result.err;
  std::vector<json> all;
  std::ifstream out(name + ".out");
  for (std::string line; std::getline(out, line);)
    all.push_back(json::parse(line));
  return all;
}

/// A reference answer is a line's: what is wrong with it ends no run.
TEST(Ranking, AReferenceThatThePatternCannotReadIsItsLinesError) {
  std::string in = writeTemporary(
      "references.jsonl", "{\"id\":\"a\",\"prompt\":\"x\",\"answer\":\"aaa\"}\n"
                          "{\"id\":\"b\",\"prompt\":\"x\",\"answer\":\"" +
                              std::string(60, 'a') +
                              "b\"}\n{\"id\":\"c\",\"prompt\":\"x\"}\n");
  std::vector<std::string> arguments = {
      "--jsonl",          in,       "--out",        "-",
      "--answer-pattern", "(a+)+$", "--max-tokens", "3"};
  ToolResult result = runToy(arguments);
  EXPECT_EQ(result.exitCode, 1) << result.err;
  ASSERT_EQ(result.lines().size(), 3u) << result.err;
  EXPECT_EQ(json::parse(result.lines()[0])["candidates"].size(), 1u);
  json failed = json::parse(result.lines()[1]);
  EXPECT_EQ(failed["id"], "b");
  EXPECT_EQ(failed["error"]["code"], "limit");
  EXPECT_NE(std::string(failed["error"]["message"]).find("too long"),
            std::string::npos);
  EXPECT_EQ(json::parse(result.lines()[2])["candidates"].size(), 1u);
  arguments.emplace_back("--strict");
  ToolResult strict = runToy(arguments);
  EXPECT_EQ(strict.exitCode, 3) << strict.err;
  EXPECT_NE(strict.err.find("references.jsonl:2"), std::string::npos);
}

TEST(Ranking, RequestsHaveVotesAndPassAtK) {
  std::vector<json> lines;
  lines.reserve(3);
  for (int i = 0; i < 3; ++i)
    lines.push_back({{"id", std::to_string(i)},
                     {"prompt", "question " + std::to_string(i)},
                     {"n", 20},
                     {"answer", std::string(1, char('A' + i))}});
  lines[2].erase("answer");
  std::vector<json> all = runFile(
      lines, {"--rank", "weighted-vote", "--answer-pattern", letterPattern,
              "--max-tokens", "15", "--pass-at", "1,5,30"});
  ASSERT_EQ(all.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    std::map<std::string, int> counts;
    std::map<std::string, double> weights;
    for (const json &record : all[i]["candidates"])
      if (!record["answer"].is_null()) {
        ++counts[record["answer"]];
        weights[record["answer"]] += double(record["scores"]["verifier"]);
      }
    const json &votes = all[i]["votes"];
    EXPECT_EQ(votes.size(), counts.size());
    for (size_t v = 0; v < votes.size(); ++v) {
      EXPECT_EQ(votes[v]["count"], counts[votes[v]["answer"]]);
      EXPECT_EQ(votes[v]["weight"], weights[votes[v]["answer"]]);
      if (v > 0)
        EXPECT_LE(votes[v]["weight"], votes[v - 1]["weight"]);
    }
    EXPECT_EQ(all[i].contains("pass_at_k"), i < 2);
    if (i == 2)
      continue;
    int correct = counts[lines[i]["answer"]];
    EXPECT_EQ(all[i]["pass_at_k"],
              json({{"1", chorus::rt::passAtK(20, correct, 1)},
                    {"5", chorus::rt::passAtK(20, correct, 5)}}));
  }
  // One by one on the command line they are the same.
  std::vector<json> alone = records(runToy(
      {"--prompt", "question 1", "-n", "20", "--max-tokens", "15", "--rank",
       "weighted-vote", "--answer-pattern", letterPattern, "--json"}));
  for (size_t k = 0; k < alone.size(); ++k) {
    alone[k]["request"] = "1";
    EXPECT_EQ(alone[k], all[1]["candidates"][k]);
  }
}

//===----------------------------------------------------------------------===//
// Beam search
//===----------------------------------------------------------------------===//

TEST(Beams, RecordsBestFirst) {
  std::vector<std::string> search = {
      "--prompt", "hello",  "--beams",          "6",  "--max-tokens",
      "20",       "--json", "--length-penalty", "0.6"};
  std::vector<json> all = records(runToy(search));
  ASSERT_EQ(all.size(), 6u);
  double before = INFINITY;
  for (size_t i = 0; i < all.size(); ++i) {
    const json &record = all[i];
    EXPECT_EQ(record["candidate"], i);
    EXPECT_EQ(record["rank"], i + 1);
    EXPECT_EQ(record["parameters"]["beams"], 6);
    double sum = 0;
    for (double logprob : record["logprobs"])
      sum += logprob;
    double length = double(record["token_ids"].size());
    EXPECT_NEAR(record["scores"]["beam"], sum / std::pow((5 + length) / 6, 0.6),
                1e-5);
    EXPECT_LE(record["scores"]["beam"], before);
    before = record["scores"]["beam"];
    if (record["finish_reason"] == "length")
      EXPECT_EQ(length, 20);
  }
  std::string expected = runToy(search).out;
  for (const std::vector<std::string> &setting :
       std::vector<std::vector<std::string>>{{"--threads", "1"},
                                             {"--prefill-chunk", "1"},
                                             {"--cpu", "x86-64-v3"}})
    EXPECT_EQ(runToy(with(search, setting)).out, expected);
  ToolResult text = runToy(
      {"--prompt", "hello", "--beams", "2", "--top", "1", "--max-tokens", "5"});
  EXPECT_NE(text.out.find("[0] rank 1, beam score -"), std::string::npos)
      << text.out;
  EXPECT_EQ(text.out.find("rank 2"), std::string::npos);
}

TEST(Beams, OneBeamIsGreedy) {
  std::vector<json> beam = records(runToy(
      {"--prompt", "hello", "--beams", "1", "--max-tokens", "12", "--json"}));
  std::vector<json> greedy =
      records(runToy({"--prompt", "hello", "--temperature", "0", "--max-tokens",
                      "12", "--json"}));
  for (const char *field : {"token_ids", "logprobs", "text", "finish_reason"})
    EXPECT_EQ(beam[0][field], greedy[0][field]);
}

TEST(Beams, BadOptionsSayWhatIsAllowed) {
  for (const std::vector<std::string> &option :
       std::vector<std::vector<std::string>>{{"-n", "4"},
                                             {"--stream"},
                                             {"--rank", "vote"},
                                             {"--temperature", "0.5"},
                                             {"--stop", "x"},
                                             {"--tool", "calculator"}})
    refuse(with({"--prompt", "x", "--beams", "2"}, option), "--beams");
  refuse({"--prompt", "x", "--beams", "0"}, "--beams is 0");
  refuse({"--prompt", "x", "--beams", "1025"}, "--beams is 1025");
  refuse({"--prompt", "x", "--beams", "2", "--length-penalty", "-1"},
         "--length-penalty");
  refuse({"--prompt", "x", "--length-penalty", "1"}, "--beams");
  refuse({"--prompt", "x", "--beams", "2", "--length-form", "sum"},
         "--length-form");
}

//===----------------------------------------------------------------------===//
// Calculator
//===----------------------------------------------------------------------===//

TEST(Calculator, WritesResultsIntoCandidates) {
  // A text of these characters asks often.
  json line = {{"prompt", "1+1"},
               {"n", 300},
               {"max_tokens", 30},
               {"allowed", {'+', '1', '<', '='}}};
  std::vector<json> plain = runFile({line}, {})[0]["candidates"],
                    helped = runFile({line},
                                     {"--tool", "calculator"})[0]["candidates"];
  int asked = 0;
  for (size_t k = 0; k < plain.size(); ++k) {
    // The text by definition: drawn tokens up to a question, then its result.
    std::string before = plain[k]["text"], text = helped[k]["text"];
    size_t same = 0;
    while (same < before.size() && before[same] == text[same])
      ++same;
    size_t question = 0;
    std::optional<std::string> forced;
    while (!forced && ++question < before.size())
      forced = chorus::rt::calculatorContinuation(before.substr(0, question));
    if (!forced) {
      EXPECT_EQ(plain[k]["token_ids"], helped[k]["token_ids"]);
      EXPECT_EQ(plain[k]["logprobs"], helped[k]["logprobs"]);
      continue;
    }
    ++asked;
    EXPECT_GE(same, question);
    EXPECT_EQ(text.substr(question, forced->size()),
              forced->substr(0, 30 - question));
    EXPECT_EQ(helped[k]["token_ids"].size(), 30u);
    EXPECT_EQ(helped[k]["parameters"]["tool"], "calculator");
    // As text, so that other questions may follow.
    for (size_t end = question + 1; end + 8 < text.size(); ++end)
      if (auto next = chorus::rt::calculatorContinuation(text.substr(0, end)))
        EXPECT_EQ(text.substr(end, next->size()),
                  next->substr(0, text.size() - end));
  }
  EXPECT_GT(asked, 20);
}

TEST(Calculator, ReplaysFromTheRecord) {
  std::string name = temporaryFolder() + "/calculated.json";
  json line = {{"prompt", "1+1"},
               {"n", 40},
               {"max_tokens", 30},
               {"allowed", {'+', '1', '<', '='}}};
  std::ofstream out(name);
  std::vector<json> results = runFile({line}, {"--tool", "calculator"});
  ASSERT_EQ(results.size(), 1u);
  for (const json &record : results[0]["candidates"])
    out << record.dump() << "\n";
  out.close();
  ToolResult result = runToy({"--replay", name});
  EXPECT_EQ(result.exitCode, 0) << result.err;
}

} // namespace
