//===- GGUFFileTest.cpp - Rows G01 to G26 of the bad inputs ---------------===//
//
// Each test carries the name of its row. A case changes one field of a small
// good file and asserts code, field and byte offset; the nearest valid file is
// accepted beside it.
//
//===----------------------------------------------------------------------===//

#include "GGUFBuilder.h"
#include "GGUFWalk.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace chorus;
using namespace chorus::gguf;
using namespace chorus::gguf::test;

namespace {

/// Bytes in a block of exactly their size, so that sanitizers see overruns, and
/// the file parsed from them.
struct ParsedFile {
  std::vector<uint8_t> bytes;
  StatusOr<GGUFFile> file;

  explicit ParsedFile(const std::string &text)
      : bytes(text.begin(), text.end()),
        file(GGUFFile::parse(bytes.data(), bytes.size(), "t.gguf")) {}
};

/// Keys of each kind and tensors of two types.
GGUFBuilder smallFile() {
  GGUFBuilder builder;
  builder
      .add("general.architecture", "llama") // metadata_kv[0]
      .add("llama.block_count", uint32_t(1))
      .add("flag", true) // [2]
      .add("tokens", std::vector<std::string>{"a", "bc", ""})
      .add("scores", std::vector<float>{0.5f, -1.0f})
      .addArray("flags", 7, 2, std::string("\x00\x01", 2)); // [5]
  builder.addTensor("a.weight", {4, 2}, TensorType::F32)
      .addTensor("b.weight", {32, 3}, TensorType::Q8_0);
  return builder;
}

void expectAccepted(const std::string &bytes) {
  ParsedFile parsed(bytes);
  ASSERT_TRUE(parsed.file.ok()) << parsed.file.status().line("test");
  walk(*parsed.file);
}

void expectError(const std::string &bytes, rt::ExitCode exitCode,
                 const std::string &code, const std::string &field,
                 uint64_t offset, const std::string &message) {
  ParsedFile parsed(bytes);
  ASSERT_FALSE(parsed.file.ok()) << "accepted, wanted " << code;
  const Status &status = parsed.file.status();
  char hex[24];
  std::snprintf(hex, sizeof hex, " @0x%llx",
                static_cast<unsigned long long>(offset));
  EXPECT_EQ(status.code(), code) << status.line("test");
  EXPECT_EQ(status.exitCode(), exitCode);
  EXPECT_EQ(status.place(), "t.gguf: " + field + hex) << status.line("test");
  EXPECT_NE(status.message().find(message), std::string::npos)
      << status.line("test");
  EXPECT_LE(status.line("chorus-compile").size(), 512u);
}

void expectRefused(const std::string &bytes, const std::string &code,
                   const std::string &field, uint64_t offset,
                   const std::string &message = "") {
  expectError(bytes, rt::ExitCode::Refused, code, field, offset, message);
}

/// A good file in which one field is overwritten.
class Patched {
public:
  explicit Patched(GGUFBuilder builder = smallFile())
      : builder(std::move(builder)), bytes(this->builder.build()) {
    expectAccepted(bytes);
  }
  template <typename T>
  Patched &set(const std::string &field, T value, uint64_t skip = 0) {
    std::memcpy(&bytes[offsetOf(field) + skip], &value, sizeof value);
    return *this;
  }
  uint64_t offsetOf(const std::string &field) const {
    return builder.offsetOf(field);
  }
  /// Refused at the field itself, `skip` bytes into it.
  void refused(const std::string &code, const std::string &field,
               const std::string &message = "", uint64_t skip = 0) const {
    expectRefused(bytes, code, field, offsetOf(field) + skip, message);
  }

  GGUFBuilder builder;
  std::string bytes;
};

std::string temporaryPath(const std::string &name) {
  return testing::TempDir() + "chorus-gguf-" + std::to_string(getpid()) + "-" +
         name;
}

constexpr uint64_t signBit = uint64_t(1) << 63;

} // namespace

