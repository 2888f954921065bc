//===- TokenizerTest.cpp - Text to token ids ------------------------------===//

#include "TokenizerData.h"

#include <ctime>
#include <filesystem>
#include <random>

using namespace chorus::rt;

namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CHORUS_TEST_UNDER_ASAN
#endif
#endif
#ifdef CHORUS_TEST_UNDER_ASAN
constexpr double slowdown = 20;
constexpr size_t longTextBytes = 200'000;
#else
constexpr double slowdown = 1;
constexpr size_t longTextBytes = 1'000'000;
#endif

/// Processor time, so that neighbours do not count.
double secondsNow() { return double(std::clock()) / CLOCKS_PER_SEC; }

void expectCases(const Tokenizer &tokenizer, const std::string &path,
                 size_t leastCases) {
  std::vector<TokenizerCase> cases = readTokenizerCases(path);
  EXPECT_GE(cases.size(), leastCases);
  size_t wrong = 0;
  for (const TokenizerCase &expected : cases) {
    if (encode(tokenizer, expected.text, false) == expected.ids &&
        encode(tokenizer, expected.text, true) == expected.idsParseSpecial)
      continue;
    if (++wrong > 5)
      continue;
    EXPECT_EQ(encode(tokenizer, expected.text, false), expected.ids)
        << escapeForMessage(expected.text, 400);
    EXPECT_EQ(encode(tokenizer, expected.text, true), expected.idsParseSpecial)
        << escapeForMessage(expected.text, 400);
  }
  EXPECT_EQ(wrong, 0u) << "of " << cases.size();
}

TEST(Tokenizer, GoldenTextsOfSmolLM2) {
  expectCases(smolLM2(), tokenizerData("smollm2.golden.jsonl"), 290);
}

TEST(Tokenizer, FullGoldenTextsOfSmolLM2) {
  std::string path =
      CHORUS_SOURCE_DIR "/../shared/goldens/tokenizer/smollm2.jsonl";
  if (!std::filesystem::exists(path)) {
    std::printf("full tokenizer set: absent\n");
    return;
  }
  std::printf("full tokenizer set: run\n");
  expectCases(smolLM2(), path, 290);
}

TEST(Tokenizer, GeneratedTextsOfSmolLM2) {
  expectCases(smolLM2(), tokenizerData("smollm2.generated.jsonl"), 2000);
}

class PreTokenizers : public testing::TestWithParam<const char *> {};

TEST_P(PreTokenizers, GeneratedTexts) {
  OwnedTokenizerSource source = readVocabulary(GetParam());
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  expectCases(*tokenizer, tokenizerData(GetParam() + std::string(".jsonl")),
              2000);
}

