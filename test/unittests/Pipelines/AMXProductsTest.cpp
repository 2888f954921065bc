//===- AMXProductsTest.cpp - Products on AMX have the bits of VNNI --------===//
//
// The same calls by the code of both levels, for every number of rows up to
// three tiles. Where the CPU has no AMX, its instructions are emulated.
//
//===----------------------------------------------------------------------===//

#include "../Import/GGUFBuilder.h"
#include "../Import/ScratchFolder.h"
#include "CompileFile.h"
#include "chorus_rt/Philox.h"
#include "chorus_rt/PlainEntry.h"
#include "chorus_rt/Program.h"
#include "chorus_rt/ThreadPool.h"
#include "support/AMXEmulator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>

using namespace chorus;
using namespace chorus::gguf::test;

namespace {

constexpr int64_t mostRows = 40;

/// An entry with one product.
struct Case {
  std::string format;
  int64_t width, outputs, terms;
  bool residual;

  std::string name() const {
    return format + "_" + std::to_string(width) + "_" +
           std::to_string(outputs) + "_" + std::to_string(terms) +
           (residual ? "_plus" : "");
  }
  std::string weights() const { return "w." + name(); }
  gguf::TensorType type() const {
    return format == "q4_0"   ? gguf::TensorType::Q4_0
           : format == "q4_1" ? gguf::TensorType::Q4_1
                              : gguf::TensorType::Q8_0;
  }
};

std::vector<Case> allCases() {
  std::vector<Case> cases;
  // Blocks: fewer than are in flight at a time; one, two and three in a loop of
  // two a turn. A panel that is not full.
  for (int64_t width : {32, 64, 96, 128, 160, 192})
    cases.push_back({"q4_0", width, 5, 1, true});
  // Two neighbouring panels.
  for (const char *format : {"q4_0", "q4_1", "q8_0"})
    for (int64_t terms : {1, 2})
      cases.push_back({format, 192, 32, terms, false});
  // Two chunks, of which the second has fewer blocks.
  cases.push_back({"q4_1", 928, 32, 1, true});
  cases.push_back({"q8_0", 928, 21, 1, false});
  return cases;
}

/// Random blocks with random scales and minima, all values of weights among
/// them.
std::string randomBlocks(const Case &product, uint64_t seed) {
  std::string bytes;
  uint32_t at = 0;
  auto next = [&] { return rt::uniform24(seed, 0, at++); };
  auto half = [&] { // 2^-8 to 2^2, of either sign.
    return static_cast<uint16_t>((7 + next() % 10) << 10 | (next() & 0x83FF));
  };
  for (int64_t i = 0; i < product.width / 32 * product.outputs; ++i) {
    bytes += bytesOf(half());
    if (product.format == "q4_1")
      bytes += bytesOf(half());
    for (int byte = 0; byte < (product.format == "q8_0" ? 32 : 16); ++byte)
      bytes += static_cast<char>(next());
  }
  return bytes;
}

std::string entryText(const Case &product) {
  auto tensor = [](const std::string &sizes, const std::string &element) {
    return "tensor<" + sizes + "x" + element + ">";
  };
  std::string k = std::to_string(product.width),
              n = std::to_string(product.outputs);
  std::string x = tensor("?x" + k, "f32"), y = tensor("?x" + n, "f32"),
              w = tensor(n + "x" + k, "!transformer." + product.format),
              q = tensor("?x" + k, product.terms == 2 ? "!transformer.act_q8<2>"
                                                      : "!transformer.act_q8");
  return "func.func @" + product.name() + "(%x: " + x + ", %r: " + y + ") -> " +
         y + " {\n  %w = transformer.parameter \"w.gguf\" [\"" +
         product.weights() + "\"] : " + w +
         "\n  %q = transformer.quantize_activations %x : " + x + " -> " + q +
         "\n  %y = transformer.linear %q, %w " +
         (product.residual ? "plus %r " : "") + ": (" + q + ", " + w +
         (product.residual ? ", " + y : "") + ") -> " + y +
         "\n  return %y : " + y + "\n}\n";
}

class AMXProducts : public ::testing::Test {
protected:
  void SetUp() override {
    std::vector<std::string> features = rt::CpuFeatures::host().names();
    rt::CpuFeatures host(features);
    if (!host.has("avx512_vnni"))
      GTEST_SKIP() << "this CPU lacks AVX512 VNNI";
    if (!host.has("amx_int8")) {
      test::installAMXEmulator();
      features.insert(features.end(), {"amx_tile", "amx_int8"});
    }
    GGUFBuilder weights;
    weights.add("general.architecture", "llama");
    std::string text;
    uint64_t seed = 1;
    for (const Case &product : allCases()) {
      text += entryText(product);
      weights.addTensor(product.weights(),
                        {static_cast<uint64_t>(product.width),
                         static_cast<uint64_t>(product.outputs)},
                        product.type(), randomBlocks(product, seed++));
    }
    weights.write(folder.path("w.gguf"));
    folder.write("f.mlir", text);
    auto opened = chorus::test::compileFile(folder.path("f.mlir"),
                                            folder.path("f.chorus"));
    ASSERT_TRUE(opened.ok()) << opened.status().line("");
    for (auto [program, cpu] :
         {std::pair(&vnni, "x86-64-v4"), std::pair(&amx, "x86-64-v4-amx")}) {
      auto loaded =
          rt::Program::load(*opened, 0, cpu, rt::CpuFeatures(features));
      ASSERT_TRUE(loaded.ok()) << loaded.status().line("");
      *program = *loaded;
    }
  }

