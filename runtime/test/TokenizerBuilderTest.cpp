//===- TokenizerBuilderTest.cpp - Vocabularies to segment bytes -----------===//

#include "TokenizerData.h"
#include "chorus_rt/schema/tokenizer_generated.h"

#include <algorithm>

using namespace chorus::rt;

namespace {

/// The smallest vocabulary with each kind of thing in it.
OwnedTokenizerSource smallSource() {
  OwnedTokenizerSource small;
  small.tokens = {"a", "b", "c", "ab", "abc", "<s>", "</s>", "<0x0A>"};
  small.merges = {"a b", "ab c"};
  small.source.kinds = {1, 1, 1, 1, 1, 3, 3, 6};
  small.source.pre = "gpt-2";
  small.source.numScores = 8;
  small.source.bosId = 5;
  small.source.eosId = 6;
  return small;
}

void expectRefused(OwnedTokenizerSource source, std::string_view code,
                   std::string_view place, std::string_view found) {
  StatusOr<std::string> segment = buildTokenizerSegment(source.view());
  ASSERT_FALSE(segment.ok()) << place;
  EXPECT_EQ(segment.status().code(), code) << segment.status().line("test");
  EXPECT_EQ(segment.status().place(), place) << segment.status().line("test");
  EXPECT_EQ(segment.status().exitCode(), ExitCode::Refused);
  EXPECT_NE(segment.status().message().find(found), std::string::npos)
      << segment.status().line("test");
}

void expectAccepted(OwnedTokenizerSource source) {
  EXPECT_TRUE(makeTokenizer(source));
}

TEST(TokenizerBuilder, EqualSourcesGiveEqualBytes) {
  OwnedTokenizerSource one = smallSource(), two = smallSource();
  StatusOr<std::string> first = buildTokenizerSegment(one.view());
  StatusOr<std::string> second = buildTokenizerSegment(two.view());
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(*first, *second);
}

// The stored segment comes from flatc; only the writers differ.
TEST(TokenizerBuilder, BuildsTheSegmentOfSmolLM2) {
  std::string stored = readFile(tokenizerData("smollm2.segment"));
  const auto *expected = chorus::artifact::GetTokenizer(stored.data());
  OwnedTokenizerSource source;
  for (uint32_t i = 0; i < expected->kinds()->size(); ++i) {
    auto begin = expected->text()->begin() + expected->offsets()->Get(i);
    auto end = expected->text()->begin() + expected->offsets()->Get(i + 1);
    source.tokens.emplace_back(begin, end);
    source.source.kinds.push_back(int32_t(expected->kinds()->Get(i)));
  }
  for (uint32_t i = 0; i < expected->merges()->size(); i += 3)
    source.merges.push_back(source.tokens[expected->merges()->Get(i)] + " " +
                            source.tokens[expected->merges()->Get(i + 1)]);
  source.source.pre = expected->pre()->str();
  source.source.bosId = expected->bos_id();
  source.source.eosId = expected->eos_id();
  source.source.unknownId = expected->unk_id();
  source.source.paddingId = expected->pad_id();
  source.source.addBos = false;
  StatusOr<std::string> segment = buildTokenizerSegment(source.view());
  ASSERT_TRUE(segment.ok()) << segment.status().line("test");
  const auto *built = chorus::artifact::GetTokenizer(segment->data());
  auto equal = [](const auto *a, const auto *b) {
    return a->size() == b->size() &&
           std::equal(a->begin(), a->end(), b->begin());
  };
  EXPECT_EQ(built->pre()->str(), expected->pre()->str());
  EXPECT_TRUE(equal(built->text(), expected->text()));
  EXPECT_TRUE(equal(built->offsets(), expected->offsets()));
  EXPECT_TRUE(equal(built->kinds(), expected->kinds()));
  EXPECT_TRUE(equal(built->merges(), expected->merges()));
  EXPECT_EQ(built->bos_id(), expected->bos_id());
  EXPECT_EQ(built->eos_id(), expected->eos_id());
  EXPECT_EQ(built->unk_id(), expected->unk_id());
  EXPECT_EQ(built->pad_id(), expected->pad_id());
  EXPECT_EQ(built->add_bos(), expected->add_bos());
  EXPECT_EQ(built->add_eos(), expected->add_eos());
  EXPECT_EQ(built->ignore_merges(), expected->ignore_merges());
  EXPECT_EQ(built->add_space_prefix(), expected->add_space_prefix());
}

TEST(TokenizerBuilder, PreTokenizers) {
  for (const char *pre : {"gpt-2", "llama-bpe", "smollm"}) {
    EXPECT_TRUE(isKnownPreTokenizer(pre));
    OwnedTokenizerSource source = smallSource();
    source.source.pre = pre;
    expectAccepted(source);
  }
  EXPECT_FALSE(isKnownPreTokenizer("qwen2"));
  OwnedTokenizerSource source = smallSource();
  source.source.pre = "qwen2";
  expectRefused(source, "unsupported", "tokenizer.ggml.pre", "'qwen2'");
}

TEST(TokenizerBuilder, BosByDefault) {
  OwnedTokenizerSource source = smallSource();
  EXPECT_FALSE(makeTokenizer(source)->addBos());
  source.source.pre = "llama-bpe";
  EXPECT_TRUE(makeTokenizer(source)->addBos());
  source.source.addBos = false;
  EXPECT_FALSE(makeTokenizer(source)->addBos());
  source.source.addBos = std::nullopt;
  source.source.bosId = std::nullopt;
  EXPECT_FALSE(makeTokenizer(source)->addBos());
}

TEST(TokenizerBuilder, G24_ByteToken) {
  expectAccepted(smallSource());
  for (const char *text :
       {"<0x-1>", "<0xZZ>", "<0x1>", "<0x>", "<0x100>", "<0x+1>", "<0x 1>",
        "0x0A", "<0X0A>", "", "<0x0A> "}) {
    OwnedTokenizerSource source = smallSource();
    source.tokens[7] = text;
    expectRefused(source, "G24", "tokenizer.ggml.tokens[7]",
                  "'" + std::string(text) + "'");
  }
  // As ordinary text it is a token like any other.
  OwnedTokenizerSource source = smallSource();
  source.tokens[7] = "<0xZZ>";
  source.source.kinds[7] = 1;
  expectAccepted(source);
}

TEST(TokenizerBuilder, G24_ScoresOfOtherLength) {
  for (uint64_t scores : {uint64_t(0), uint64_t(7), uint64_t(9), UINT64_MAX}) {
    OwnedTokenizerSource source = smallSource();
    source.source.numScores = scores;
    expectRefused(source, "G24", "tokenizer.ggml.scores",
                  std::to_string(scores) + " scores for 8 tokens");
  }
  OwnedTokenizerSource source = smallSource();
  source.source.numScores = std::nullopt;
  expectAccepted(source);
}

TEST(TokenizerBuilder, G24_TypesOfOtherLength) {
  OwnedTokenizerSource source = smallSource();
  source.source.kinds.pop_back();
  expectRefused(source, "G24", "tokenizer.ggml.token_type", "7 types");
  source.source.kinds.clear();
  expectAccepted(source);
}

TEST(TokenizerBuilder, G24_UnknownType) {
  for (int32_t type : {-1, 7, INT32_MAX, INT32_MIN}) {
    OwnedTokenizerSource source = smallSource();
    source.source.kinds[2] = type;
    expectRefused(source, "G24", "tokenizer.ggml.token_type[2]",
                  std::to_string(type));
  }
}

TEST(TokenizerBuilder, G24_SpecialIdOutOfRange) {
  struct {
    std::optional<int64_t> TokenizerSource::*id;
    const char *key;
  } named[] = {
      {&TokenizerSource::bosId, "tokenizer.ggml.bos_token_id"},
      {&TokenizerSource::eosId, "tokenizer.ggml.eos_token_id"},
      {&TokenizerSource::unknownId, "tokenizer.ggml.unknown_token_id"},
      {&TokenizerSource::paddingId, "tokenizer.ggml.padding_token_id"}};
  for (const auto &entry : named) {
    for (int64_t id :
         {int64_t(8), int64_t(-1), int64_t(UINT32_MAX), INT64_MIN}) {
      OwnedTokenizerSource source = smallSource();
      source.source.*entry.id = id;
      expectRefused(source, "G24", entry.key, "of 8 tokens");
    }
    OwnedTokenizerSource source = smallSource();
    source.source.*entry.id = 7;
    expectAccepted(source);
  }
}

TEST(TokenizerBuilder, G24_BosOrEosAskedForButNotNamed) {
  OwnedTokenizerSource source = smallSource();
  source.source.addBos = true;
  source.source.addEos = true;
  expectAccepted(source);
  source.source.bosId = std::nullopt;
  expectRefused(source, "G24", "tokenizer.ggml.add_bos_token", "bos_token_id");
  source.source.bosId = 5;
  source.source.eosId = std::nullopt;
  expectRefused(source, "G24", "tokenizer.ggml.add_eos_token", "eos_token_id");
}

TEST(TokenizerBuilder, G24_NoTokens) {
  OwnedTokenizerSource source = smallSource();
  source.tokens.clear();
  expectRefused(source, "G24", "tokenizer.ggml.tokens", "no tokens");
}

TEST(TokenizerBuilder, G12_TokenThatIsNotUtf8) {
  OwnedTokenizerSource source = smallSource();
  source.tokens[2] = "\xFF";
  source.merges.pop_back();
  expectRefused(source, "G12", "tokenizer.ggml.tokens[2]", "\\xff");
}

TEST(TokenizerBuilder, T03_Merges) {
  struct {
    const char *merge, *found;
  } cases[] = {{"x b", "part 'x' is no token"},
               {"a x", "part 'x' is no token"},
               {"b c", "result 'bc' is no token"},
               {"abc abc", "result 'abcabc' is no token"},
               {"ab", "expected two parts"},
               {"", "expected two parts"},
               {" ", "expected two parts"},
               {"a ", "expected two parts"},
               {" b", "expected two parts"},
               {"a  b", "part ' b' is no token"},
               {"a b c", "part 'b c' is no token"},
               {"a b", "is repeated"}};
  for (const auto &bad : cases) {
    OwnedTokenizerSource source = smallSource();
    source.merges[1] = bad.merge;
    expectRefused(source, "T03", "tokenizer.ggml.merges[1]", bad.found);
  }
  OwnedTokenizerSource source = smallSource();
  source.tokens.push_back("bc");
  source.source.kinds.push_back(1);
  source.source.numScores = 9;
  source.merges.push_back("b c");
  source.merges.push_back("a bc");
  expectAccepted(source);
}

TEST(TokenizerBuilder, T04_RepeatedToken) {
  OwnedTokenizerSource source = smallSource();
  source.tokens[6] = "<s>";
  expectRefused(source, "T04", "tokenizer.ggml.tokens[6]",
                "'<s>' is token 5 already");
}

TEST(TokenizerBuilder, T05_SpecialTokenWithoutText) {
  for (int32_t kind : {2, 3, 4}) {
    OwnedTokenizerSource source = smallSource();
    source.tokens[5] = "";
    source.source.kinds[5] = kind;
    expectRefused(source, "T05", "tokenizer.ggml.tokens[5]", "without a text");
  }
  // An ordinary token without text is never reached.
  OwnedTokenizerSource source = smallSource();
  source.tokens[5] = "";
  source.source.kinds[5] = 1;
  expectAccepted(source);
}

TEST(TokenizerBuilder, T05_SpecialTokenOfOneMebibyte) {
  OwnedTokenizerSource source = smallSource();
  source.tokens[5] = std::string(1 << 20, '<');
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(encode(*tokenizer, "a" + source.tokens[5] + "b", true),
            (std::vector<int32_t>{0, 5, 1}));
}

TEST(TokenizerBuilder, ControlTextsOfTheWrongType) {
  OwnedTokenizerSource source = smallSource();
  source.tokens[7] = "<|im_end|>";
  for (int32_t kind : {1, 4}) {
    source.source.kinds[7] = kind;
    std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
    ASSERT_TRUE(tokenizer);
    EXPECT_EQ(*tokenizer->kind(7), TokenKind::Control);
  }
  // What merges make is ordinary text.
  source = smallSource();
  source.tokens = {"<", "/", "s", ">", "</", "s>", "</s>", "<s>"};
  source.merges = {"< /", "s >", "</ s>"};
  source.source.kinds = {1, 1, 1, 1, 1, 1, 1, 3};
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(source);
  ASSERT_TRUE(tokenizer);
  EXPECT_EQ(*tokenizer->kind(6), TokenKind::Normal);
}

TEST(TokenizerBuilder, EndOfGenerationTexts) {
  for (const char *text : {"<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>",
                           "<\uFF5Cend\u2581of\u2581sentence\uFF5C>"}) {
    EXPECT_TRUE(isEndOfGenerationText(text)) << text;
    EXPECT_TRUE(isControlText(text)) << text;
  }
  EXPECT_FALSE(isEndOfGenerationText("<|im_start|>"));
  EXPECT_FALSE(isEndOfGenerationText("<fim_prefix>"));
  EXPECT_TRUE(isControlText("<fim_prefix>"));
}

} // namespace
