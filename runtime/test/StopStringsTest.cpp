//===- StopStringsTest.cpp ------------------------------------------------===//

#include "chorus_rt/StopStrings.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <random>

using namespace chorus::rt;

namespace {

/// Visible text and the stop string that fired, empty for none.
std::pair<std::string, std::string>
run(const StopStrings &strings, const std::vector<std::string> &chunks) {
  StopMatcher matcher(strings);
  std::string visible;
  for (const std::string &chunk : chunks)
    if (matcher.append(chunk, visible))
      return {visible, strings.strings()[static_cast<size_t>(matcher.fired())]};
  matcher.flush(visible);
  return {visible, ""};
}

std::pair<std::string, std::string>
run(std::vector<std::string> strings, const std::vector<std::string> &chunks) {
  StatusOr<StopStrings> compiled = StopStrings::create(std::move(strings));
  EXPECT_TRUE(compiled.ok());
  return run(*compiled, chunks);
}

std::string fromHex(const std::string &hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

TEST(StopStrings, HumanEvalGoldens) {
  std::ifstream file(CHORUS_SOURCE_DIR "/test/data/text/humaneval_stops.jsonl");
  StatusOr<StopStrings> strings =
      StopStrings::create({"\nclass", "\ndef", "\n#", "\nif", "\nprint"});
  ASSERT_TRUE(strings.ok());
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    nlohmann::json item = nlohmann::json::parse(line);
    std::vector<std::string> chunks;
    for (const std::string hex : item["chunks_hex"])
      chunks.push_back(fromHex(hex));
    auto [visible, stop] = run(*strings, chunks);
    EXPECT_EQ(visible, fromHex(item["visible_hex"])) << line;
    EXPECT_EQ(stop, item["stop"].is_null() ? "" : std::string(item["stop"]))
        << line;
  }
  EXPECT_EQ(lines, 48);
}

using Result = std::pair<std::string, std::string>;

TEST(StopStrings, EarliestStartWins) {
  // Both are complete after the piece; "bc" ends first.
  EXPECT_EQ(run({"bc", "abcd"}, {"xabcd"}), Result("x", "abcd"));
  EXPECT_EQ(run({"bc", "abcd"}, {"xabce"}), Result("xa", "bc"));
  // In pieces "bc" fires as soon as it is there.
  EXPECT_EQ(run({"bc", "abcd"}, {"xabc", "d"}), Result("xa", "bc"));
  EXPECT_EQ(run({"b", "ab"}, {"ab"}), Result("", "ab"));
}

TEST(StopStrings, HeldBackTextComesWhenItIsNoStop) {
  StatusOr<StopStrings> strings = StopStrings::create({"###END"});
  StopMatcher matcher(*strings);
  std::string visible;
  EXPECT_FALSE(matcher.append("a##", visible));
  EXPECT_EQ(visible, "a");
  EXPECT_FALSE(matcher.append("##", visible));
  EXPECT_EQ(visible, "a#");
  EXPECT_FALSE(matcher.append("EN", visible));
  EXPECT_FALSE(matcher.append("x", visible));
  EXPECT_EQ(visible, "a####ENx");
  EXPECT_FALSE(matcher.append("###", visible));
  matcher.flush(visible);
  EXPECT_EQ(visible, "a####ENx###");
}

TEST(StopStrings, EqualsFindForAnyBorders) {
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops(1 + random() % 4);
    for (std::string &stop : stops)
      for (size_t i = 0, n = 1 + random() % 5; i < n; ++i)
        stop += static_cast<char>('a' + random() % 2);
    std::vector<std::string> chunks(random() % 12);
    for (std::string &chunk : chunks)
      for (size_t i = 0, n = random() % 4; i < n; ++i)
        chunk += static_cast<char>('a' + random() % 3);
    // After each piece: does any string occur, and which one starts first?
    std::string text;
    size_t start = std::string::npos;
    for (size_t c = 0; c < chunks.size() && start == std::string::npos; ++c) {
      text += chunks[c];
      for (const std::string &stop : stops)
        start = std::min(start, text.find(stop));
    }
    Result result = run(stops, chunks);
    EXPECT_EQ(result.first, text.substr(0, start));
    EXPECT_EQ(result.second.empty(), start == std::string::npos);
  }
}

TEST(StopStrings, Limits) {
  EXPECT_EQ(StopStrings::create({""}).status().code(), "usage");
  EXPECT_EQ(
      StopStrings::create(std::vector<std::string>(10000, "a")).status().code(),
      "usage");
  EXPECT_EQ(StopStrings::create({std::string(70000, 'a')}).status().code(),
            "usage");
  EXPECT_TRUE(StopStrings::create({std::string(60000, 'a')}).ok());
  EXPECT_EQ(run(std::vector<std::string>(), {"abc"}), Result("abc", ""));
  EXPECT_EQ(run({std::string("a\0b", 3)}, {std::string("xa\0b", 4)}),
            Result("x", std::string("a\0b", 3)));
}

} // namespace
