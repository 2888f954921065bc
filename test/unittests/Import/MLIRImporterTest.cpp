//===- MLIRImporterTest.cpp - Rows M02 to M06 and M09 ---------------------===//
//
// Each case changes one line of a module that is imported without complaint.
//
//===----------------------------------------------------------------------===//

#include "ScratchFolder.h"

#include "chorus/Import/Import.h"

#include "llvm/ADT/StringRef.h"

using namespace chorus;
using chorus::test::ScratchFolder;

namespace {

class MLIRImporterTest : public ::testing::Test {
protected:
  rt::Status import(const std::string &text) {
    mlir::MLIRContext context;
    rt::StatusOr<ImportedModel> model =
        importModel(folder.write("t.mlir", text), {}, context);
    if (model.ok())
      metadata = model->metadata;
    return model.status();
  }

  /// A module whose function has `line` in it, as line 2.
  static std::string withLine(const std::string &line) {
    return "func.func @main(%x: tensor<?x4xf32>, %w: tensor<4xf32>) -> "
           "tensor<?x4xf32> {\n  " +
           line + "\n  return %x : tensor<?x4xf32>\n}\n";
  }

  void expectAccepted(const std::string &text) {
    rt::Status status = import(text);
    EXPECT_TRUE(status.ok()) << status.line("test") << "\n" << text;
  }
  /// `lineAndColumn` may be the beginning of one.
  void expectRefused(const std::string &text, const std::string &code,
                     const std::string &lineAndColumn,
                     const std::string &message) {
    rt::Status status = import(text);
    std::string where =
        lineAndColumn.empty() ? "t.mlir" : "t.mlir:" + lineAndColumn;
    EXPECT_EQ(status.exitCode(), rt::ExitCode::Refused) << text;
    EXPECT_EQ(status.code(), code) << status.line("test");
    EXPECT_NE(status.place().find(where), std::string::npos)
        << status.line("test");
    EXPECT_NE(status.message().find(message), std::string::npos)
        << status.line("test");
    EXPECT_LE(status.line("test").size(), 512u);
  }

