//===- ParameterStoreTest.cpp - Parameters of MLIR text -------------------===//

#include "ScratchFolder.h"
#include "TinyLlama.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Import/Import.h"
#include "chorus_rt/Safetensors.h"

#include "llvm/ADT/StringExtras.h"

#include <limits>

using namespace chorus;
using namespace chorus::gguf::test;
using chorus::gguf::TensorType;
using chorus::test::ScratchFolder;

namespace {

/// A folder with files of both formats, and modules that name their tensors.
class ParameterStoreTest : public ::testing::Test {
protected:
  ParameterStoreTest() {
    GGUFBuilder builder;
    builder.add("general.architecture", "llama")
        .addTensor("w", {64, 3}, TensorType::Q4_1)
        .addTensor("b", {4}, TensorType::F32, std::string(16, '\0'))
        .addTensor("k", {256, 2}, TensorType::Q6_K, filled(2 * 210))
        .addTensor("nan", {4}, TensorType::F32,
                   std::string(12, '\0') +
                       bytesOf(std::numeric_limits<float>::quiet_NaN()));
    builder.write(folder.path("m.gguf"));
    std::vector<uint16_t> halves = {1, 2, 3, 4, 5, 6};
    // Of f16 and bf16, with the largest finite value beside it.
    std::vector<uint16_t> infinite = {0x7bff, 0, 1, 0xfc00, 0x7c00, 5};
    std::vector<uint16_t> nan = {0x7f7f, 0xffc0};
    std::vector<float> values = {1, 2, -std::numeric_limits<float>::infinity(),
                                 4};
    rt::Status written = rt::writeSafetensors(
        folder.path("m.safetensors"),
        {{"h", rt::SafetensorsDtype::F16, {2, 3}, halves.data(), 12},
         {"i", rt::SafetensorsDtype::I32, {3}, halves.data(), 12},
         {"inf", rt::SafetensorsDtype::F16, {3, 2}, infinite.data(), 12},
         {"nan", rt::SafetensorsDtype::BF16, {2}, nan.data(), 4},
         {"f", rt::SafetensorsDtype::F32, {2, 1, 2}, values.data(), 16}});
    EXPECT_TRUE(written.ok());
  }

  /// Imports `@main(x) = x` beside parameters of these forms.
  rt::Status import(const std::vector<std::string> &parameters,
                    ImportOptions options = {}) {
    std::string text =
        "func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {\n";
    for (size_t i = 0; i < parameters.size(); ++i)
      text += "  %" + std::to_string(i) + " = transformer.parameter " +
              parameters[i] + "\n";
    text += "  return %x : tensor<4xf32>\n}\n";
    model = importModel(folder.write("m.mlir", text), options, context);
    return model.status();
  }
  void expectRefused(const std::string &parameter, const std::string &code,
                     const std::vector<std::string> &parts) {
    rt::Status status = import({parameter});
    EXPECT_EQ(status.code(), code) << status.line("test");
    EXPECT_EQ(status.exitCode(), rt::ExitCode::Refused);
    for (const std::string &part : parts)
      EXPECT_NE(status.line("test").find(part), std::string::npos)
          << "'" << part << "' is not in: " << status.line("test");
  }