TEST(GGUF, ReadsKeysAndTensors) {
  GGUFBuilder builder = smallFile();
  builder.add("u64", std::vector<uint64_t>{1, signBit - 1})
      .add("small", int8_t(-3))
      .add("double", 2.5);
  ParsedFile parsed(builder.build());
  ASSERT_TRUE(parsed.file.ok()) << parsed.file.status().line("test");
  const GGUFFile &file = *parsed.file;
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.alignment(), 32u);
  EXPECT_EQ(file.numKeyValues(), 9u);
  EXPECT_EQ(*file.getString("general.architecture", "G21"), "llama");
  EXPECT_EQ(*file.getUnsigned("llama.block_count", "G21"), 1u);
  EXPECT_EQ(*file.getBool("flag", "G21"), true);
  EXPECT_EQ(*file.getFloat("double", "G21"), 2.5);
  std::vector<std::string_view> tokens =
      file.getStrings("tokens", "G24")->toVector();
  EXPECT_EQ(tokens, (std::vector<std::string_view>{"a", "bc", ""}));
  StatusOr<FloatArray> scores = file.getFloats("scores", "G24");
  EXPECT_EQ(scores->size(), 2u);
  EXPECT_EQ((*scores)[1], -1.0);
  EXPECT_EQ((*file.getIntegers("u64", "G24"))[1], INT64_MAX);
  EXPECT_EQ((*file.getIntegers("flags", "G24"))[1], 1);
  EXPECT_FALSE(file.has("llama.context_length"));

  const Tensor *tensor = file.findTensor("b.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, TensorType::Q8_0);
  EXPECT_EQ(tensor->rowElements(), 32u);
  EXPECT_EQ(tensor->numRows(), 3u);
  EXPECT_EQ(tensor->rowBytes(), 34u);
  EXPECT_EQ(tensor->data,
            parsed.bytes.data() + builder.offsetOf("tensor_data[1]"));
  EXPECT_EQ(file.findTensor("c.weight"), nullptr);
}

TEST(GGUF, WrongOrMissingKeysNameTheKeyAndTheCallersCode) {
  GGUFBuilder builder = smallFile();
  builder.add("u64", std::vector<uint64_t>{signBit}).add("small", int8_t(-3));
  ParsedFile parsed(builder.build());
  const GGUFFile &file = *parsed.file;
  Status missing = file.getUnsigned("llama.context_length", "G21").status();
  EXPECT_EQ(missing.line("t"), "t: error G21: t.gguf: metadata_kv: key "
                               "'llama.context_length' is missing");
  Status wrong = file.getUnsigned("general.architecture", "G21").status();
  EXPECT_EQ(wrong.code(), "G21");
  EXPECT_EQ(wrong.message(), "is string, must be an integer");
  EXPECT_EQ(
      wrong.place().find("t.gguf: metadata_kv[0] 'general.architecture' @0x"),
      0u);
  EXPECT_EQ(file.getStrings("scores", "G24").status().message(),
            "is array of f32, must be an array of strings");
  EXPECT_FALSE(file.getFloat("flag", "G21").ok());
  EXPECT_FALSE(file.getBool("tokens", "G21").ok());
  EXPECT_FALSE(file.getString("tokens", "G21").ok());
  EXPECT_FALSE(file.getFloats("tokens", "G21").ok());
  EXPECT_EQ(file.getUnsigned("small", "G21").status().message(),
            "is -3, must not be negative");
  EXPECT_FALSE(file.getIntegers("u64", "G24").ok());
}

TEST(GGUF, FilesWithoutTensorsOrKeysAreFine) {
  GGUFBuilder keysOnly, nothing, tensorsOnly;
  keysOnly.add("general.architecture", "llama");
  tensorsOnly.addTensor("a", {1}, TensorType::F32);
  expectAccepted(nothing.build());
  expectAccepted(keysOnly.build());
  expectAccepted(tensorsOnly.build());
}

TEST(GGUF, G01_HeaderCutShort) {
  std::string bytes = smallFile().build();
  struct Case {
    size_t length;
    const char *field;
    uint64_t offset;
  };
  for (Case c :
       {Case{0, "magic", 0}, Case{3, "magic", 0}, Case{4, "version", 4},
        Case{7, "version", 4}, Case{8, "tensor_count", 8},
        Case{15, "tensor_count", 8}, Case{16, "metadata_kv_count", 16},
        Case{23, "metadata_kv_count", 16}})
    expectRefused(bytes.substr(0, c.length), "G01", c.field, c.offset,
                  "remain");
  // Deeper in the file: the field that ran out.
  GGUFBuilder builder;
  builder.add("k", uint32_t(7)).add("last", std::string(40, 'x'));
  bytes = builder.build();
  expectRefused(bytes.substr(0, builder.offsetOf("metadata_kv[1].type") + 3),
                "G01", "metadata_kv[1].type",
                builder.offsetOf("metadata_kv[1].type"));
}

