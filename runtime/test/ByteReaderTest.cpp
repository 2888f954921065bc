//===- ByteReaderTest.cpp -------------------------------------------------===//

#include "chorus_rt/ByteReader.h"

#include "chorus_rt/NameIndex.h"
#include "chorus_rt/Utf8.h"

#include <gtest/gtest.h>

#include <vector>

using namespace chorus::rt;

TEST(ByteReader, ReadsLittleEndianValues) {
  const uint8_t bytes[] = {0x34, 0x12, 0xFF, 0, 0, 0x80, 0x3F, 'a', 'b'};
  ByteReader reader(bytes, sizeof bytes, "f");
  uint16_t number = 0;
  int8_t small = 0;
  float one = 0;
  std::string_view text;
  ASSERT_TRUE(reader.read(number, "X", "number").ok());
  ASSERT_TRUE(reader.read(small, "X", "small").ok());
  ASSERT_TRUE(reader.read(one, "X", "one").ok());
  ASSERT_TRUE(reader.readBytes(2, text, "X", "text").ok());
  EXPECT_EQ(number, 0x1234);
  EXPECT_EQ(small, -1);
  EXPECT_EQ(one, 1.0f);
  EXPECT_EQ(text, "ab");
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(ByteReader, RefusesWithFieldAndOffsetAndStaysWhereItWas) {
  std::vector<uint8_t> bytes(5);
  ByteReader reader(bytes.data(), bytes.size(), "dir/\x1b.bin");
  ASSERT_TRUE(reader.skip(2, "X1", "start").ok());
  uint32_t value = 0;
  Status status = reader.read(value, "X2", {"items", 17, "dims", 3});
  EXPECT_EQ(status.line("t"), "t: error X2: dir/\\x1b.bin: items[17].dims[3] "
                              "@0x2: needs 4 bytes but 3 remain");
  EXPECT_EQ(status.exitCode(), ExitCode::Refused);
  EXPECT_EQ(reader.position(), 2u);
  std::string_view text;
  EXPECT_FALSE(reader.readBytes(~uint64_t(0), text, "X3", "text").ok());
  EXPECT_FALSE(reader.skip(4, "X3", "text").ok());
  EXPECT_TRUE(reader.skip(3, "X3", "text").ok());
}

TEST(ByteReader, CountsAreComparedWithWhatRemains) {
  std::vector<uint8_t> bytes(24);
  ByteReader reader(bytes.data(), bytes.size(), "f");
  EXPECT_TRUE(reader.checkCount(3, 8, "X", "n", 0).ok());
  EXPECT_TRUE(reader.checkCount(0, 8, "X", "n", 0).ok());
  Status status = reader.checkCount(4, 8, "X", "n", 0);
  EXPECT_EQ(status.place(), "f: n @0x0");
  // 2^61 times 8 wraps to 0.
  EXPECT_FALSE(reader.checkCount(uint64_t(1) << 61, 8, "X", "n", 0).ok());
  EXPECT_FALSE(reader.checkCount(~uint64_t(0), 1, "X", "n", 0).ok());
}

TEST(ByteReader, CheckedArithmetic) {
  uint64_t most = ~uint64_t(0), result = 0;
  EXPECT_TRUE(checkedAdd(most - 1, 1, result));
  EXPECT_EQ(result, most);
  EXPECT_FALSE(checkedAdd(most, 1, result));
  EXPECT_TRUE(checkedMultiply(uint64_t(1) << 32, 0xFFFFFFFF, result));
  EXPECT_FALSE(checkedMultiply(uint64_t(1) << 32, uint64_t(1) << 32, result));
  EXPECT_TRUE(checkedAlignUp(33, 32, result));
  EXPECT_EQ(result, 64u);
  EXPECT_TRUE(checkedAlignUp(64, 32, result));
  EXPECT_EQ(result, 64u);
  EXPECT_TRUE(checkedAlignUp(most - 31, 32, result));
  EXPECT_FALSE(checkedAlignUp(most - 3, 32, result));
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  constexpr size_t valid = std::string_view::npos;
  EXPECT_EQ(findInvalidUtf8(""), valid);
  EXPECT_EQ(findInvalidUtf8("only ASCII, longer than a word"), valid);
  EXPECT_EQ(findInvalidUtf8("grüße \xf0\x9f\x90\x88 \xef\xbf\xbf"), valid);
  EXPECT_EQ(findInvalidUtf8("\xf4\x8f\xbf\xbf"), valid);
  EXPECT_EQ(findInvalidUtf8("12345678\x80"), 8u);
  EXPECT_EQ(findInvalidUtf8("a\xc0\x80"), 1u);              // Overlong.
  EXPECT_EQ(findInvalidUtf8("\xe0\x9f\xbf"), 0u);           // Overlong.
  EXPECT_EQ(findInvalidUtf8("\xf0\x8f\xbf\xbf"), 0u);       // Overlong.
  EXPECT_EQ(findInvalidUtf8("\xed\xa0\x80"), 0u);           // Surrogate.
  EXPECT_EQ(findInvalidUtf8("\xf4\x90\x80\x80"), 0u);       // Beyond U+10FFFF.
  EXPECT_EQ(findInvalidUtf8("1234567890123\xe2\x82"), 13u); // Cut short.
  for (char32_t codePoint : {U'a', U'ß', U'猫', U'🐈', U'\U0010FFFF'}) {
    std::string text;
    appendUtf8(text, codePoint);
    EXPECT_EQ(utf8SequenceLength(text), text.size());
    EXPECT_EQ(findInvalidUtf8(text), valid);
  }
}

TEST(NameIndex, FindsNamesAndTheFirstDuplicate) {
  std::vector<std::string> names = {"b", "a", "c", "a", "b", "a"};
  auto nameOf = [&](uint32_t i) -> std::string_view { return names[i]; };
  NameIndex index;
  index.build(3, nameOf);
  EXPECT_FALSE(index.firstDuplicate(nameOf));
  EXPECT_EQ(index.find("c", nameOf), 2u);
  EXPECT_FALSE(index.find("d", nameOf));
  EXPECT_FALSE(index.find("", nameOf));
  index.build(6, nameOf);
  auto twice = index.firstDuplicate(nameOf);
  ASSERT_TRUE(twice);
  EXPECT_EQ(*twice, (std::pair<uint32_t, uint32_t>{1, 3}));
}