  ScratchFolder folder;
  mlir::MLIRContext context;
  rt::StatusOr<ImportedModel> model = rt::refused("none", "", "");
};

TEST_F(ParameterStoreTest, ReadsBothFormats) {
  rt::Status status =
      import({R"("m.gguf" ["w"] : tensor<3x64x!transformer.q4_1>)",
              R"("m.gguf" ["b"] : tensor<4xf32>)",
              R"("m.safetensors" ["h"] : tensor<2x3xf16>)"});
  ASSERT_TRUE(status.ok()) << status.line("test");
  EXPECT_EQ(model->metadata.numParameters, 3u * 64 + 4 + 6);
  rt::StatusOr<ParameterView> view =
      model->parameters->find("m.safetensors", "h", context);
  ASSERT_TRUE(view.ok());
  ASSERT_EQ(view->bytes.size(), 12u);
  EXPECT_EQ(view->bytes[10], 6);
  model->parameters->release(view->bytes);
  EXPECT_EQ(view->bytes[10], 6);
}

TEST_F(ParameterStoreTest, BlocksCanBeViewedAsBytes) {
  rt::Status status = import({R"("m.gguf" ["w"] : tensor<3x2x20xi8>)"});
  EXPECT_TRUE(status.ok()) << status.line("test");
  expectRefused(R"("m.gguf" ["w"] : tensor<3x2x18xi8>)", "G22", {"'w'"});
  expectRefused(R"("m.gguf" ["b"] : tensor<16xi8>)", "G22", {"'b'"});
}

TEST_F(ParameterStoreTest, G22_FoundAndNeeded) {
  expectRefused(R"("m.gguf" ["w"] : tensor<64x3xf32>)", "G22",
                {"m.gguf: tensor 'w'", "found !transformer.q4_1 [3, 64]",
                 "needed is f32 [64, 3]"});
  expectRefused(R"("m.safetensors" ["h"] : tensor<2x3xbf16>)", "G22",
                {"found f16 [2, 3]", "needed is bf16 [2, 3]"});
  expectRefused(R"("m.gguf" ["nosuch"] : tensor<4xf32>)", "G22",
                {"m.gguf: tensor 'nosuch'", "is missing"});
  expectRefused(R"("m.safetensors" ["nosuch"] : tensor<4xf32>)", "G22",
                {"m.safetensors: tensor 'nosuch'", "is missing"});
}

TEST_F(ParameterStoreTest, EveryLayerIsChecked) {
  std::string text = R"(
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %l = arith.constant 0 : index
      %w = transformer.parameter "m.gguf" ["b", "w"] [%l] : tensor<4xf32>
      return %x : tensor<4xf32>
    })";
  model = importModel(folder.write("m.mlir", text), {}, context);
  EXPECT_EQ(model.status().code(), "G22");
  EXPECT_NE(model.status().line("test").find("'w'"), std::string::npos);
}

TEST_F(ParameterStoreTest, UnsupportedTypes) {
  expectRefused(R"("m.gguf" ["k"] : tensor<2x256xf32>)", "unsupported",
                {"'k'", "Q6_K", "supported are"});
  expectRefused(R"("m.safetensors" ["i"] : tensor<3xf32>)", "unsupported",
                {"'i'", "I32", "F32, F16, BF16"});
}

TEST_F(ParameterStoreTest, G23_NonfiniteValues) {
  expectRefused(R"("m.gguf" ["nan"] : tensor<4xf32>)", "G23", {"nan"});
  expectRefused(R"("m.safetensors" ["inf"] : tensor<3x2xf16>)", "G23",
                {"m.safetensors: tensor 'inf'",
                 "2 values are NaN or infinite, the first in row 1"});
  expectRefused(R"("m.safetensors" ["nan"] : tensor<2xbf16>)", "G23",
                {"tensor 'nan'", "1 values", "row 0"});
  expectRefused(R"("m.safetensors" ["f"] : tensor<2x1x2xf32>)", "G23",
                {"tensor 'f'", "1 values", "row 1"});
  EXPECT_TRUE(import({R"("m.gguf" ["nan"] : tensor<4xf32>)",
                      R"("m.safetensors" ["inf"] : tensor<3x2xf16>)"},
                     ImportOptions{/*allowNonfinite=*/true})
                  .ok());
}

TEST_F(ParameterStoreTest, FilesAreNamedRelativeToTheText) {
  expectRefused("\"" + folder.path("m.gguf") + R"(" ["b"] : tensor<4xf32>)",
                "M06", {"relative to the module's own folder"});
  expectRefused(R"("" ["b"] : tensor<4xf32>)", "M06", {"relative"});
  std::filesystem::create_directory(folder.path("sub"));
  std::filesystem::rename(folder.path("m.gguf"), folder.path("sub/m.gguf"));
  EXPECT_TRUE(import({R"("sub/m.gguf" ["b"] : tensor<4xf32>)"}).ok());
}

TEST_F(ParameterStoreTest, MissingFileIsALaterFailure) {
  rt::Status status = import({R"("nosuch.gguf" ["b"] : tensor<4xf32>)"});
  EXPECT_EQ(status.exitCode(), rt::ExitCode::IO) << status.line("test");
  EXPECT_NE(status.line("test").find("nosuch.gguf"), std::string::npos);
}

TEST_F(ParameterStoreTest, BrokenFilesKeepTheirReadersCodes) {
  folder.write("cut.safetensors", "abc");
  expectRefused(R"("cut.safetensors" ["h"] : tensor<4xf32>)", "S01",
                {"cut.safetensors"});
  folder.write("cut.gguf", "GGUF");
  expectRefused(R"("cut.gguf" ["h"] : tensor<4xf32>)", "G01", {"cut.gguf"});
}

} // namespace
