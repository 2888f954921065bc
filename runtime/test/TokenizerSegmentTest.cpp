//===- TokenizerSegmentTest.cpp - Damaged tokenizer segments --------------===//

#include "TokenizerData.h"
#include "chorus_rt/schema/tokenizer_generated.h"

#include <random>

using namespace chorus::rt;

namespace {

using SegmentKind = chorus::artifact::TokenKind;

/// The fields of tokenizer.fbs, to be written as they are.
struct SegmentFields {
  std::string pre = "llama-bpe";
  std::vector<uint8_t> text;
  std::vector<uint32_t> offsets;
  std::vector<SegmentKind> kinds;
  std::vector<uint32_t> merges;
  int32_t bos_id = -1, eos_id = -1, unk_id = -1, pad_id = -1;
  bool add_bos = false, add_eos = false;
  bool ignore_merges = false, add_space_prefix = false;
};

SegmentFields smallSegment() {
  SegmentFields segment;
  std::string text = "ababc<s><0x0A>\u0120";
  segment.text.assign(text.begin(), text.end());
  segment.offsets = {0, 1, 2, 4, 5, 8, 14, 16};
  segment.kinds = {SegmentKind::Normal,  SegmentKind::Normal,
                   SegmentKind::Normal,  SegmentKind::Normal,
                   SegmentKind::Control, SegmentKind::Byte,
                   SegmentKind::Normal};
  segment.merges = {0, 1, 2};
  segment.bos_id = 4;
  segment.add_bos = true;
  segment.ignore_merges = true;
  return segment;
}

std::string pack(const SegmentFields &segment) {
  flatbuffers::FlatBufferBuilder builder;
  chorus::artifact::FinishTokenizerBuffer(
      builder,
      chorus::artifact::CreateTokenizerDirect(
          builder, segment.pre.c_str(), &segment.text, &segment.offsets,
          &segment.kinds, &segment.merges, segment.bos_id, segment.eos_id,
          segment.unk_id, segment.pad_id, segment.add_bos, segment.add_eos,
          segment.ignore_merges, segment.add_space_prefix));
  return {reinterpret_cast<const char *>(builder.GetBufferPointer()),
          builder.GetSize()};
}

void expectRefused(const SegmentFields &segment, std::string_view code,
                   std::string_view place) {
  StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::create(pack(segment));
  ASSERT_FALSE(tokenizer.ok()) << place;
  const Status &status = tokenizer.status();
  EXPECT_EQ(status.code(), code) << status.line("test");
  EXPECT_EQ(status.exitCode(), ExitCode::Refused);
  EXPECT_EQ(status.place(), "tokenizer segment: " + std::string(place))
      << status.line("test");
}

/// Whatever was accepted can be used.
void exercise(const Tokenizer &tokenizer) {
  std::vector<int32_t> ids;
  EXPECT_TRUE(tokenizer.encode("abc <s>\nab", true, ids).ok());
  EXPECT_TRUE(tokenizer.encode("abc <s>\nab", false, ids).ok());
  for (int32_t id = 0; id < tokenizer.size(); ++id) {
    EXPECT_TRUE(tokenizer.tokenBytes(id).ok());
    EXPECT_TRUE(tokenizer.tokenText(id).ok());
  }
}

TEST(TokenizerSegment, GoodSegment) {
  std::unique_ptr<Tokenizer> tokenizer = makeTokenizer(pack(smallSegment()));
  ASSERT_TRUE(tokenizer);
  exercise(*tokenizer);
  EXPECT_EQ(encode(*tokenizer, "abc <s>", true),
            (std::vector<int32_t>{2, 3, 6, 4}));
  EXPECT_EQ(tokenizer->bosId(), 4);
  EXPECT_TRUE(tokenizer->addBos());
}

TEST(TokenizerSegment, A04_CutAnywhere) {
  std::string whole = pack(smallSegment());
  for (size_t size = 0; size < whole.size(); ++size) {
    // On the heap, so that a read past the end is seen.
    std::vector<char> cut(whole.begin(), whole.begin() + size);
    StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
        Tokenizer::create({cut.data(), cut.size()});
    if (tokenizer.ok()) {
      // FlatBuffers end in padding, which nothing reads.
      EXPECT_GT(size + 4, whole.size());
      exercise(**tokenizer);
      continue;
    }
    EXPECT_EQ(tokenizer.status().code(), "A04") << size;
  }
}

TEST(TokenizerSegment, A04_AnyByteChanged) {
  std::string whole = pack(smallSegment());
  size_t refusals = 0;
  for (size_t i = 0; i < whole.size(); ++i)
    for (int flip : {0x01, 0x02, 0x10, 0x80, 0xFF}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
          Tokenizer::create(changed);
      if (tokenizer.ok())
        exercise(**tokenizer);
      else
        ++refusals;
    }
  EXPECT_GT(refusals, whole.size());
}

TEST(TokenizerSegment, A04_ForeignBytes) {
  std::mt19937 random(5);
  for (size_t size : {0, 4, 8, 64, 4096}) {
    std::string bytes(size, '\0');
    EXPECT_EQ(Tokenizer::create(bytes).status().code(), "A04");
    for (char &byte : bytes)
      byte = static_cast<char>(random());
    EXPECT_EQ(Tokenizer::create(bytes).status().code(), "A04");
  }
}

TEST(TokenizerSegment, BytesNeedNoAlignment) {
  std::string segment = pack(smallSegment());
  for (size_t shift = 0; shift < 8; ++shift) {
    std::string shifted = std::string(shift, 'x') + segment;
    std::unique_ptr<Tokenizer> tokenizer =
        makeTokenizer(std::string_view(shifted).substr(shift));
    ASSERT_TRUE(tokenizer);
    shifted.assign(shifted.size(), '\0'); // The bytes were copied.
    exercise(*tokenizer);
  }
}

TEST(TokenizerSegment, A04_Tokens) {
  SegmentFields segment = smallSegment();
  segment.offsets.pop_back();
  expectRefused(segment, "A04", "offsets");

  segment = smallSegment();
  segment.offsets[0] = 1;
  expectRefused(segment, "A04", "offsets");

  segment = smallSegment();
  segment.offsets.back() = 15;
  expectRefused(segment, "A04", "offsets");

  segment = smallSegment();
  segment.offsets[3] = 1;
  expectRefused(segment, "A04", "offsets[3]");

  segment = smallSegment();
  segment.offsets[3] = UINT32_MAX;
  expectRefused(segment, "A04", "offsets[3]");

  segment = smallSegment();
  segment.kinds.clear();
  expectRefused(segment, "A04", "kinds");

  segment = smallSegment();
  segment.kinds[1] = SegmentKind(7);
  expectRefused(segment, "A04", "kinds[1]");

  segment = smallSegment();
  segment.text[9] = 'x';
  expectRefused(segment, "A04", "text[5]");

  segment = smallSegment(); // A special token without a text.
  segment.kinds[3] = SegmentKind::UserDefined;
  segment.offsets[4] = 4;
  expectRefused(segment, "A04", "text[3]");

  segment = smallSegment(); // A special token that is not UTF-8.
  segment.text[6] = 0xFF;
  expectRefused(segment, "A04", "text[4]");
}

TEST(TokenizerSegment, A04_Merges) {
  SegmentFields segment = smallSegment();
  segment.merges.push_back(0);
  expectRefused(segment, "A04", "merges");

  segment = smallSegment();
  segment.merges = {0, 1, 2, 1, 0, 2};
  expectRefused(segment, "A04", "merges[1]");

  segment = smallSegment();
  segment.merges = {0, 1, 2, 0, 1, 2};
  expectRefused(segment, "A04", "merges[1]");

  segment = smallSegment();
  segment.merges.clear();
  EXPECT_TRUE(makeTokenizer(pack(segment)));
}

TEST(TokenizerSegment, A08_IdOutOfRange) {
  for (size_t i = 0; i < 3; ++i)
    for (uint32_t id : {7u, UINT32_MAX, 0x80000000u}) {
      SegmentFields segment = smallSegment();
      segment.merges[i] = id;
      expectRefused(segment, "A08", "merges[0]");
    }
  struct {
    int32_t SegmentFields::*id;
    const char *field;
  } named[] = {{&SegmentFields::bos_id, "bos_id"},
               {&SegmentFields::eos_id, "eos_id"},
               {&SegmentFields::unk_id, "unk_id"},
               {&SegmentFields::pad_id, "pad_id"}};
  for (const auto &entry : named)
    for (int32_t id : {7, -2, INT32_MAX, INT32_MIN}) {
      SegmentFields segment = smallSegment();
      segment.*entry.id = id;
      expectRefused(segment, "A08", entry.field);
    }
  SegmentFields segment = smallSegment();
  segment.bos_id = -1;
  expectRefused(segment, "A08", "bos_id"); // add_bos needs it.
  segment.add_bos = false;
  EXPECT_TRUE(makeTokenizer(pack(segment)));
  segment.add_eos = true;
  expectRefused(segment, "A08", "eos_id");
}

TEST(TokenizerSegment, UnsupportedRules) {
  SegmentFields segment = smallSegment();
  segment.pre = "qwen2\n";
  expectRefused(segment, "unsupported", "pre");
  segment = smallSegment();
  segment.add_space_prefix = true;
  expectRefused(segment, "unsupported", "add_space_prefix");
}

} // namespace
