//===- ValueHeadTest.cpp - Reading value heads ----------------------------===//

#include "../Import/ScratchFolder.h"
#include "../Import/TinyLlama.h"

#include "chorus/Pipelines/ValueHead.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus_rt/Safetensors.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <memory>
#include <utility>

using namespace chorus;
using rt::SafetensorsDtype;

namespace {

/// A tensor of a head's file.
struct Source {
  std::string name;
  SafetensorsDtype dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

template <typename T> std::string bytesOf(std::vector<T> values) {
  return {reinterpret_cast<const char *>(values.data()),
          values.size() * sizeof(T)};
}

Source weight(std::vector<int64_t> shape = {64}, float last = 1) {
  std::vector<float> values(64, 0.5f);
  values.back() = last;
  return {"weight", SafetensorsDtype::F32, std::move(shape), bytesOf(values)};
}
Source scalar(const std::string &name, float value) {
  return {name, SafetensorsDtype::F32, {}, bytesOf<float>({value})};
}
Source token(int64_t id) {
  return {"token", SafetensorsDtype::I64, {}, bytesOf<int64_t>({id})};
}

class ValueHeads : public testing::Test {
protected:
  ValueHeads() : context(mlir::MLIRContext::Threading::DISABLED) {
    gguf::test::TinyLlama().builder().write(folder.path("tiny.gguf"));
  }

  /// Adds the head of these tensors to the model.
  rt::StatusOr<ValueHead> add(const std::vector<Source> &sources) {
    std::vector<rt::SafetensorsOutput> outputs;
    outputs.reserve(sources.size());
    for (const Source &source : sources)
      outputs.push_back({source.name, source.dtype, source.shape,
                         source.bytes.data(), source.bytes.size()});
    rt::Status written = rt::writeSafetensors(path, outputs);
    EXPECT_TRUE(written.ok()) << written.line("");
    return addFile(folder.path("tiny.gguf"));
  }

  rt::StatusOr<ValueHead> addFile(const std::string &modelPath) {
    rt::StatusOr<ImportedModel> imported = importModel(modelPath, {}, context);
    EXPECT_TRUE(imported.ok()) << imported.status().line("");
    model = std::make_unique<ImportedModel>(std::move(*imported));
    return addValueHead(path, *model);
  }

  void refuse(const std::vector<Source> &sources, const std::string &code,
              const std::string &place) {
    rt::Status status = add(sources).status();
    EXPECT_EQ(status.code(), code) << status.line("");
    EXPECT_EQ(status.exitCode(), rt::ExitCode::Refused);
    EXPECT_NE(status.line("").find(place), std::string::npos)
        << status.line("");
  }

  mlir::func::FuncOp mainFunction() {
    return model->module->lookupSymbol<mlir::func::FuncOp>("main");
  }

  test::ScratchFolder folder;
  std::string path = folder.path("head.safetensors");
  mlir::MLIRContext context;
  std::unique_ptr<ImportedModel> model;
};

TEST_F(ValueHeads, LinearFormIsAResult) {
  rt::StatusOr<ValueHead> head = add({weight(), scalar("bias", -0.25f)});
  ASSERT_TRUE(head.ok()) << head.status().line("");
  EXPECT_FALSE(head->token);
  EXPECT_EQ(head->gain, 1);
  EXPECT_EQ(head->bias, -0.25f);
  EXPECT_EQ(mainFunction().getNumResults(), 2u);
  EXPECT_TRUE(isLanguageModel(mainFunction()));
  EXPECT_TRUE(model->parameters->checkParameters(*model->module, false).ok());
}

TEST_F(ValueHeads, LogitFormLeavesTheModelAlone) {
  for (bool wide : {true, false}) {
    Source id = token(15);
    if (!wide)
      id = {"token", SafetensorsDtype::I32, {}, bytesOf<int32_t>({15})};
    rt::StatusOr<ValueHead> head =
        add({id, scalar("gain", 2), scalar("bias", 3)});
    ASSERT_TRUE(head.ok()) << head.status().line("");
    EXPECT_EQ(head->token, 15);
    EXPECT_EQ(head->gain, 2);
    EXPECT_EQ(head->bias, 3);
    EXPECT_EQ(mainFunction().getNumResults(), 1u);
  }
}

TEST_F(ValueHeads, G22_NamesAndShapes) {
  refuse({scalar("bias", 0)}, "G22", "'token': is missing");
  refuse({weight()}, "G22", "'bias': is missing");
  refuse({token(3), scalar("bias", 0)}, "G22", "'gain': is missing");
  refuse({weight(), scalar("bias", 0), token(3)}, "G22", "'token': belongs to");
  refuse({weight({1, 64}), scalar("bias", 0)}, "G22",
         "has shape [1, 64], needed is [64]");
  refuse({weight({32, 2}), scalar("bias", 0)}, "G22", "'weight'");
  Source vector{"bias", SafetensorsDtype::F32, {1}, bytesOf<float>({1})};
  refuse({weight(), vector}, "G22", "'bias': has 1 dimension");
  for (int64_t id : {int64_t(-1), int64_t(16), int64_t(1) << 32})
    refuse({token(id), scalar("gain", 1), scalar("bias", 0)}, "G22",
           "allowed is 0 to 15");
}

TEST_F(ValueHeads, G23_ValuesThatAreNotFinite) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    refuse({weight({64}, bad), scalar("bias", 0)}, "G23", "weight");
    refuse({weight(), scalar("bias", bad)}, "G23", "'bias'");
    refuse({token(1), scalar("gain", bad), scalar("bias", 0)}, "G23", "'gain'");
  }
}

TEST_F(ValueHeads, OtherTypesAreNotSupported) {
  Source wide{"weight", SafetensorsDtype::F64, {64}, std::string(512, '\0')};
  refuse({wide, scalar("bias", 0)}, "unsupported", "dtype F64");
  Source real{"token", SafetensorsDtype::F32, {}, bytesOf<float>({1})};
  refuse({real, scalar("gain", 1), scalar("bias", 0)}, "unsupported",
         "dtype F32, needed is I64");
}

TEST_F(ValueHeads, S01_CutFile) {
  ASSERT_TRUE(add({weight(), scalar("bias", 0)}).ok());
  std::filesystem::resize_file(path, 5);
  rt::Status status = addFile(folder.path("tiny.gguf")).status();
  EXPECT_EQ(status.code(), "S01") << status.line("");
}

TEST_F(ValueHeads, ModelsWithoutAProductAtTheEnd) {
  ASSERT_TRUE(add({weight(), scalar("bias", 0)}).ok());
  auto textModel = [&](const char *body) {
    std::ofstream(folder.path("m.mlir")) << body;
    return addFile(folder.path("m.mlir")).status();
  };
  EXPECT_EQ(textModel("func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> { "
                      "return %x : tensor<?xf32> }")
                .code(),
            "unsupported");
  EXPECT_EQ(
      textModel("func.func @main(%t: tensor<?x?xi32> {transformer.name = "
                "\"tokens\"}, %x: tensor<?x?x64xf32>) -> (tensor<?x?x64xf32> "
                "{transformer.name = \"logits\"}) { return %x : "
                "tensor<?x?x64xf32> }")
          .code(),
      "unsupported");
}

} // namespace
