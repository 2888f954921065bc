//===- GGUFMutationTest.cpp - Prefixes, mutations, cost -------------------===//

#include "GGUFBuilder.h"
#include "GGUFWalk.h"
#include "ProcessCost.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <unistd.h>

using namespace chorus;
using namespace chorus::gguf;
using namespace chorus::gguf::test;

using rt::test::Cost;
using rt::test::costOf;
using rt::test::underSanitizer;

namespace {

GGUFBuilder smallModel() {
  GGUFBuilder builder;
  builder.padLastTensor = false;
  builder.add("general.architecture", "llama")
      .add("llama.block_count", uint32_t(1))
      .add("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .addAlignment(32)
      .add("tokenizer.ggml.add_bos_token", false)
      .add("tokenizer.ggml.tokens",
           std::vector<std::string>{"<unk>", "a", "b", "ab"})
      .add("tokenizer.ggml.scores", std::vector<float>{0, 1, 2, 3})
      .add("tokenizer.ggml.token_type", std::vector<int32_t>{2, 1, 1, 1});
  builder.addTensor("token_embd.weight", {32, 4}, TensorType::Q8_0)
      .addTensor("blk.0.attn_norm.weight", {32}, TensorType::F32)
      .addTensor("blk.0.attn_q.weight", {32, 32}, TensorType::Q4_1)
      .addTensor("blk.0.attn_k.weight", {32, 8}, TensorType::Q4_0)
      .addTensor("blk.0.attn_v.weight", {32, 8}, TensorType::F16)
      .addTensor("output_norm.weight", {32}, TensorType::BF16);
  return builder;
}

StatusOr<GGUFFile> parse(const std::vector<uint8_t> &bytes) {
  return GGUFFile::parse(bytes.data(), bytes.size(), "m.gguf");
}

std::vector<uint8_t> toBytes(const std::string &text) {
  return std::vector<uint8_t>(text.begin(), text.end());
}

} // namespace

TEST(GGUF, G01_EveryPrefixIsRefused) {
  std::string bytes = smallModel().build();
  std::map<std::string, int> codes;
  for (size_t length = 0; length < bytes.size(); ++length) {
    StatusOr<GGUFFile> file = parse(toBytes(bytes.substr(0, length)));
    ASSERT_FALSE(file.ok()) << length;
    ASSERT_EQ(file.status().exitCode(), rt::ExitCode::Refused) << length;
    ASSERT_NE(file.status().place().find(" @0x"), std::string::npos);
    ++codes[file.status().code()];
  }
  EXPECT_TRUE(parse(toBytes(bytes)).ok());
  std::cout << bytes.size() << " prefixes:";
  for (const auto &[code, count] : codes) {
    std::cout << ' ' << code << ' ' << count;
    EXPECT_TRUE(code == "G01" || code == "G05" || code == "G06" ||
                code == "G07" || code == "G10" || code == "G12" ||
                code == "G14" || code == "G20")
        << code;
  }
  std::cout << '\n';
}

/// Changes like those of broken writers and of attackers: a flipped bit, an
/// edge-case number over a field, bytes removed or repeated.
static std::string mutate(const std::string &bytes, const GGUFBuilder &builder,
                          std::mt19937 &random) {
  auto below = [&](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  std::string mutated = bytes;
  static const uint64_t edges[] = {0,
                                   1,
                                   2,
                                   3,
                                   5,
                                   7,
                                   8,
                                   12,
                                   13,
                                   31,
                                   32,
                                   33,
                                   64,
                                   65,
                                   255,
                                   65535,
                                   65536,
                                   0x7FFFFFFF,
                                   0x80000000,
                                   0xFFFFFFFF,
                                   uint64_t(1) << 32,
                                   uint64_t(1) << 40,
                                   uint64_t(1) << 62,
                                   uint64_t(1) << 63,
                                   ~uint64_t(0)};
  for (size_t changes = 1 + below(3); changes > 0; --changes) {
    switch (below(4)) {
    case 0:
      mutated[below(mutated.size())] ^= static_cast<char>(1 << below(8));
      break;
    case 1: {
      auto field = builder.fields().begin();
      std::advance(field, below(builder.fields().size()));
      uint64_t value = edges[below(std::size(edges))];
      size_t width = below(2) ? 4 : 8;
      if (field->second + width <= mutated.size())
        std::memcpy(&mutated[field->second], &value, width);
      break;
    }
    case 2: {
      size_t at = below(mutated.size());
      mutated.erase(at, 1 + below(16));
      break;
    }
    case 3: {
      size_t at = below(builder.endOfMetadata());
      mutated.insert(at, mutated.substr(at, 1 + below(16)));
      break;
    }
    }
  }
  return mutated;
}

TEST(GGUF, MutatedFilesEndCleanly) {
  constexpr int numFiles = 200;
  unsigned seed = std::random_device()();
  if (const char *fixed = std::getenv("CHORUS_TEST_SEED"))
    seed = static_cast<unsigned>(std::strtoul(fixed, nullptr, 10));
  std::mt19937 random(seed);
  GGUFBuilder builder = smallModel();
  std::string bytes = builder.build();
  std::map<std::string, int> codes;
  int pastFirstScan = 0;
  for (int i = 0; i < numFiles; ++i) {
    std::vector<uint8_t> mutated = toBytes(mutate(bytes, builder, random));
    StatusOr<GGUFFile> file = parse(mutated);
    std::string code = file.ok() ? "accepted" : file.status().code();
    ++codes[code];
    pastFirstScan += code != "G02" && code != "G03" && code != "G04" ? 1 : 0;
    if (file.ok()) {
      walk(*file);
      continue;
    }
    ASSERT_NE(file.status().place(), "") << "seed " << seed;
    ASSERT_LE(file.status().line("chorus-compile").size(), 512u);
  }
  std::cout << numFiles << " mutated files, CHORUS_TEST_SEED=" << seed << ':';
  for (const auto &[code, count] : codes)
    std::cout << ' ' << code << ' ' << count;
  std::cout << '\n';
  EXPECT_GE(pastFirstScan, numFiles / 2) << "seed " << seed;
  EXPECT_GE(codes.size(), 6u) << "seed " << seed;
}

TEST(GGUF, G08_MillionDistinctKeys) {
  constexpr uint32_t numKeys = 1'000'000;
  std::string bytes;
  bytes.reserve(28'000'000);
  bytes += "GGUF" + bytesOf<uint32_t>(3) + bytesOf<uint64_t>(0) +
           bytesOf<uint64_t>(numKeys);
  for (uint32_t i = 0; i < numKeys; ++i)
    bytes += lengthPrefixed("key." + std::to_string(i)) + bytesOf<uint32_t>(4) +
             bytesOf(i);
  double metadataMiB = static_cast<double>(bytes.size()) / (1 << 20);
  auto data = reinterpret_cast<const uint8_t *>(bytes.data());
  Cost cost = costOf([&] {
    StatusOr<GGUFFile> file = GGUFFile::parse(data, bytes.size(), "m.gguf");
    ASSERT_TRUE(file.ok()) << file.status().line("test");
    EXPECT_EQ(*file->getUnsigned("key.777777", "G21"), 777777u);
    EXPECT_FALSE(file->has("key.1000000"));
  });
  // One repeated key among them is still found.
  std::string repeated = bytes;
  repeated.replace(24 + 8, 5, "key.9"); // Was key.0; key.9 follows.
  StatusOr<GGUFFile> file =
      GGUFFile::parse(reinterpret_cast<const uint8_t *>(repeated.data()),
                      repeated.size(), "m.gguf");
  EXPECT_EQ(file.status().code(), "G08");
  if (!underSanitizer) {
    EXPECT_LE(cost.seconds, 2.0);
    EXPECT_LE(cost.mebibytes, 64 + 2 * metadataMiB);
  }
}

/// A sparse file that begins with `start` and reads as zeros up to `size`.
static std::string sparseFile(const char *name, const std::string &start,
                              uint64_t size) {
  std::string path = testing::TempDir() + "chorus-gguf-" +
                     std::to_string(getpid()) + "-" + name;
  std::ofstream(path, std::ios::binary)
      .write(start.data(), static_cast<std::streamsize>(start.size()));
  EXPECT_EQ(truncate(path.c_str(), static_cast<off_t>(size)), 0);
  return path;
}

TEST(GGUF, G10_HundredMillionStrings) {
  GGUFBuilder builder;
  builder.addArray("tokens", 8, 100'000'000, "");
  std::string start = builder.build().substr(0, builder.endOfMetadata());
  std::string path = sparseFile("strings.gguf", start, 900'000'000);
  Cost cost = costOf([&] {
    StatusOr<GGUFFile> file = GGUFFile::open(path);
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.status().code(), "G10");
    EXPECT_EQ(file.status().exitCode(), rt::ExitCode::Limit);
  });
  if (!underSanitizer) {
    EXPECT_LE(cost.seconds, 1.0);
    EXPECT_LE(cost.mebibytes, 64);
  }
  unlink(path.c_str());
}

TEST(GGUF, G05_MillionTensorsStayInBound) {
  constexpr uint32_t numTensors = 1 << 20;
  std::string bytes = "GGUF" + bytesOf<uint32_t>(3) +
                      bytesOf<uint64_t>(numTensors) + bytesOf<uint64_t>(0);
  for (uint32_t i = 0; i < numTensors; ++i)
    bytes += lengthPrefixed(std::to_string(i)) + bytesOf<uint32_t>(1) +
             bytesOf<uint64_t>(1) + bytesOf<uint32_t>(0) +
             bytesOf<uint64_t>(32 * uint64_t(i));
  double metadataMiB = static_cast<double>(bytes.size()) / (1 << 20);
  auto data = reinterpret_cast<const uint8_t *>(bytes.data());
  Cost cost = costOf([&] {
    StatusOr<GGUFFile> file = GGUFFile::parse(data, bytes.size(), "m.gguf");
    EXPECT_EQ(file.status().code(), "G20"); // There is no data behind them.
  });
  if (!underSanitizer) {
    EXPECT_LE(cost.seconds, 1.0);
    EXPECT_LE(cost.mebibytes, 64 + 2 * metadataMiB);
  }
}

TEST(GGUF, G23_ScanGivesItsPagesBack) {
  GGUFBuilder builder;
  builder.addTensor("w", {1024, 65536}, TensorType::F32, "");
  std::string start = builder.build().substr(0, builder.endOfMetadata());
  uint64_t begin = (start.size() + 31) / 32 * 32;
  std::string path =
      sparseFile("finite.gguf", start, begin + (uint64_t(1) << 28));
  Cost cost = costOf([&] {
    StatusOr<GGUFFile> file = GGUFFile::open(path);
    ASSERT_TRUE(file.ok()) << file.status().line("test");
    EXPECT_TRUE(file->checkFinite(file->tensors()[0]).ok());
    EXPECT_TRUE(file->checkUnchanged().ok());
  });
  if (!underSanitizer)
    EXPECT_LE(cost.mebibytes, 16);
  unlink(path.c_str());
}
