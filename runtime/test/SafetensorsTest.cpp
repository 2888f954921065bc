//===- SafetensorsTest.cpp - Rows S01 to S13 of the bad inputs ------------===//

#include "chorus_rt/Safetensors.h"

#include "ProcessCost.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <random>

using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

/// Bytes in a block of exactly their size, and the file parsed from them.
struct ParsedFile {
  std::vector<uint8_t> bytes;
  StatusOr<SafetensorsFile> file;

  explicit ParsedFile(const std::string &text)
      : bytes(text.begin(), text.end()),
        file(SafetensorsFile::parse(bytes.data(), bytes.size(),
                                    "t.safetensors")) {}
};

std::string withLength(const std::string &header, const std::string &data) {
  uint64_t length = header.size();
  return std::string(reinterpret_cast<char *>(&length), 8) + header + data;
}

std::string entry(const std::string &name, const std::string &dtype,
                  const std::string &shape, uint64_t begin, uint64_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," +
         std::to_string(end) + "]}";
}

/// Two tensors of 8 and 4 bytes.
std::string goodHeader() {
  return "{" + entry("w", "F32", "[2]", 0, 8) + "," +
         entry("b", "F16", "[2,1]", 8, 12) + "}";
}
const std::string goodData(12, '\x01');

void walk(const SafetensorsFile &file) {
  uint64_t sum = file.metadata().size();
  for (const SafetensorsTensor &tensor : file.tensors()) {
    EXPECT_EQ(file.find(tensor.name), &tensor);
    for (uint64_t i = 0; i < tensor.sizeBytes; ++i)
      sum += tensor.data[i];
    sum += safetensorsDtypeBits(tensor.dtype) + tensor.shape.size();
  }
  volatile uint64_t used = sum;
  (void)used;
}

void expectAccepted(const std::string &bytes) {
  ParsedFile parsed(bytes);
  ASSERT_TRUE(parsed.file.ok()) << parsed.file.status().line("test");
  walk(*parsed.file);
}

void expectRefused(const std::string &bytes, const std::string &code,
                   const std::string &field, uint64_t offset,
                   const std::string &message = "") {
  ParsedFile parsed(bytes);
  ASSERT_FALSE(parsed.file.ok()) << "accepted, wanted " << code;
  const Status &status = parsed.file.status();
  char hex[24];
  std::snprintf(hex, sizeof hex, " @0x%llx",
                static_cast<unsigned long long>(offset));
  EXPECT_EQ(status.code(), code) << status.line("test");
  EXPECT_EQ(status.exitCode(), ExitCode::Refused);
  EXPECT_EQ(status.place(), "t.safetensors: " + field + hex)
      << status.line("test");
  EXPECT_NE(status.message().find(message), std::string::npos)
      << status.line("test");
  EXPECT_LE(status.line("chorus-compile").size(), 512u);
}

/// Refused at the place of `at` in the header.
void expectHeaderRefused(const std::string &header, const std::string &at,
                         const std::string &code, const std::string &field,
                         const std::string &message = "",
                         const std::string &data = goodData) {
  size_t offset = header.find(at);
  ASSERT_NE(offset, std::string::npos) << at;
  expectRefused(withLength(header, data), code, field, 8 + offset, message);
}

std::string replaced(std::string text, const std::string &from,
                     const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

} // namespace