TEST(GGUF, G02_OtherFormatsAreNamed) {
  struct Case {
    std::string start;
    const char *format;
  };
  for (const Case &c :
       {Case{"PK\x03\x04 and more", "zip"},
        Case{bytesOf<uint64_t>(200) + "{\"w\":{\"dtype\"", "safetensors"},
        Case{std::string("\x08\x07\x12\x07pytorch", 11), "ONNX"},
        Case{"ggml and more", "looks"}, Case{"<!doctype html>", "HTML"},
        Case{"lmgg and more", "before GGUF"}, Case{"{\"a\": 1}", "JSON"},
        Case{"version https://git-lfs.github.com/spec/v1", "LFS"}}) {
    bool known = std::string(c.format) != "looks";
    expectRefused(c.start + std::string(64, ' '), "G02", "magic", 0,
                  known ? c.format : "must be 'GGUF'");
  }
  expectRefused("GGUf" + std::string(64, '\0'), "G02", "magic", 0);
  expectAccepted(smallFile().build());
}

TEST(GGUF, G03_UnknownVersions) {
  for (uint32_t version : {0u, 1u, 4u, 65535u, 0xFFFFFFFFu})
    Patched()
        .set("version", version)
        .refused("G03", "version", "supported are 2 and 3");
  GGUFBuilder older = smallFile();
  older.version = 2;
  expectAccepted(older.build());
}

TEST(GGUF, G04_BigEndian) {
  for (uint32_t version : {0x03000000u, 0x02000000u, 0x01000000u})
    Patched().set("version", version).refused("G04", "version", "byte order");
}

TEST(GGUF, G05_TensorCount) {
  for (uint64_t count : {~uint64_t(0), signBit})
    Patched()
        .set("tensor_count", count)
        .refused("G05", "tensor_count", "negative");
  // 33 bytes is the smallest description: one more than can follow.
  std::string bytes = smallFile().build();
  uint64_t most = (bytes.size() - 24) / 33;
  for (uint64_t count : {most + 1, uint64_t(1) << 40, signBit - 1})
    Patched()
        .set("tensor_count", count)
        .refused("G05", "tensor_count", "remain");
  // Possible in the whole file but not behind the keys.
  Patched().set("tensor_count", most).refused("G05", "tensor_count", "remain");
}

TEST(GGUF, G05_TensorCountLimit) {
  GGUFBuilder builder;
  std::string bytes = builder.build();
  bytes.resize(24 + 33 * ((size_t(1) << 20) + 1));
  uint64_t count = (1 << 20) + 1;
  std::memcpy(&bytes[8], &count, sizeof count);
  expectError(bytes, rt::ExitCode::Limit, "G05", "tensor_count", 8, "limit");
}

TEST(GGUF, G06_KeyValueCount) {
  for (uint64_t count : {~uint64_t(0), signBit})
    Patched()
        .set("metadata_kv_count", count)
        .refused("G06", "metadata_kv_count", "negative");
  uint64_t most = (smallFile().build().size() - 24) / 14;
  for (uint64_t count : {most + 1, uint64_t(1) << 40, signBit - 1})
    Patched()
        .set("metadata_kv_count", count)
        .refused("G06", "metadata_kv_count", "remain");
}

TEST(GGUF, G07_Keys) {
  for (uint64_t length : {uint64_t(0), uint64_t(65536), ~uint64_t(0)})
    Patched()
        .set("metadata_kv[0].key", length)
        .refused("G07", "metadata_kv[0].key", "1 to 65535");
  // Allowed as a length, but longer than the file.
  Patched longKey;
  longKey.set("metadata_kv[0].key", uint64_t(65535));
  longKey.refused("G07", "metadata_kv[0].key", "remain", 8);
  for (char c : {'\0', '\n', '\x1b', '\x7f', '\xc3'})
    Patched()
        .set("metadata_kv[0].key", c, 8 + 2)
        .refused("G07", "metadata_kv[0].key", "printable ASCII", 8 + 2);
  GGUFBuilder longest;
  longest.add(std::string(65535, 'k'), true);
  expectAccepted(longest.build());
}

TEST(GGUF, G08_Duplicates) {
  GGUFBuilder keys = smallFile();
  keys.add("flag", uint32_t(1));
  std::string bytes = keys.build();
  expectRefused(bytes, "G08", "metadata_kv[6].key",
                keys.offsetOf("metadata_kv[6].key") + 8,
                "repeats metadata_kv[2] (key 'flag')");
  GGUFBuilder tensors = smallFile();
  tensors.addTensor("a.weight", {1}, TensorType::F32);
  bytes = tensors.build();
  expectRefused(bytes, "G08", "tensor_infos[2].name",
                tensors.offsetOf("tensor_infos[2].name"),
                "repeats tensor_infos[0] (tensor 'a.weight')");
  GGUFBuilder distinct = smallFile();
  distinct.add("flag2", uint32_t(1))
      .addTensor("a.weight2", {1}, TensorType::F32);
  expectAccepted(distinct.build());
}