  ScratchFolder folder;
  ModelMetadata metadata;
};

TEST_F(MLIRImporterTest, ReadsPlainFunctions) {
  expectAccepted(withLine("%y = transformer.rms_norm %x, %w epsilon = 1.0e-05 "
                          ": tensor<?x4xf32>, tensor<4xf32>"));
  EXPECT_EQ(metadata.name, "t");
  EXPECT_EQ(metadata.vocabSize, 0u);
  EXPECT_TRUE(metadata.stopIds.empty());
  expectAccepted(withLine("%y = math.exp %x : tensor<?x4xf32>"));
}

TEST_F(MLIRImporterTest, ReadsSizesOfALanguageModel) {
  expectAccepted(
      R"(func.func @main(%t: tensor<?x?xi32> {transformer.name = "tokens"})
             -> (tensor<?x?x7xf32> {transformer.name = "logits"}) {
           %a = transformer.rotary_table theta = 1.0e+04 : tensor<64x8x2xf32>
           %b = transformer.rotary_table theta = 1.0e+05 : tensor<32x8x2xf32>
           %c0 = arith.constant 0 : index
           %c1 = arith.constant 1 : index
           %batch = tensor.dim %t, %c0 : tensor<?x?xi32>
           %seq = tensor.dim %t, %c1 : tensor<?x?xi32>
           %y = tensor.empty(%batch, %seq) : tensor<?x?x7xf32>
           return %y : tensor<?x?x7xf32>
         })");
  EXPECT_EQ(metadata.vocabSize, 7u);
  EXPECT_EQ(metadata.contextLength, 32u);
}

TEST_F(MLIRImporterTest, M02_TensorTooLarge) {
  for (const char *shape :
       {"9223372036854775807xf32", "4294967296x4294967296xf32",
        "9223372036854775807xi8", "?x562949953421312xi8"}) {
    std::string type = std::string("tensor<").append(shape).append(">");
    std::string text = "func.func @main(%x: TYPE) -> TYPE {\n"
                       "  return %x : TYPE\n}\n";
    for (size_t at; (at = text.find("TYPE")) != std::string::npos;)
      text.replace(at, 4, type);
    expectRefused(text, "M02", "1:1", "2^48 bytes");
  }
  expectRefused(withLine("%c = arith.constant dense<0> : "
                         "tensor<4294967296x4294967296xi32>"),
                "M02", "2:", "2^48 bytes");
  expectRefused(withLine("%c = arith.constant dense<0> : "
                         "tensor<18446744073709551616xi32>"),
                "M02", "2:", "invalid dimension");
  expectAccepted(withLine("%c = arith.constant dense<0> : tensor<4096xi32>"));
}

TEST_F(MLIRImporterTest, M03_Literals) {
  auto constant = [](const std::string &value) {
    return withLine("%c = arith.constant dense<" + value + "> : tensor<2xf32>");
  };
  expectAccepted(constant("[1.0, 2.0]"));
  expectAccepted(constant("\"0x0000803F00000040\""));
  for (const char *value :
       {"[1.0, 2.0, 3.0]", "[1.0]", "[[1.0], [2.0]]", "\"0x0000803F0000004\"",
        "\"0x0000803F000000\"", "\"0x0000803F0000004000\"", "\"0xZZ00803F\""})
    expectRefused(constant(value), "M03", "2:", "");
}

TEST_F(MLIRImporterTest, M03_Resources) {
  auto resource = [](const std::string &blob) {
    return withLine("%c = arith.constant dense_resource<r> : tensor<2xf32>") +
           "{-#\n  dialect_resources: {\n    builtin: {\n      r: \"" + blob +
           "\"\n    }\n  }\n#-}\n";
  };
  expectAccepted(resource("0x040000000000803F00000040"));
  expectRefused(resource("0x040000000000803F"), "M03",
                "2:", "has 4 bytes, its type needs 8");
  expectRefused(resource("0x040000000000803F0000004000"), "M03",
                "2:", "has 9 bytes");
  expectRefused(resource("0x040000000000803F0000004"), "M03", "8:", "blob");
  expectRefused(resource("0x000000000000803F00000040"), "M03",
                "8:", "alignment 0");
  expectRefused(resource("0x030000000000803F00000040"), "M03",
                "8:", "alignment 3");
  expectRefused(resource(""), "M03", "8:", "blob");
  std::string absent = resource("");
  expectRefused(absent.substr(0, absent.find("{-#")), "M03",
                "2:", "'r' has no data");
}

TEST_F(MLIRImporterTest, M04_Unknown) {
  expectRefused(withLine("%y = nosuch.op %x : tensor<?x4xf32>"), "M04",
                "2:", "nosuch");
  expectRefused(withLine("%y = arith.nosuch %x : tensor<?x4xf32>"), "M04",
                "2:", "arith.nosuch");
  expectRefused(
      withLine("%y = \"nosuch.op\"(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>"),
      "M04", "2:", "unregistered dialect");
  expectRefused(
      withLine("%y = \"arith.nosuch\"(%x) : (tensor<?x4xf32>) -> i32"), "M04",
      "2:", "arith.nosuch");
  expectRefused(withLine("%y = tensor.empty() : tensor<4x!nosuch.type>"), "M04",
                "2:", "unregistered");
  expectRefused(withLine("%y = tensor.empty() : tensor<4x!transformer.nosuch>"),
                "M04", "2:", "nosuch");
  expectRefused(
      withLine("%y = arith.negf %x {a = #nosuch.attr} : tensor<?x4xf32>"),
      "M04", "2:", "unregistered");
  expectRefused(
      withLine("%y = arith.negf %x {nosuch.attr = 1} : tensor<?x4xf32>"), "M04",
      "2:", "nosuch.attr");
  expectRefused("func.func @main(%x: tensor<4xf32> {nosuch.attr = 1}) -> "
                "tensor<4xf32> {\n  return %x : tensor<4xf32>\n}\n",
                "M04", "1:1", "nosuch.attr");
}

TEST_F(MLIRImporterTest, OpsOutsideTheGraphFormAreUnsupported) {
  expectRefused(withLine("%y = memref.alloc() : memref<4xf32>"), "unsupported",
                "2:", "memref.alloc");
  expectRefused(withLine("%y = affine.apply affine_map<() -> (3)>()"),
                "unsupported", "2:", "affine.apply");
  expectRefused("module {\n  module {\n  }\n}\n", "unsupported", "2:3",
                "builtin.module");
}

TEST_F(MLIRImporterTest, M05_Symbols) {
  std::string plain = withLine("");
  std::string second = plain;
  second.replace(second.find("@main"), 5, "@b");
  auto call = [](const char *callee) {
    return withLine(std::string("%y = func.call @") + callee +
                    "(%x, %w) : (tensor<?x4xf32>, tensor<4xf32>) -> "
                    "tensor<?x4xf32>");
  };
  expectAccepted(call("b") + second);
  expectRefused(plain + plain, "M05", "5:1",
                "redefinition of symbol named 'main'");
  expectRefused(call("nosuch"), "M05",
                "2:", "'nosuch' does not reference a valid function");
  expectRefused(call("main"), "M05", "1:1", "@main -> @main");
  std::string back = call("main");
  back.replace(back.find("@main"), 5, "@b");
  expectRefused(call("b") + back, "M05", "1:1", "@main -> @b -> @main");
  expectRefused("func.func private @e(tensor<4xf32>) -> tensor<4xf32>\n" +
                    plain,
                "M05", "1:1", "@e has no body");
}

TEST_F(MLIRImporterTest, M05_LongCycle) {
  std::string text;
  for (int i = 0; i < 20000; ++i)
    text += "func.func @f" + std::to_string(i) +
            "(%x: tensor<4xf32>) -> tensor<4xf32> {\n  %0 = func.call @f" +
            std::to_string((i + 1) % 20000) +
            "(%x) : (tensor<4xf32>) -> tensor<4xf32>\n  return %0 : "
            "tensor<4xf32>\n}\n";
  expectRefused(text, "M05", "1:1", "@f6 -> @f7 -> .. -> @f0");
}

TEST_F(MLIRImporterTest, M06_OurRules) {
  expectRefused(withLine("%y = transformer.rms_norm %x, %w epsilon = -1.0 : "
                         "tensor<?x4xf32>, tensor<4xf32>"),
                "M06", "2:", "epsilon must be positive");
  expectRefused(withLine("%y = transformer.parameter \"m.gguf\" [\"a\", \"b\"] "
                         ": tensor<4xf32>"),
                "M06", "2:", "has 2 names but no layer index");
  expectRefused("func.func @main(%x: tensor<4xf32>, %c: "
                "!transformer.state<paged_kv, i8, layers = 1, kv_heads = 1, "
                "head_dim = 4>) -> tensor<4xf32> {\n  return %x : "
                "tensor<4xf32>\n}\n",
                "M06", "1:", "cache element type");
}

TEST_F(MLIRImporterTest, M06_Entries) {
  expectRefused("module {\n}\n", "M06", "1:1", "no public function");
  expectRefused("", "M06", "", "no public function");
  std::string hidden = withLine("");
  expectAccepted(hidden);
  hidden.replace(hidden.find("func.func"), 9, "func.func private");
  expectRefused(hidden, "M06", "", "no public function");
  expectRefused("func.func @main(%x: tensor<*xf32>) -> tensor<*xf32> {\n  "
                "return %x : tensor<*xf32>\n}\n",
                "M06", "1:1", "ranked tensors only");
  expectRefused("func.func @main(%x: i32) -> i32 {\n  return %x : i32\n}\n",
                "M06", "1:1", "ranked tensors only");
  expectRefused("func.func @main() {\n  return\n}\n", "M06", "1:1",
                "at least one of each");
}

TEST_F(MLIRImporterTest, M06_NamesOfArguments) {
  auto named = [](const std::string &a, const std::string &b) {
    return "func.func @main(%x: tensor<4xf32> {transformer.name = " + a +
           "}, %y: tensor<4xf32> {transformer.name = " + b +
           "}) -> tensor<4xf32> {\n  return %x : tensor<4xf32>\n}\n";
  };
  expectAccepted(named("\"q\"", "\"k\""));
  expectRefused(named("\"q\"", "\"q\""), "M06", "1:1", "'q'");
  expectRefused(named("3", "\"q\""), "M06", "1:1", "must be a string");
  expectRefused(named("\"q\"", "\"\""), "M06", "1:1", "argument 1");
}

TEST_F(MLIRImporterTest, SyntaxErrors) {
  expectRefused(withLine("%y = arith.negf %z : tensor<?x4xf32>"), "syntax",
                "2:", "undeclared SSA value");
  expectRefused(withLine("} }"), "syntax", "", "");
  expectRefused(withLine("%y = arith.negf \x1b[31m"), "syntax", "2:", "");
}

TEST_F(MLIRImporterTest, LocationsFromTheTextDoNotMoveErrors) {
  expectRefused(
      withLine("%y = transformer.rms_norm %x, %w epsilon = -1.0 : "
               "tensor<?x4xf32>, tensor<4xf32> loc(\"/etc/passwd\":7:7)"),
      "M06", "", "epsilon");
}

TEST_F(MLIRImporterTest, RecognisesContent) {
  mlir::MLIRContext context;
  auto codeOf = [&](const std::string &name, const std::string &bytes) {
    return importModel(folder.write(name, bytes), {}, context).status().code();
  };
  EXPECT_EQ(codeOf("text", withLine("")), "");
  EXPECT_EQ(codeOf("text.gguf", withLine("")), "G02");
  EXPECT_EQ(codeOf("bytes.mlir", "GGUF"), "G01");
  EXPECT_EQ(codeOf("bytes", "PK\x03\x04"), "G02");
  EXPECT_EQ(codeOf("m.json", "{\"a\": 1}"), "G02");
  EXPECT_EQ(codeOf("code", "ML\xefR\x06"), "M09");
  EXPECT_EQ(codeOf("empty", ""), "G01");
}

} // namespace