TEST(Safetensors, ReadsWhatThePackageWrites) {
  StatusOr<SafetensorsFile> file = SafetensorsFile::open(
      CHORUS_SOURCE_DIR "/test/data/safetensors/mixed.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().line("test");
  EXPECT_EQ(file->tensors().size(), 8u);
  const SafetensorsTensor *weight = file->find("weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->dtype, SafetensorsDtype::F32);
  EXPECT_EQ(weight->shape, (std::vector<int64_t>{2, 3}));
  float values[6];
  std::memcpy(values, weight->data, sizeof values);
  EXPECT_EQ(values[5], 5.0f);
  EXPECT_EQ(file->find("empty")->sizeBytes, 0u);
  EXPECT_TRUE(file->find("scalar")->shape.empty());
  EXPECT_NE(file->find("na\"me\\ é\n"), nullptr);
  EXPECT_EQ(file->find("none"), nullptr);
  ASSERT_EQ(file->metadata().size(), 1u);
  EXPECT_EQ(file->metadata()[0].first, "format");
  walk(*file);
}

TEST(Safetensors, WritesTheBytesThatThePackageWrites) {
  std::string original =
      CHORUS_SOURCE_DIR "/test/data/safetensors/mixed.safetensors";
  StatusOr<SafetensorsFile> file = SafetensorsFile::open(original);
  ASSERT_TRUE(file.ok());
  std::vector<SafetensorsOutput> outputs;
  for (const SafetensorsTensor &tensor : file->tensors())
    outputs.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.data,
                       tensor.sizeBytes});
  TemporaryFolder folder;
  for (int order = 0; order < 2; ++order) {
    std::reverse(outputs.begin(), outputs.end());
    std::string path = folder.path("out" + std::to_string(order));
    Status status = writeSafetensors(path, outputs, file->metadata());
    ASSERT_TRUE(status.ok()) << status.line("test");
    EXPECT_EQ(readFile(path), readFile(original));
  }
  EXPECT_EQ(folder.names().size(), 2u);
}

TEST(Safetensors, WriterRefusesWhatTheFormatCannotHold) {
  TemporaryFolder folder;
  std::string path = folder.path("out");
  float values[4] = {};
  SafetensorsOutput good = {"w", SafetensorsDtype::F32, {4}, values, 16};
  auto fails = [&](std::vector<SafetensorsOutput> tensors) {
    Status status = writeSafetensors(path, std::move(tensors));
    EXPECT_EQ(status.exitCode(), ExitCode::Internal);
    EXPECT_TRUE(folder.names().empty());
  };
  SafetensorsOutput bad = good;
  fails({good, good});
  bad.name = "__metadata__";
  fails({bad});
  bad.name = "\xff";
  fails({bad});
  bad = good;
  bad.shape = {5};
  fails({bad});
  bad.shape = {-4};
  fails({bad});
  EXPECT_TRUE(writeSafetensors(path, {good}).ok());
  EXPECT_TRUE(SafetensorsFile::open(path).ok());
}

TEST(Safetensors, S01_HeaderLength) {
  std::string good = withLength(goodHeader(), goodData);
  expectAccepted(good);
  for (size_t length : {0, 1, 7})
    expectRefused(good.substr(0, length), "S01", "header_length", 0, "remain");
  for (uint64_t length : {uint64_t(0), uint64_t(100'000'001), ~uint64_t(0),
                          uint64_t(1) << 63, uint64_t(good.size() - 7)}) {
    std::string bytes = good;
    std::memcpy(&bytes[0], &length, sizeof length);
    expectRefused(bytes, "S01", "header_length", 0);
  }
  expectAccepted(withLength("{}", ""));
}

TEST(Safetensors, S02_StartAndPadding) {
  expectHeaderRefused("\xef\xbb\xbf" + goodHeader(), "\xef", "S02", "header",
                      "\\xef");
  expectHeaderRefused(" " + goodHeader(), " ", "S02", "header");
  expectHeaderRefused("[]", "[", "S02", "header");
  for (char c : {'\0', '\n', '\t', 'x', '{'}) {
    std::string header = goodHeader() + "  " + c + " ";
    expectRefused(withLength(header, goodData), "S02", "header",
                  8 + goodHeader().size() + 2, "only blanks");
  }
  expectAccepted(withLength(goodHeader() + "       ", goodData));
}