TEST(GGUF, G09_ValueTypes) {
  for (uint32_t type : {13u, 14u, 0xFFFFFFFFu})
    Patched()
        .set("metadata_kv[1].type", type)
        .refused("G09", "metadata_kv[1].type", "0 to 12");
  Patched()
      .set("metadata_kv[4].value", uint32_t(13))
      .refused("G09", "metadata_kv[4].value", "0 to 12");
  // Arrays in arrays, 2 and 1,000 deep: refused at the first one.
  for (int depth : {2, 1000}) {
    std::string nested;
    for (int i = 1; i < depth; ++i)
      nested += bytesOf<uint32_t>(9) + bytesOf<uint64_t>(1);
    nested += bytesOf<uint32_t>(4) + bytesOf<uint64_t>(0);
    GGUFBuilder builder;
    builder.addRaw("deep", 9, nested);
    std::string bytes = builder.build();
    expectRefused(bytes, "G09", "metadata_kv[0].value",
                  builder.offsetOf("metadata_kv[0].value"), "array of arrays");
  }
  GGUFBuilder flat;
  flat.addArray("empty", 4, 0, "");
  expectAccepted(flat.build());
}

TEST(GGUF, G10_ArrayLengths) {
  // 2^62 + 1 f32 wrap to 4 bytes.
  for (uint64_t count : {(uint64_t(1) << 62) + 1, ~uint64_t(0), signBit})
    Patched()
        .set("metadata_kv[4].value", count, 4)
        .refused("G10", "metadata_kv[4].value", "remain", 4);
  GGUFBuilder last;
  last.padLastTensor = false;
  last.add("scores", std::vector<float>{1, 2});
  std::string bytes = last.build();
  uint64_t value = last.offsetOf("metadata_kv[0].value");
  uint64_t count = 3; // One element more than the file holds.
  std::memcpy(&bytes[value + 4], &count, sizeof count);
  expectRefused(bytes, "G10", "metadata_kv[0].value", value + 4, "remain");
  // Strings: the lengths alone need 8 bytes each.
  Patched()
      .set("metadata_kv[3].value", uint64_t(1) << 60, 4)
      .refused("G10", "metadata_kv[3].value", "remain", 4);
  GGUFBuilder strings;
  strings.padLastTensor = false;
  strings.add("tokens",
              std::vector<std::string>{"first token", "second token"});
  bytes = strings.build();
  value = strings.offsetOf("metadata_kv[0].value");
  std::memcpy(&bytes[value + 4], &count, sizeof count);
  expectRefused(bytes, "G10", "metadata_kv[0].value[2]", bytes.size());
}

TEST(GGUF, G11_Bools) {
  for (uint8_t byte : {2, 0xFF}) {
    Patched()
        .set("metadata_kv[2].value", byte)
        .refused("G11", "metadata_kv[2].value", "must be 0 or 1");
    Patched inArray;
    inArray.set("metadata_kv[5].value", byte, 12 + 1);
    expectRefused(inArray.bytes, "G11", "metadata_kv[5].value[1]",
                  inArray.offsetOf("metadata_kv[5].value") + 13);
  }
  expectAccepted(Patched().set("metadata_kv[2].value", uint8_t(0)).bytes);
}

TEST(GGUF, G12_Strings) {
  for (uint64_t length : {uint64_t(100000), ~uint64_t(0), signBit}) {
    Patched()
        .set("metadata_kv[0].value", length)
        .refused("G12", "metadata_kv[0].value", "remain");
    Patched inArray;
    inArray.set("metadata_kv[3].value", length, 12 + 9);
    expectRefused(inArray.bytes, "G12", "metadata_kv[3].value[1]",
                  inArray.offsetOf("metadata_kv[3].value") + 12 + 9, "remain");
  }
  Patched()
      .set("metadata_kv[0].value", '\0', 8 + 1)
      .refused("G12", "metadata_kv[0].value", "NUL", 8 + 1);
  // Stray, overlong, surrogate, beyond U+10FFFF, cut short.
  for (const char *text : {"a\x80", "\xc0\xaf", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "abcdefgh\xe2\x82"}) {
    GGUFBuilder one, many;
    one.add("text", text);
    size_t at = std::string(text).find_first_not_of("abcdefgh");
    std::string bytes = one.build();
    expectRefused(bytes, "G12", "metadata_kv[0].value",
                  one.offsetOf("metadata_kv[0].value") + 8 + at, "UTF-8");
    many.add("texts", std::vector<std::string>{"x", text});
    bytes = many.build();
    expectRefused(bytes, "G12", "metadata_kv[0].value[1]",
                  many.offsetOf("metadata_kv[0].value") + 12 + 9 + 8 + at);
  }
  GGUFBuilder good;
  good.add("text", "grüße, 猫, 🐈").add("empty", "");
  expectAccepted(good.build());
}

