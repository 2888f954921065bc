//===- DetokenizerTest.cpp - Token bytes to valid UTF-8 -------------------===//

#include "chorus_rt/Detokenizer.h"
#include "TokenizerData.h"
#include "chorus_rt/Utf8.h"

#include <random>

using namespace chorus::rt;

namespace {

constexpr const char *replacement = "\uFFFD";

std::string decode(std::string_view bytes, size_t step) {
  Detokenizer detokenizer;
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += step) {
    detokenizer.append(bytes.substr(i, step), text);
    EXPECT_EQ(findInvalidUtf8(text), std::string_view::npos);
    EXPECT_LE(detokenizer.pendingBytes(), 3u);
  }
  detokenizer.flush(text);
  EXPECT_EQ(detokenizer.pendingBytes(), 0u);
  return text;
}

TEST(Detokenizer, CharacterSplitOverTokens) {
  Detokenizer detokenizer;
  std::string text;
  detokenizer.append("caf\xC3", text);
  EXPECT_EQ(text, "caf");
  detokenizer.append("\xA9!", text);
  EXPECT_EQ(text, "caf\u00E9!");
  detokenizer.append("\xF0\x9F", text);
  detokenizer.append("\x98", text);
  EXPECT_EQ(text, "caf\u00E9!");
  EXPECT_EQ(detokenizer.pendingBytes(), 3u);
  detokenizer.append("\x80", text);
  EXPECT_EQ(text, "caf\u00E9!\U0001F600");
  detokenizer.flush(text);
  EXPECT_EQ(text, "caf\u00E9!\U0001F600");
}

TEST(Detokenizer, UnfinishedTail) {
  Detokenizer detokenizer;
  std::string text;
  detokenizer.append("\xF0\x9F\x98", text);
  EXPECT_EQ(text, "");
  detokenizer.flush(text);
  EXPECT_EQ(text, replacement);
  detokenizer.append("a", text);
  EXPECT_EQ(text, replacement + std::string("a"));
}

// Expected texts: Python 3.11, bytes.decode("utf-8", "replace"); for the first
// also the table of The Unicode Standard 14, section 3.9.
TEST(Detokenizer, InvalidBytes) {
  struct {
    std::string_view bytes;
    std::string text;
  } cases[] = {
      {"\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
       "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
      {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41",
       "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41",
       "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42",
       "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFDA\uFFFD\uFFFDB"},
      {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "\uFFFD\uFFFD\uFFFD\uFFFDA"},
      {"\xE2\x82\xE2\x82\xAC", "\uFFFD\u20AC"},
      {"\xC3\xC3\xA9", "\uFFFD\u00E9"},
      {"", ""},
  };
  for (const auto &expected : cases)
    for (size_t step : {1, 2, 3, 4, 100})
      EXPECT_EQ(decode(expected.bytes, step), expected.text) << step;
}

TEST(Detokenizer, CutsChangeNothing) {
  std::mt19937 random(3);
  const uint8_t bytes[] = {'a',  0x80, 0xBF, 0xC2, 0xC3, 0xE0, 0xA0,
                           0xED, 0x9F, 0xF0, 0x90, 0xF4, 0x8F, 0xFF};
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (size_t i = random() % 12; i > 0; --i)
      text += static_cast<char>(bytes[random() % std::size(bytes)]);
    std::string whole = decode(text, 100);
    for (size_t step : {1, 2, 3})
      EXPECT_EQ(decode(text, step), whole);
  }
}

TEST(Detokenizer, T11_CharacterSplitOverTwoStreamedTokens) {
  // SmolLM2 has no token for the whole character.
  std::vector<int32_t> ids = encode(smolLM2(), "\U0001F9A9");
  ASSERT_GE(ids.size(), 2u);
  Detokenizer detokenizer;
  std::string text;
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    ASSERT_TRUE(detokenizer.append(smolLM2(), ids[i], text).ok());
    EXPECT_EQ(text, "");
  }
  ASSERT_TRUE(detokenizer.append(smolLM2(), ids.back(), text).ok());
  EXPECT_EQ(text, "\U0001F9A9");
}

TEST(Detokenizer, T11_IdOutOfRange) {
  Detokenizer detokenizer;
  std::string text;
  detokenizer.append("\xC3", text);
  Status status = detokenizer.append(smolLM2(), 49152, text);
  EXPECT_EQ(status.code(), "T11");
  EXPECT_EQ(status.exitCode(), ExitCode::Refused);
  EXPECT_EQ(detokenizer.pendingBytes(), 1u);
}

TEST(Detokenizer, ControlTokensGiveNoText) {
  Detokenizer detokenizer;
  std::string text;
  ASSERT_TRUE(detokenizer.append(smolLM2(), 2, text).ok());
  EXPECT_EQ(text, "");
}

} // namespace