TEST(Safetensors, S03_MalformedJson) {
  std::string good = goodHeader();
  struct Case {
    std::string from, to, at, message;
  };
  for (const Case &c :
       {Case{"\"w\"", "\"w\xc0\xaf\"", "\xc0", "UTF-8"},
        Case{"\"w\"", "\"w\xed\xa0\x80\"", "\xed", "UTF-8"},
        Case{"\"w\"", "\"w\x01\"", "\x01", "control byte"},
        Case{"\"w\"", "\"\\x77\"", "\\x", "escape"},
        Case{"\"w\"", "\"\\ud800\"", "\\ud8", "surrogate"},
        Case{"\"w\"", "\"\\udc00\"", "\\udc", "surrogate"},
        Case{"\"w\"", "\"\\ud800\\u0041\"", "\\ud8", "surrogate"},
        Case{"\"w\"", "\"\\u00g7\"", "g7", "hexadecimal"},
        Case{"\"w\"", "w", "w", "expected '\"'"},
        Case{"[2]", "/* x */[2]", "/*", "expected '['"},
        Case{"[2]", "[2,]", "],", "number"},
        Case{"8]}", "8],}", "}", "expected '\"'"},
        Case{"[2]", "[NaN]", "NaN", "number"},
        Case{"[2]", "[02]", "02", "leading zero"},
        Case{"[2]", "[+2]", "+2", "number"},
        Case{"[2]", "[2 2]", "2]", "expected ']'"},
        Case{"[2]", "\"2\"", "\"2\"", "expected '['"},
        Case{"\"F32\"", "32", "32", "expected '\"'"},
        Case{"\"dtype\":", "\"dtype\"", "\"F32\"", "expected ':'"},
        Case{"\"dtype\"", "\"type\"", "\"type\"", "unknown key"}}) {
    std::string header = replaced(good, c.from, c.to);
    std::string field = c.message == "unknown key" ? "tensors[0]" : "header";
    expectHeaderRefused(header, c.at, "S03", field, c.message);
  }
  for (const char *cut : {"{", "{\"w", "{\"w\":", "{\"w\":{\"dtype\":\"F32\""})
    expectRefused(withLength(cut, ""), "S03", "header", 8 + std::strlen(cut));
  expectHeaderRefused("{\"w\":{\"dtype\":\"F32\",\"shape\":[2]}}", "\"w\"",
                      "S03", "tensors[0]", "lacks data_offsets");
  expectHeaderRefused("{\"w\":{}}", "\"w\"", "S03", "tensors[0]",
                      "lacks dtype");
  // Blanks between tokens and every escape are fine.
  expectAccepted(withLength("{ \"\\u0077\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d"
                            "\\udc08\" :\n{\"dtype\":\t\"F32\", \"shape\" : [ "
                            "2 ] ,\r\"data_offsets\":[ 0 , 8 ] } }",
                            std::string(8, 'x')));
}