TEST(GGUF, G13_Alignment) {
  for (uint32_t alignment : {0u, 13u, 4u, 24u, 1u << 31, 0xFFFFFFFFu}) {
    GGUFBuilder builder = smallFile();
    builder.add("general.alignment", alignment);
    std::string bytes = builder.build();
    expectRefused(bytes, "G13", "metadata_kv[6].value",
                  builder.offsetOf("metadata_kv[6].value"), "power of two");
  }
  GGUFBuilder wrongTypes[3];
  wrongTypes[0].add("general.alignment", uint64_t(32));
  wrongTypes[1].add("general.alignment", "32");
  wrongTypes[2].add("general.alignment", std::vector<uint32_t>{32});
  for (GGUFBuilder &builder : wrongTypes) {
    std::string bytes = builder.build();
    expectRefused(bytes, "G13", "metadata_kv[0].type",
                  builder.offsetOf("metadata_kv[0].type"), "must be u32");
  }
  for (uint32_t alignment : {8u, 16u, 32u, 64u, 4096u, 1u << 20}) {
    GGUFBuilder builder = smallFile();
    builder.addAlignment(alignment);
    expectAccepted(builder.build());
  }
}

TEST(GGUF, G14_TensorNames) {
  for (const std::string &name :
       {std::string(65, 'n'), std::string(1000, 'n'), std::string()}) {
    GGUFBuilder builder;
    builder.addTensor(name, {1}, TensorType::F32);
    std::string bytes = builder.build();
    expectRefused(bytes, "G14", "tensor_infos[0].name",
                  builder.offsetOf("tensor_infos[0].name"), "1 to 64");
  }
  Patched()
      .set("tensor_infos[0].name", ~uint64_t(0))
      .refused("G14", "tensor_infos[0].name", "1 to 64");
  struct Case {
    char byte;
    const char *shown;
  };
  for (Case c :
       {Case{'\n', "\\x0a"}, Case{'\x1b', "\\x1b"}, Case{'\0', "\\x00"},
        Case{'\x7f', "\\x7f"}, Case{'\xff', "\\xff"}}) {
    Patched patched;
    patched.set("tensor_infos[0].name", c.byte, 8 + 1);
    patched.refused("G14", "tensor_infos[0].name", c.shown, 8 + 1);
    ParsedFile parsed(patched.bytes);
    for (char shown : parsed.file.status().line("t"))
      EXPECT_TRUE(shown >= 0x20 && shown < 0x7F);
  }
  GGUFBuilder longest;
  longest.addTensor(std::string(64, 'n'), {1}, TensorType::F32);
  expectAccepted(longest.build());
}

TEST(GGUF, G15_NumberOfDimensions) {
  for (uint32_t numDims : {0u, 5u, 0xFFFFFFFFu})
    Patched()
        .set("tensor_infos[0].n_dims", numDims)
        .refused("G15", "tensor_infos[0].n_dims", "1 to 4");
  GGUFBuilder builder;
  builder.addTensor("four", {2, 3, 4, 5}, TensorType::F16);
  expectAccepted(builder.build());
}

TEST(GGUF, G16_DimensionZeroOrNegative) {
  for (uint64_t dim : {uint64_t(0), ~uint64_t(0), signBit})
    Patched()
        .set("tensor_infos[0].dims[1]", dim)
        .refused("G16", "tensor_infos[0].dims[1]", "positive");
}

TEST(GGUF, G16_DimensionProductWraps) {
  uint64_t twoTo42 = uint64_t(1) << 42;
  for (auto [d0, d1] :
       {std::pair{twoTo42 + 1, twoTo42}, std::pair{signBit - 1, uint64_t(2)},
        std::pair{uint64_t(1) << 31, (uint64_t(1) << 31) + 1}})
    Patched()
        .set("tensor_infos[0].dims[0]", d0)
        .set("tensor_infos[0].dims[1]", d1)
        .refused("G16", "tensor_infos[0].dims",
                 "product exceeds 2^62 (tensor 'a.weight')");
  // 2^62 elements are counted, and then have no bytes in the file.
  Patched most;
  most.set("tensor_infos[1].dims[0]", uint64_t(1) << 31)
      .set("tensor_infos[1].dims[1]", uint64_t(1) << 31)
      .set("tensor_infos[1].type", uint32_t(24)); // I8
  most.refused("G20", "tensor_data[1]");
}

