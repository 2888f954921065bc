//===- TextScanTest.cpp - Rows M01, M08 and M09 of the bad inputs ---------===//

#include "MLIR/TextScan.h"

#include <gtest/gtest.h>

#include <string>

using namespace chorus;

namespace {

std::string repeated(const std::string &text, size_t count) {
  std::string result;
  result.reserve(text.size() * count);
  for (size_t i = 0; i < count; ++i)
    result += text;
  return result;
}

rt::Status scan(const std::string &text) {
  return scanMLIRText(text, "t.mlir");
}

void expectError(const std::string &text, const std::string &code,
                 const std::string &place) {
  rt::Status status = scan(text);
  EXPECT_EQ(status.code(), code);
  EXPECT_EQ(status.place(), place);
}

/// Text nested `depth` levels deep in `open`..`close`.
std::string nested(const std::string &head, const std::string &open,
                   const std::string &middle, const std::string &close,
                   size_t depth) {
  return head + repeated(open, depth) + middle + repeated(close, depth);
}

TEST(MLIR, M01_Brackets) {
  const struct {
    const char *head, *open, *middle, *close;
    size_t column; // Of the 257th opening.
  } cases[] = {
      {"#a = ", "[", "1", "]", 262},
      {"!t = ", "tuple<", "i32", ">", 5 + 257 * 6},
      {"", "module {", "", "}", 257 * 8},
      {"#a = ", "{a = ", "1", "}", 5 + 256 * 5 + 1},
  };
  for (const auto &entry : cases) {
    auto text = [&](size_t depth) {
      return nested(entry.head, entry.open, entry.middle, entry.close, depth);
    };
    EXPECT_TRUE(scan(text(256)).ok()) << entry.open;
    for (size_t depth : {257, 300, 10000, 200000})
      expectError(text(depth), "M01",
                  "t.mlir:1:" + std::to_string(entry.column));
  }
}

TEST(MLIR, M01_AffineExpressions) {
  // Two brackets, and 254 operators.
  EXPECT_TRUE(
      scan("#m = affine_map<(d0) -> (d0" + repeated(" + d0", 254) + ")>").ok());
  for (const char *operation : {" + d0", " - d0", "*2", " mod 2", " floordiv 3",
                                " ceildiv 3", "+d0*2", "-d0"})
    for (size_t count : {300, 10000, 200000})
      EXPECT_EQ(scan("#m = affine_map<(d0) -> (d0" +
                     repeated(operation, count) + ")>")
                    .code(),
                "M01")
          << operation;
  for (size_t count : {300, 10000, 200000}) {
    EXPECT_EQ(scan(nested("#m = affine_map<(d0) -> (", "-", "d0)>", "", count))
                  .code(),
              "M01");
    EXPECT_EQ(
        scan(nested("#m = affine_map<(d0) -> (", "(1 + ", "d0", ")", 150) +
             ")>")
            .code(),
        "M01");
  }
}

TEST(MLIR, M01_Aliases) {
  auto chain = [](size_t length) {
    std::string text = "#a0 = [1]\n";
    for (size_t i = 1; i < length; ++i)
      text +=
          "#a" + std::to_string(i) + " = [#a" + std::to_string(i - 1) + "]\n";
    return text;
  };
  EXPECT_TRUE(scan(chain(256)).ok());
  expectError(chain(257), "M01", "t.mlir:257:10");
  EXPECT_EQ(scan(chain(200000)).code(), "M01");
}

TEST(MLIR, M08_AliasesThatDouble) {
  std::string text = "#a0 = [1]\n";
  for (size_t i = 1; i < 60; ++i) {
    std::string last = std::to_string(i - 1);
    text.append("#a").append(std::to_string(i));
    text.append(" = [#a").append(last).append(", #a").append(last).append(
        "]\n");
  }
  rt::Status status = scan(text);
  EXPECT_EQ(status.code(), "M08");
  EXPECT_EQ(status.exitCode(), rt::ExitCode::Limit);
}

TEST(MLIR, M01_DoesNotCountWhatIsNoNesting) {
  // In strings and comments.
  EXPECT_TRUE(scan("// " + repeated("[", 1000) + "\n").ok());
  EXPECT_TRUE(scan("#a = \"" + repeated("[\\\"", 1000) + "\"\n").ok());
  // Arrows, comparisons and signs.
  EXPECT_TRUE(scan(repeated("func.func private @f(i32) -> i32\n", 1000)).ok());
  EXPECT_TRUE(
      scan(repeated("#s = affine_set<(d0) : (d0 - 1 >= 0, d0 <= 7)>\n", 1000))
          .ok());
  EXPECT_TRUE(
      scan("#d = dense<[" + repeated("-1.0e-05, ", 1000) + "1.0]>").ok());
  EXPECT_TRUE(
      scan("{" + repeated("%0 = arith.constant -1 : i32\n", 1000) + "}").ok());
  EXPECT_TRUE(scan(repeated("#a = [1]\n", 1000)).ok());
}

TEST(MLIR, M08_Operations) {
  EXPECT_TRUE(scan(repeated("arith.constant 1\n", maxMLIROperations)).ok());
  for (const char *operation : {"%0 = arith.constant 1\n", "scf.yield\n",
                                "\"test.op\"() : () -> ()\n"}) {
    rt::Status status = scan(repeated(operation, 1000000));
    EXPECT_EQ(status.code(), "M08") << operation;
    EXPECT_EQ(status.exitCode(), rt::ExitCode::Limit);
  }
  rt::Status status = scan(std::string(maxMLIRBytes + 1, ' '));
  EXPECT_EQ(status.code(), "M08");
  EXPECT_EQ(status.exitCode(), rt::ExitCode::Limit);
}

TEST(MLIR, M09_NoPlainText) {
  const std::string good = "module {\n}\n";
  EXPECT_TRUE(scan(good).ok());
  expectError(std::string("module {\n\0}\n", 12), "M09", "t.mlir:2:1");
  expectError("\xef\xbb\xbf" + good, "M09", "t.mlir:1:1");
  expectError("module {\r\n}\r\n", "M09", "t.mlir:1:9");
  expectError(good + "// -----\n" + good, "M09", "t.mlir:3:1");
  expectError("ML\xefR\x06", "M09", "t.mlir:1:1");
  // Hyphens in a comment are no marker.
  EXPECT_TRUE(
      scan("// ---- layers ----\n" + good + "  // ----- not at the start\n")
          .ok());
}

TEST(MLIR, M03_ResourceAlignment) {
  auto resources = [](const std::string &blob) {
    return "{-#\n  dialect_resources: { builtin: { r: \"" + blob +
           "\" } }\n#-}\n";
  };
  EXPECT_TRUE(scan(resources("0x080000000000803F")).ok());
  EXPECT_TRUE(scan(resources("0x00100000")).ok()); // 4096
  for (const char *blob :
       {"0x00000000AA", "0x03000000AA", "0x00200000AA", "0xFFFFFFFFAA"})
    EXPECT_EQ(scan(resources(blob)).code(), "M03") << blob;
  // Text that only looks like one.
  EXPECT_TRUE(scan("#d = dense<\"0x00000000\"> : tensor<1xf32>").ok());
}

TEST(MLIR, ScanTakesAnyBytes) {
  // Every prefix of a text with each kind of token.
  const std::string text =
      "#m = affine_map<(d0)[s0] -> (d0 floordiv 2 + s0)>\n"
      "!t = tensor<4x?xf32>\n"
      "func.func @f.g(%a-1: !t {x.y = \"q\\\"\"}) -> !t { // note\n"
      "^bb0:\n  %0:2 = \"a.b\"(%a-1) <{c = 0x1F}> : (!t) -> (!t, !t)\n}\n"
      "{-# dialect_resources: { b: { r: \"0x04000000\" } } #-}";
  for (size_t size = 0; size <= text.size(); ++size)
    EXPECT_TRUE(scan(text.substr(0, size)).ok()) << size;
}

} // namespace