TEST(Safetensors, S04_NestingAndMetadata) {
  for (size_t depth : {4, 1000, 100'000}) {
    std::string header =
        "{\"w\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
    expectRefused(withLength(header, ""), "S04", "header", 8 + 5 + 2, "3 deep");
    expectRefused(withLength("{\"w\":" + std::string(depth, '['), ""), "S04",
                  "header", 8 + 5 + 2);
  }
  for (const char *value : {"1", "[]", "{}", "null", "true", "-1"}) {
    std::string header = std::string("{\"__metadata__\":{\"k\":") + value +
                         "}," + goodHeader().substr(1);
    expectRefused(withLength(header, goodData), "S04", "__metadata__",
                  8 + header.find(value, 18), "must be a string");
  }
  expectHeaderRefused("{\"__metadata__\":\"x\"}", "\"x\"", "S04",
                      "__metadata__", "object");
  expectAccepted(withLength("{\"__metadata__\":{\"k\":\"[[[[{\\\"\"},\"t\":{"
                            "\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":"
                            "[0,1]}}",
                            "x"));
  expectAccepted(withLength("{\"__metadata__\":{}}", ""));
}

TEST(Safetensors, S05_DuplicateKeys) {
  std::string first = entry("w", "F32", "[2]", 0, 8);
  for (const char *second : {"w", "\\u0077"}) {
    std::string header =
        "{" + first + "," + entry(second, "F16", "[2,1]", 8, 12) + "}";
    expectRefused(withLength(header, goodData), "S05", "tensors[1]",
                  8 + 1 + first.size() + 1, "repeats the one at @9");
  }
  std::string inner = replaced(goodHeader(), "\"dtype\":\"F32\",",
                               "\"dtype\":\"F32\",\"dtyp\\u0065\":\"F32\",");
  expectHeaderRefused(inner, "\"dtyp\\u0065", "S05", "tensors[0]",
                      "repeats the one at @14");
  expectHeaderRefused("{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\",\"\\u0061\":"
                      "\"3\"}}",
                      "\"\\u0061", "S05", "__metadata__",
                      "repeats the one at @25");
  expectHeaderRefused("{\"__metadata__\":{},\"__metadata_\\u005f\":{}}",
                      "\"__metadata_\\u", "S05", "__metadata__", "@9");
  expectAccepted(withLength("{" + first + "," +
                                entry("\\u0057", "F16", "[2,1]", 8, 12) + "}",
                            goodData));
}

TEST(Safetensors, S06_Dtypes) {
  for (const char *dtype : {"F31", "f32", "", "F32 ", "Q4_0"})
    expectHeaderRefused(
        replaced(goodHeader(), "\"F32\"", "\"" + std::string(dtype) + "\""),
        "\"" + std::string(dtype) + "\"", "S06", "tensors[0].dtype",
        "unknown dtype");
  // Three 4-bit elements end inside a byte; two and four do not.
  for (const char *shape : {"[3]", "[1]"}) {
    std::string header = "{" + entry("w", "F4", shape, 0, 2) + "}";
    expectHeaderRefused(header, "\"w\"", "S06", "tensors[0].shape",
                        "whole bytes", "xx");
  }
  expectAccepted(withLength("{" + entry("w", "F4", "[2,2]", 0, 2) + "}", "xx"));
  expectAccepted(
      withLength("{" + entry("w", "F6_E2M3", "[4]", 0, 3) + "}", "xxx"));
}

TEST(Safetensors, S07_ShapeItems) {
  for (const char *item :
       {"-1", "-0", "1e3", "1.0", "9007199254740993", "18446744073709551617",
        "99999999999999999999999999999999"})
    expectHeaderRefused(
        replaced(goodHeader(), "[2]", "[" + std::string(item) + "]"), item,
        "S07", "tensors[0].shape[0]", "0 to 2^53");
  std::string ones = "[1";
  for (int i = 1; i < 64; ++i)
    ones += ",1";
  expectAccepted(
      withLength("{" + entry("w", "U8", ones + "]", 0, 1) + "}", "x"));
  expectHeaderRefused("{" + entry("w", "U8", ones + ",7]", 0, 1) + "}", "7]",
                      "S07", "tensors[0].shape", "64 items", "x");
}

TEST(Safetensors, S08_ProductWraps) {
  for (const char *shape :
       {"[4294967296,4294967296]", "[9007199254740992,2048]",
        "[0,9007199254740992,9007199254740992]",
        "[9007199254740992,256]"}) // Only the bits of F32 wrap.
    expectHeaderRefused(replaced(goodHeader(), "[2]", shape), "\"w\"", "S08",
                        "tensors[0].shape", "64 bits");
  expectHeaderRefused(replaced(goodHeader(), "[2]", "[9007199254740992]"),
                      "\"w\"", "S10", "tensors[0].data_offsets");
}

TEST(Safetensors, S09_Offsets) {
  struct Case {
    std::string first, second;
    int refused;
    const char *message;
  };
  for (const Case &c :
       {Case{entry("a", "F32", "[2]", 8, 0), entry("b", "F32", "[1]", 8, 12), 0,
             "reversed"},
        Case{entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12), 1,
             "overlaps"},
        Case{entry("a", "F32", "[1]", 0, 4), entry("b", "F32", "[1]", 8, 12), 1,
             "hole"},
        Case{entry("a", "F32", "[1]", 4, 8), entry("b", "F32", "[1]", 8, 12), 0,
             "hole"},
        Case{entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 8, 16), 1,
             "beyond the 12 bytes"},
        Case{entry("a", "U8", "[2]", 0, 2), entry("b", "F32", "[2]", 2, 10), 1,
             "not aligned"}}) {
    std::string header = "{" + c.first + "," + c.second + "}";
    expectHeaderRefused(
        header, c.refused == 0 ? "\"a\"" : "\"b\"", "S09",
        "tensors[" + std::to_string(c.refused) + "].data_offsets", c.message);
  }
  for (const char *offset : {"-1", "0.0", "1e0", "18446744073709551616"})
    expectHeaderRefused(
        replaced(goodHeader(), "[0,", "[" + std::string(offset) + ","), offset,
        "S09", "tensors[0].data_offsets[0]", "0 to 2^53");
  expectHeaderRefused(replaced(goodHeader(), "[0,8]", "[0,8,9]"), ",9]", "S03",
                      "header");
  // The header's order need not be that of the data.
  expectAccepted(withLength("{" + entry("b", "F16", "[2,1]", 8, 12) + "," +
                                entry("w", "F32", "[2]", 0, 8) + "}",
                            goodData));
}