TEST(GGUF, G17_ElementTypes) {
  for (uint32_t type : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u})
    Patched()
        .set("tensor_infos[0].type", type)
        .refused("G17", "tensor_infos[0].type", "removed");
  for (uint32_t type : {43u, 1000u, 0xFFFFFFFFu, 0x80000000u})
    Patched()
        .set("tensor_infos[0].type", type)
        .refused("G17", "tensor_infos[0].type", "no known element type");
  Patched negative;
  negative.set("tensor_infos[0].type", -7)
      .refused("G17", "tensor_infos[0].type", "is -7");
}

TEST(GGUF, G17_RowsOfWholeBlocks) {
  for (auto [type, elements] :
       {std::pair{TensorType::Q8_0, 33}, std::pair{TensorType::Q4_1, 31},
        std::pair{TensorType::Q4_0, 16}, std::pair{TensorType::Q6_K, 128}}) {
    GGUFBuilder builder;
    builder.addTensor("w", {uint64_t(elements), 256}, type);
    std::string bytes = builder.build();
    expectRefused(bytes, "G17", "tensor_infos[0].type",
                  builder.offsetOf("tensor_infos[0].type"), "block");
  }
}

TEST(GGUF, G17_KnownTypesAreReadWithTheirSizes) {
  for (uint32_t number = 0; number < 64; ++number) {
    const TensorTypeInfo *info = findTensorType(number);
    if (!info)
      continue;
    GGUFBuilder builder;
    builder.addTensor("w", {info->blockElements, 3},
                      static_cast<TensorType>(number));
    ParsedFile parsed(builder.build());
    ASSERT_TRUE(parsed.file.ok()) << parsed.file.status().line("test");
    EXPECT_EQ(parsed.file->tensors()[0].sizeBytes, 3u * info->blockBytes);
    Status finite = parsed.file->checkFinite(parsed.file->tensors()[0]);
    EXPECT_EQ(finite.ok(), info->supported) << info->name;
    EXPECT_EQ(finite.code(), info->supported ? "" : "unsupported");
  }
}

TEST(GGUF, G18_BytesWrap) {
  // 2^62 f64 need 2^65 bytes.
  Patched wraps;
  wraps.set("tensor_infos[0].dims[0]", uint64_t(1) << 31)
      .set("tensor_infos[0].dims[1]", uint64_t(1) << 31)
      .set("tensor_infos[0].type", uint32_t(TensorType::F64))
      .refused("G18", "tensor_infos[0].type", "2^64");
  // 2^62 - 1 f32 end at 2^64 - 4: only their padding wraps.
  GGUFBuilder one;
  one.addTensor("w", {1}, TensorType::F32);
  Patched padding(one);
  padding.set("tensor_infos[0].dims[0]", (uint64_t(1) << 62) - 1);
  expectRefused(padding.bytes, "G18", "tensor_infos[0].dims",
                padding.offsetOf("tensor_infos[0].offset"), "2^64");
  // Sizes that fit 64 bits alone but not behind one another.
  Patched sum;
  sum.set("tensor_infos[0].dims[0]", uint64_t(1) << 31)
      .set("tensor_infos[0].dims[1]", uint64_t(1) << 30)
      .set("tensor_infos[0].type", uint32_t(TensorType::F64))
      .refused("G18", "tensor_infos[0].type", "2^64");
}

TEST(GGUF, G19_Offsets) {
  uint64_t right = 32; // Of b.weight: a.weight has 32 bytes.
  struct Case {
    uint64_t offset;
    const char *message;
  };
  for (Case c :
       {Case{right + 4, "multiple of the alignment"},
        Case{right + 1, "multiple of the alignment"}, Case{0, "overlaps"},
        Case{right + 32, "gap"}, Case{uint64_t(1) << 40, "beyond the end"},
        Case{~uint64_t(0) - 31, "beyond the end"}})
    Patched()
        .set("tensor_infos[1].offset", c.offset)
        .refused("G19", "tensor_infos[1].offset", c.message);
  Patched()
      .set("tensor_infos[0].offset", uint64_t(32))
      .refused("G19", "tensor_infos[0].offset", "must be 0");
  // Swapped: each inside the file, but not the running sum.
  Patched swapped;
  swapped.set("tensor_infos[0].offset", uint64_t(128))
      .set("tensor_infos[1].offset", uint64_t(0))
      .refused("G19", "tensor_infos[0].offset", "must be 0");
}