  std::vector<float> call(const rt::Program &program, const Case &product,
                          const std::vector<rt::PlainInput> &inputs) {
    auto results =
        rt::callPlainEntry(program, *program.findEntry(product.name()), inputs,
                           threads.api(), "test");
    EXPECT_TRUE(results.ok()) << results.status().line("");
    std::vector<float> values((*results)[0].sizeBytes / sizeof(float));
    std::memcpy(values.data(), (*results)[0].data.get(),
                (*results)[0].sizeBytes);
    return values;
  }

  test::ScratchFolder folder;
  rt::ThreadPool threads{2};
  std::shared_ptr<const rt::Program> vnni, amx;
};

TEST_F(AMXProducts, HaveTheBitsOfVNNI) {
  uint32_t at = 0;
  auto random = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float &value : values)
      value = static_cast<float>(rt::uniform24(7, 1, at++)) * 0x1p-22f - 2;
    return values;
  };
  for (const Case &product : allCases())
    for (int64_t rows = 1; rows <= mostRows; ++rows) {
      int64_t width = product.width;
      std::vector<float> x = random(rows * width),
                         r = random(rows * product.outputs);
      // A block of zeros, one with an infinity, one that is rounded to zeros.
      std::fill_n(x.begin() + width / 2 / 32 * 32, 32, 0.0f);
      if (rows > 12)
        x[static_cast<size_t>(12 * width + 3)] =
            std::numeric_limits<float>::infinity();
      for (int64_t i = 0; rows > 20 && i < 32; ++i)
        x[static_cast<size_t>(20 * width + i)] *= 0x1p-80f;
      const std::vector<rt::PlainInput> inputs{
          {"arg0", rt::DType::F32, {rows, width}, x.data()},
          {"arg1", rt::DType::F32, {rows, product.outputs}, r.data()}};
      std::vector<float> expected = call(*vnni, product, inputs),
                         got = call(*amx, product, inputs);
      ASSERT_EQ(got.size(), expected.size());
      size_t same = 0;
      while (same < got.size() &&
             std::memcmp(&got[same], &expected[same], sizeof(float)) == 0)
        ++same;
      ASSERT_EQ(same, got.size())
          << product.name() << ", " << rows << " rows: " << got[same]
          << " instead of " << expected[same];
    }
  // All tiles were reached, and nothing else made these sums.
  size_t tiles = 0;
  for (size_t i = 0; i < amx->code().kernels.size(); ++i) {
    std::string_view name = amx->code().kernels[i].name;
    EXPECT_TRUE(amx->kernelEntered(i)) << name;
    tiles += name.substr(0, 4) == "amx.";
  }
  EXPECT_GT(tiles, 0u);
  if (!rt::CpuFeatures::host().has("amx_int8"))
    EXPECT_GT(test::emulatedAMXInstructions(), 0u);
}

} // namespace