TEST(Safetensors, S10_RangesAndSizes) {
  for (const char *shape : {"[1]", "[3]", "[]", "[0]", "[2,2]"})
    expectHeaderRefused(replaced(goodHeader(), "[2]", shape), "\"w\"", "S10",
                        "tensors[0].data_offsets", "shape and dtype need");
  // Something that claims no bytes, or none where bytes belong to another.
  expectHeaderRefused("{" + entry("a", "F32", "[1]", 0, 0) + "," +
                          entry("b", "F32", "[3]", 0, 12) + "}",
                      "\"a\"", "S10", "tensors[0].data_offsets");
  expectHeaderRefused("{" + entry("a", "F32", "[0]", 4, 4) + "," +
                          entry("b", "F32", "[3]", 0, 12) + "}",
                      "\"a\"", "S10", "tensors[0].data_offsets",
                      "inside another one's bytes");
  for (uint64_t at : {0, 12})
    expectAccepted(withLength("{" + entry("a", "F32", "[0]", at, at) + "," +
                                  entry("e", "F32", "[5,0]", at, at) + "," +
                                  entry("b", "F32", "[3]", 0, 12) + "}",
                              goodData));
}

TEST(Safetensors, S11_TrailingBytes) {
  expectRefused(withLength(goodHeader(), goodData + "P"), "S11", "data",
                8 + goodHeader().size() + 12, "1 bytes follow");
  expectRefused(withLength("{}", "PK"), "S11", "data", 10, "2 bytes follow");
  expectAccepted(withLength(goodHeader(), goodData));
}