TEST(GGUF, G20_DataCutShort) {
  GGUFBuilder builder = smallFile();
  builder.padLastTensor = false;
  std::string bytes = builder.build();
  expectAccepted(bytes);
  uint64_t last = builder.offsetOf("tensor_data[1]");
  expectRefused(bytes.substr(0, bytes.size() - 1), "G20", "tensor_data[1]",
                last, "needs 102 bytes but 101 remain");
  uint64_t first = builder.offsetOf("tensor_data[0]");
  expectRefused(bytes.substr(0, builder.endOfMetadata()), "G20",
                "tensor_data[0]", first, "0 remain");
}

TEST(GGUF, G20_TrailingBytes) {
  GGUFBuilder builder = smallFile();
  std::string padded = builder.build();
  builder.padLastTensor = false;
  std::string unpadded = builder.build();
  ASSERT_LT(unpadded.size(), padded.size());
  expectAccepted(padded);
  expectAccepted(unpadded);
  expectAccepted(padded.substr(0, padded.size() - 3));
  expectRefused(padded + '\0', "G20", "tensor_data", padded.size(), "follow");
  expectRefused(padded + "PK\x03\x04", "G20", "tensor_data", padded.size());
  std::string hidden = padded;
  hidden.back() = 'x';
  expectRefused(hidden, "G20", "tensor_data", hidden.size() - 1, "not zero");
  // Without tensors: behind the metadata.
  GGUFBuilder keysOnly;
  keysOnly.add("k", "v");
  std::string bytes = keysOnly.build();
  keysOnly.padLastTensor = false;
  uint64_t end = keysOnly.build().size();
  expectAccepted(bytes);
  expectAccepted(bytes.substr(0, end));
  bytes[end] = 'x';
  expectRefused(bytes, "G20", "tensor_data", end, "not zero");
}

//===----------------------------------------------------------------------===//
// Contents and the file itself
//===----------------------------------------------------------------------===//

namespace {

template <typename T> std::string sequence(std::initializer_list<T> values) {
  std::string bytes;
  for (T value : values)
    bytes += bytesOf(value);
  return bytes;
}

/// Checks one tensor `w` of three rows.
Status finite(TensorType type, uint64_t rowElements, std::string data) {
  GGUFBuilder builder;
  builder.addTensor("w", {rowElements, 3}, type, std::move(data));
  ParsedFile parsed(builder.build());
  if (!parsed.file.ok())
    return parsed.file.status();
  return parsed.file->checkFinite(parsed.file->tensors()[0]);
}

void expectNonFinite(const Status &status, const std::string &message) {
  EXPECT_EQ(status.code(), "G23") << status.line("test");
  EXPECT_EQ(status.place(), "t.gguf: tensor_infos[0] 'w' @0x18");
  EXPECT_EQ(status.message(), message);
}

} // namespace

TEST(GGUF, G23_ValuesThatAreNotFinite) {
  float inf = INFINITY, nan = NAN, big = 3.4e38f;
  EXPECT_TRUE(finite(TensorType::F32, 2,
                     sequence({0.0f, -0.0f, big, -big, 1e-45f, 1.0f}))
                  .ok());
  expectNonFinite(
      finite(TensorType::F32, 2, sequence({0.f, 1.f, 2.f, inf, nan, -inf})),
      "3 values are NaN or infinite, the first in row 1");
  expectNonFinite(
      finite(TensorType::F32, 2, sequence({0.f, 1.f, 2.f, 3.f, 4.f, nan})),
      "1 values are NaN or infinite, the first in row 2");
  auto halves = [](uint16_t odd) {
    return sequence<uint16_t>({0x3C00, odd, 0x7BFF, 0xFBFF, 0x0001, 0x8000});
  };
  EXPECT_TRUE(finite(TensorType::F16, 2, halves(0x7BFF)).ok());
  for (uint16_t bits : {0x7C00, 0xFC00, 0x7C01, 0xFFFF})
    expectNonFinite(finite(TensorType::F16, 2, halves(bits)),
                    "1 values are NaN or infinite, the first in row 0");
  EXPECT_TRUE(finite(TensorType::BF16, 2, halves(0x7F7F)).ok());
  for (uint16_t bits : {0x7F80, 0xFF80, 0x7F81, 0xFFFF})
    expectNonFinite(finite(TensorType::BF16, 2, halves(bits)),
                    "1 values are NaN or infinite, the first in row 0");
}