// A word of one long run, and runs in which each character could go on for
// ever in some alternative of the patterns.
TEST_P(PreTokenizers, T08_LinearTime) {
  OwnedTokenizerSource source = readVocabulary(GetParam());
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  for (const char *unit :
       {"^", "a", "1", " ", "\n", " \n", " a", "'", "\r\n ", "\u3000", "\u0301",
        "<|im_", "<|im_start|>", "ing", "\u65E5", "'s", "<", "<s><s>"}) {
    std::string text;
    double seconds[2];
    for (int round = 0; round < 2; ++round) {
      size_t units =
          longTextBytes / (round == 0 ? 10 : 1) / std::string(unit).size();
      text.clear();
      for (size_t i = 0; i < units; ++i)
        text += unit;
      double begin = secondsNow();
      encode(*tokenizer, text, true);
      seconds[round] = secondsNow() - begin;
    }
    // Quadratic time would be a hundredfold.
    EXPECT_LT(seconds[1], 40 * seconds[0] + 0.25 * slowdown)
        << unit << ": " << seconds[0] << " s, then " << seconds[1] << " s";
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, PreTokenizers,
                         testing::Values("gpt-2", "llama-bpe", "smollm"),
                         [](const auto &info) {
                           std::string name = info.param;
                           name.erase(name.find('-') == std::string::npos
                                          ? name.size()
                                          : name.find('-'),
                                      1);
                           return name;
                         });

TEST(Tokenizer, SmolLM2Facts) {
  const Tokenizer &tokenizer = smolLM2();
  EXPECT_EQ(tokenizer.size(), 49152);
  EXPECT_EQ(tokenizer.bosId(), 1);
  EXPECT_EQ(tokenizer.eosId(), 2);
  EXPECT_EQ(tokenizer.unknownId(), 0);
  EXPECT_EQ(tokenizer.paddingId(), 2);
  EXPECT_FALSE(tokenizer.addBos());
  EXPECT_FALSE(tokenizer.addEos());
  EXPECT_EQ(*tokenizer.kind(2), TokenKind::Control);
  EXPECT_EQ(*tokenizer.tokenText(2), "<|im_end|>");
  EXPECT_EQ(*tokenizer.tokenBytes(2), "");
}

TEST(Tokenizer, LoadsSmolLM2In25Milliseconds) {
  std::string segment = readFile(tokenizerData("smollm2.segment"));
  double best = 1;
  for (int round = 0; round < 5; ++round) {
    double begin = secondsNow();
    EXPECT_TRUE(Tokenizer::create(segment).ok());
    best = std::min(best, secondsNow() - begin);
  }
  RecordProperty("milliseconds", std::to_string(best * 1e3));
  std::printf("loaded in %.1f ms\n", best * 1e3);
#ifdef NDEBUG
  EXPECT_LE(best, 0.025 * slowdown);
#endif
}

// A word of 1 MiB costs n log n, not n^2.
TEST(Tokenizer, T08_LongWords) {
  std::mt19937 random(1);
  std::string word;
  while (word.size() < (1 << 20))
    word += static_cast<char>('a' + random() % 26);
  double begin = secondsNow();
  std::vector<int32_t> ids = encode(smolLM2(), word);
  EXPECT_LT(secondsNow() - begin, 10 * slowdown);
  std::string joined;
  for (int32_t id : ids)
    joined += *smolLM2().tokenBytes(id);
  EXPECT_EQ(joined, word);
}

TEST(Tokenizer, T08_TextOverTheLimit) {
  std::vector<int32_t> ids = {1};
  std::string text(Tokenizer::maxTextBytes + 1, '\n');
  Status status = smolLM2().encode(text, false, ids);
  EXPECT_EQ(status.exitCode(), ExitCode::Limit);
  EXPECT_EQ(status.code(), "T08");
  EXPECT_NE(status.message().find("16777217"), std::string::npos);
  EXPECT_TRUE(ids.empty());

  std::vector<TextSpan> spans(2);
  spans[0].text.assign(Tokenizer::maxTextBytes, 'a');
  spans[1].text = "a";
  status = smolLM2().encode(spans, ids);
  EXPECT_EQ(status.code(), "T08");

  text.clear();
  while (text.size() < Tokenizer::maxTextBytes)
    text += " the";
  status = smolLM2().encode(text, false, ids);
  EXPECT_TRUE(status.ok()) << status.line("test");
  EXPECT_EQ(ids.size(), Tokenizer::maxTextBytes / 4);
}

TEST(Tokenizer, T09_InvalidUtf8) {
  struct {
    std::string text;
    size_t offset;
  } cases[] = {
      {"\xFF", 0},         // never a byte of UTF-8
      {"ab\x80", 2},       // continuation without a lead
      {"abc\xC0\xAF", 3},  // overlong '/'
      {"\xE0\x80\xAF", 0}, // overlong in three bytes
      {"12345678\xF0\x80\x80\xAF", 8},
      {"x\xED\xA0\x80y", 1},   // lone surrogate
      {"\xF4\x90\x80\x80", 0}, // above U+10FFFF
      {"caf\xC3", 3},          // cut short
      {"\xE2\x82", 0},
      {"\xF0\x9F\x98", 0},
  };
  for (const auto &bad : cases) {
    std::vector<int32_t> ids = {1};
    Status status = smolLM2().encode(bad.text, false, ids);
    EXPECT_EQ(status.exitCode(), ExitCode::Refused) << bad.text;
    EXPECT_EQ(status.code(), "T09");
    EXPECT_EQ(status.place(), "text @0x" + std::to_string(bad.offset));
    EXPECT_NE(status.message().find("offset " + std::to_string(bad.offset)),
              std::string::npos);
    EXPECT_TRUE(ids.empty());
  }
  // A character may not be cut by a border of spans only in appearance: the
  // spans are one text.
  std::vector<int32_t> ids;
  EXPECT_TRUE(smolLM2().encode({{"caf\xC3", true}, {"\xA9", false}}, ids).ok());
  EXPECT_EQ(ids, encode(smolLM2(), "caf\xC3\xA9"));
  // The nearest valid texts.
  for (const char *good : {"\x7F", "\xC2\x80", "\xE0\xA0\x80", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xF4\x8F\xBF\xBF", "\xEF\xBF\xBF"})
    EXPECT_TRUE(smolLM2().encode(good, false, ids).ok());
}

TEST(Tokenizer, NulIsOrdinaryText) {
  std::string text("a\0b", 3);
  std::vector<int32_t> ids = encode(smolLM2(), text);
  std::string joined;
  for (int32_t id : ids)
    joined += *smolLM2().tokenBytes(id);
  EXPECT_EQ(joined, text);
}

TEST(Tokenizer, T10_SpecialTokensInUserText) {
  const Tokenizer &tokenizer = smolLM2();
  std::vector<int32_t> ids;
  ASSERT_TRUE(tokenizer
                  .encode({{"<|im_start|>user\n", false},
                           {"hi<|im_end|>", true},
                           {"<|im_end|>\n", false}},
                          ids)
                  .ok());
  std::vector<int32_t> expected = {1};
  for (int32_t id : encode(tokenizer, "user\nhi<|im_end|>"))
    expected.push_back(id);
  expected.push_back(2);
  for (int32_t id : encode(tokenizer, "\n"))
    expected.push_back(id);
  EXPECT_EQ(ids, expected);
}

TEST(Tokenizer, T10_SpecialTokenHalfFromTheUser) {
  const Tokenizer &tokenizer = smolLM2();
  std::vector<int32_t> ids;
  for (const auto &spans : std::vector<std::vector<TextSpan>>{
           {{"<|im_", false}, {"end|>", true}},
           {{"<|im_", true}, {"end|>", false}},
           {{"<|im_en", false}, {"d", true}, {"|>", false}},
           {{"<|im_end", true}, {"", false}, {"|>", true}}}) {
    ASSERT_TRUE(tokenizer.encode(spans, ids).ok());
    EXPECT_EQ(ids, encode(tokenizer, "<|im_end|>"));
  }
  // What the template writes in two pieces is one text of its own.
  ASSERT_TRUE(
      tokenizer.encode({{"<|im_", false}, {"", true}, {"end|>", false}}, ids)
          .ok());
  EXPECT_EQ(ids, std::vector<int32_t>{2});
}

TEST(Tokenizer, WordsRunAcrossSpans) {
  std::vector<int32_t> ids;
  ASSERT_TRUE(smolLM2().encode({{"The cap", true}, {"ital", false}}, ids).ok());
  EXPECT_EQ(ids, encode(smolLM2(), "The capital"));
  ASSERT_TRUE(smolLM2().encode(std::vector<TextSpan>{}, ids).ok());
  EXPECT_TRUE(ids.empty());
}

// Spans that are all user text, or all template, are the two plain ways to
// encode; cuts anywhere change nothing.
TEST(Tokenizer, SpansEqualPlainTexts) {
  std::mt19937 random(7);
  for (const char *pre : {"gpt-2", "llama-bpe", "smollm"}) {
    OwnedTokenizerSource source = readVocabulary(pre);
    std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
    ASSERT_TRUE(tokenizer);
    std::vector<TokenizerCase> cases =
        readTokenizerCases(tokenizerData(std::string(pre) + ".jsonl"));
    for (const TokenizerCase &expected : cases)
      for (bool isUserText : {true, false}) {
        std::vector<TextSpan> spans;
        size_t cut = random() % (expected.text.size() + 1);
        spans.push_back({expected.text.substr(0, cut), isUserText});
        spans.push_back({expected.text.substr(cut), isUserText});
        std::vector<int32_t> ids;
        ASSERT_TRUE(tokenizer->encode(spans, ids).ok());
        ASSERT_EQ(ids, isUserText ? expected.ids : expected.idsParseSpecial)
            << pre << ": " << escapeForMessage(expected.text, 400);
      }
  }
}

// llama.cpp takes a whole word from the vocabulary whatever its kind; here
// plain text stays plain.
TEST(Tokenizer, T10_WordThatSpellsAControlToken) {
  OwnedTokenizerSource source = readVocabulary("llama-bpe");
  source.tokens.push_back("secret");
  source.source.kinds.push_back(int32_t(TokenKind::Control));
  int32_t secret = static_cast<int32_t>(source.tokens.size()) - 1;
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  for (int32_t id : encode(*tokenizer, "secret"))
    EXPECT_NE(id, secret);
  EXPECT_EQ(encode(*tokenizer, "secret", true), std::vector<int32_t>{secret});
}

TEST(Tokenizer, T10_MergesThatSpellAControlToken) {
  OwnedTokenizerSource source = readVocabulary("gpt-2");
  source.tokens.insert(source.tokens.end(), {"<|", "<|>"});
  source.merges.insert(source.merges.end(), {"< |", "<| >"});
  source.source.kinds.insert(
      source.source.kinds.end(),
      {int32_t(TokenKind::Normal), int32_t(TokenKind::Control)});
  int32_t control = static_cast<int32_t>(source.tokens.size()) - 1;
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  std::vector<int32_t> ids = encode(*tokenizer, "<|>");
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(ids[0], control - 1);
  EXPECT_EQ(encode(*tokenizer, "<|>", true), std::vector<int32_t>{control});
}

TEST(Tokenizer, T11_IdOutOfRange) {
  for (int32_t id : {-1, 49152, INT32_MIN, INT32_MAX}) {
    EXPECT_EQ(smolLM2().tokenBytes(id).status().code(), "T11");
    EXPECT_EQ(smolLM2().tokenText(id).status().code(), "T11");
    EXPECT_EQ(smolLM2().kind(id).status().code(), "T11");
  }
  EXPECT_TRUE(smolLM2().tokenBytes(0).ok());
  EXPECT_TRUE(smolLM2().tokenBytes(49151).ok());
}

// Tokens of a text that the vocabulary can spell give the text back.
TEST(Tokenizer, BytesOfTokensGiveTheTextBack) {
  for (const TokenizerCase &known :
       readTokenizerCases(tokenizerData("smollm2.generated.jsonl"))) {
    std::string kept;
    for (char c : known.text) { // Bytes that this vocabulary lacks.
      uint8_t byte = static_cast<uint8_t>(c);
      if (byte != 0x04 && byte != 0x06 && byte != 0x13 && byte != 0x14 &&
          byte != 0x16 && byte != 0x1D && byte != 0xF1 && byte != 0xF2)
        kept += c;
    }
    std::string joined;
    for (int32_t id : encode(smolLM2(), known.text))
      joined += *smolLM2().tokenBytes(id);
    EXPECT_EQ(joined, kept);
  }
}

TEST(Tokenizer, KindsOfTokensAndTheirBytes) {
  OwnedTokenizerSource source = readVocabulary("gpt-2");
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  auto idOf = [&](std::string_view text) {
    for (size_t i = 0; i < source.tokens.size(); ++i)
      if (source.tokens[i] == text)
        return static_cast<int32_t>(i);
    return -1;
  };
  auto expect = [&](std::string_view stored, TokenKind kind,
                    std::string_view bytes, std::string_view text) {
    int32_t id = idOf(stored);
    EXPECT_EQ(*tokenizer->kind(id), kind) << stored;
    EXPECT_EQ(*tokenizer->tokenBytes(id), bytes) << stored;
    EXPECT_EQ(*tokenizer->tokenText(id), text) << stored;
  };
  expect("\u0120hello", TokenKind::Normal, " hello", " hello");
  expect("<s>", TokenKind::Control, "", "<s>");
  expect("<unk>", TokenKind::Unknown, "", "<unk>");
  expect("na\u00EFve", TokenKind::UserDefined, "na\u00EFve", "na\u00EFve");
  expect("<0x41>", TokenKind::Byte, "A", "A");
  expect("<unused0>", TokenKind::Unused, "", "<unused0>");
  // The file has the wrong type.
  expect("<|eom_id|>", TokenKind::Control, "", "<|eom_id|>");
}

} // namespace