TEST(Safetensors, S13_ManyTensors) {
  std::string header = "{";
  for (int i = 0; i < 200'000; ++i)
    header += (i == 0 ? "" : ",") +
              entry("tensor." + std::to_string(i), "U8", "[1]", i, i + 1);
  header += "}";
  std::string bytes = withLength(header, std::string(200'000, 'x'));
  double headerMiB = static_cast<double>(header.size()) / (1 << 20);
  auto data = reinterpret_cast<const uint8_t *>(bytes.data());
  Cost cost = costOf([&] {
    StatusOr<SafetensorsFile> file =
        SafetensorsFile::parse(data, bytes.size(), "t.safetensors");
    ASSERT_TRUE(file.ok()) << file.status().line("test");
    EXPECT_EQ(file->tensors().size(), 200'000u);
  });
  if (!underSanitizer) {
    EXPECT_LE(cost.seconds, 1.0);
    // The header's own pages count when the file is mapped.
    EXPECT_LE(cost.mebibytes, 64 + headerMiB);
  }
  // Beyond the limit on tensors: exit 4.
  header = "{";
  for (int i = 0; i <= 1 << 18; ++i)
    header += (i == 0 ? "" : ",") + entry(std::to_string(i), "U8", "[0]", 0, 0);
  ParsedFile many(withLength(header + "}", ""));
  EXPECT_EQ(many.file.status().code(), "S13");
  EXPECT_EQ(many.file.status().exitCode(), ExitCode::Limit);
  header = "{\"__metadata__\":{";
  for (int i = 0; i <= 1 << 16; ++i)
    header += (i == 0 ? "\"\":\"\"" : ",\"\":\"\"");
  ParsedFile pairs(withLength(header + "}}", ""));
  EXPECT_EQ(pairs.file.status().code(), "S13");
  EXPECT_EQ(pairs.file.status().exitCode(), ExitCode::Limit);
}

TEST(Safetensors, EveryPrefixIsRefused) {
  std::string bytes =
      readFile(CHORUS_SOURCE_DIR "/test/data/safetensors/mixed.safetensors");
  ASSERT_GT(bytes.size(), 500u);
  for (size_t length = 0; length < bytes.size(); ++length) {
    ParsedFile parsed(bytes.substr(0, length));
    ASSERT_FALSE(parsed.file.ok()) << length;
    ASSERT_EQ(parsed.file.status().exitCode(), ExitCode::Refused);
    ASSERT_NE(parsed.file.status().place().find(" @0x"), std::string::npos);
  }
}

TEST(Safetensors, MutatedFilesEndCleanly) {
  constexpr int numFiles = 200;
  unsigned seed = std::random_device()();
  if (const char *fixed = std::getenv("CHORUS_TEST_SEED"))
    seed = static_cast<unsigned>(std::strtoul(fixed, nullptr, 10));
  std::mt19937 random(seed);
  auto below = [&](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  std::string good =
      readFile(CHORUS_SOURCE_DIR "/test/data/safetensors/mixed.safetensors");
  uint64_t headerEnd = 0;
  std::memcpy(&headerEnd, good.data(), sizeof headerEnd);
  headerEnd += 8;
  const std::string pieces = "{}[]\",:0123456789-.eEtnf\\u \x80\xff";
  std::map<std::string, int> codes;
  int pastFirstScan = 0;
  for (int i = 0; i < numFiles; ++i) {
    std::string bytes = good;
    for (size_t changes = 1 + below(3); changes > 0; --changes) {
      size_t at = below(10) == 0 ? below(8) : 8 + below(headerEnd - 8);
      switch (below(4)) {
      case 0:
        bytes[at] ^= static_cast<char>(1 << below(8));
        break;
      case 1:
        bytes[at] = pieces[below(pieces.size())];
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, 1 + below(8)));
        break;
      }
    }
    ParsedFile parsed(bytes);
    std::string code =
        parsed.file.ok() ? "accepted" : parsed.file.status().code();
    ++codes[code];
    pastFirstScan += code != "S01" && code != "S02" ? 1 : 0;
    if (parsed.file.ok())
      walk(*parsed.file);
    else
      ASSERT_LE(parsed.file.status().line("chorus-run").size(), 512u);
  }
  std::cout << numFiles << " mutated files, CHORUS_TEST_SEED=" << seed << ':';
  for (const auto &[code, count] : codes)
    std::cout << ' ' << code << ' ' << count;
  std::cout << '\n';
  EXPECT_GE(pastFirstScan, numFiles / 2) << "seed " << seed;
}

TEST(Safetensors, OpenReportsPathsAsUsageErrors) {
  TemporaryFolder folder;
  EXPECT_EQ(SafetensorsFile::open(folder.path("missing")).status().exitCode(),
            ExitCode::Usage);
  EXPECT_EQ(SafetensorsFile::open(folder.path()).status().exitCode(),
            ExitCode::Usage);
}