TEST(GGUF, G23_BlockScalesThatAreNotFinite) {
  for (TensorType type :
       {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1}) {
    uint32_t blockBytes = tensorTypeInfo(type).blockBytes;
    // Quants of 0xFF would be NaN if they were taken for a scale.
    std::string good(6 * blockBytes, '\xff');
    for (uint32_t block = 0; block < 6; ++block)
      good.replace(block * blockBytes, 4, sequence<uint16_t>({0x3C00, 0x3C00}));
    EXPECT_TRUE(finite(type, 64, good).ok());
    for (uint16_t bits : {0x7C00, 0xFC00, 0x7E00}) {
      std::string bad = good;
      bad.replace(3 * blockBytes, 2, bytesOf(bits)); // Row 1, second block.
      bad.replace(5 * blockBytes, 2, bytesOf(bits));
      expectNonFinite(finite(type, 64, bad),
                      "2 block scales or minima are NaN or infinite, the "
                      "first in row 1");
    }
    std::string minimum = good;
    minimum.replace(4 * blockBytes + 2, 2, bytesOf<uint16_t>(0x7E00));
    if (type == TensorType::Q4_1)
      expectNonFinite(finite(type, 64, minimum),
                      "1 block scales or minima are NaN or infinite, the "
                      "first in row 2");
    else
      EXPECT_TRUE(finite(type, 64, minimum).ok());
  }
}

TEST(GGUF, G25_ShardsAreUnsupported) {
  for (uint16_t count : {2, 65535}) {
    GGUFBuilder builder = smallFile();
    builder.add("split.no", uint16_t(0)).add("split.count", count);
    std::string bytes = builder.build();
    expectRefused(bytes, "unsupported", "metadata_kv[7].value",
                  builder.offsetOf("metadata_kv[7].value"), "split.count");
  }
  GGUFBuilder claimed = smallFile();
  claimed.add("split.count", uint32_t(99999));
  std::string bytes = claimed.build();
  expectRefused(bytes, "unsupported", "metadata_kv[6].value",
                claimed.offsetOf("metadata_kv[6].value"), "99999 files");
  GGUFBuilder wrongType = smallFile();
  wrongType.add("split.count", "two");
  bytes = wrongType.build();
  expectRefused(bytes, "G25", "metadata_kv[6].type",
                wrongType.offsetOf("metadata_kv[6].type"), "integer");
  GGUFBuilder single = smallFile();
  single.add("split.count", uint16_t(1));
  expectAccepted(single.build());
}

TEST(GGUF, G26_FileChangesWhileBeingRead) {
  std::string path = temporaryPath("changes.gguf");
  struct Change {
    const char *message;
    void (*apply)(const std::string &);
  };
  for (const Change &change :
       {Change{"had",
               [](const std::string &p) {
                 ASSERT_EQ(truncate(p.c_str(), 40), 0);
               }},
        Change{"had",
               [](const std::string &p) {
                 std::ofstream(p, std::ios::app) << "x";
               }},
        Change{"modification time", [](const std::string &p) {
                 timespec times[2] = {{1, 0}, {1, 0}};
                 ASSERT_EQ(utimensat(AT_FDCWD, p.c_str(), times, 0), 0);
               }}}) {
    smallFile().write(path);
    StatusOr<GGUFFile> file = GGUFFile::open(path);
    ASSERT_TRUE(file.ok()) << file.status().line("test");
    EXPECT_TRUE(file->checkUnchanged().ok());
    change.apply(path);
    Status status = file->checkUnchanged();
    EXPECT_EQ(status.code(), "G26");
    EXPECT_EQ(status.exitCode(), rt::ExitCode::Refused);
    EXPECT_EQ(status.place(), path);
    EXPECT_EQ(status.message().find("changed during reading"), 0u);
    EXPECT_NE(status.message().find(change.message), std::string::npos);
  }
  // Replaced by name: the opened file is the old one, unchanged.
  smallFile().write(path);
  StatusOr<GGUFFile> file = GGUFFile::open(path);
  ASSERT_EQ(unlink(path.c_str()), 0);
  smallFile().write(path);
  EXPECT_TRUE(file->checkUnchanged().ok());
  unlink(path.c_str());
}

TEST(GGUF, OpenReportsPathsAsUsageErrors) {
  for (const std::string &path :
       {temporaryPath("missing.gguf"), testing::TempDir()}) {
    StatusOr<GGUFFile> file = GGUFFile::open(path);
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.status().code(), "usage");
    EXPECT_EQ(file.status().exitCode(), rt::ExitCode::Usage);
  }
}

TEST(GGUF, OpenedFileIsMappedAndStaysReadable) {
  std::string path = temporaryPath("mapped.gguf");
  smallFile().write(path);
  StatusOr<GGUFFile> opened = GGUFFile::open(path);
  ASSERT_TRUE(opened.ok()) << opened.status().line("test");
  GGUFFile file = std::move(*opened);
  const Tensor *tensor = file.findTensor("a.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->data[0], 0x11);
  file.release(*tensor);
  EXPECT_EQ(tensor->data[31], 0x11); // Read again from the file.
  walk(file);
  unlink(path.c_str());
}
