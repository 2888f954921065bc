//===- StatusTest.cpp -----------------------------------------------------===//

#include "chorus_rt/Status.h"

#include <gtest/gtest.h>

using namespace chorus::rt;

TEST(Status, LineHasProgramCodePlaceAndMessage) {
  Status status = refused("G16", "m.gguf: tensor_infos[17].dims @0x1a2b",
                          "product exceeds 2^62");
  EXPECT_EQ(status.line("chorus"), "chorus: error G16: m.gguf: tensor_infos[17]"
                                   ".dims @0x1a2b: product exceeds 2^62");
  EXPECT_EQ(static_cast<int>(status.exitCode()), 3);
}

TEST(Status, LineStaysUnderTheLimitAndOnOneLine) {
  Status status =
      refused("G07", "", std::string(300, '\n') + std::string(900, 'x'));
  std::string line = status.line("chorus");
  EXPECT_LE(line.size(), 512u);
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST(Status, EscapesControlBytesAndInvalidUtf8) {
  EXPECT_EQ(escapeForMessage("a\x1b[31m"), "a\\x1b[31m");
  EXPECT_EQ(escapeForMessage("\xc0\xaf"), "\\xc0\\xaf");
  EXPECT_EQ(escapeForMessage("\xc2\x9b"
                             "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(escapeForMessage("é"), "é");
  EXPECT_LE(escapeForMessage(std::string(500, 'x')).size(), 67u);
}

TEST(Status, JsonEscapes) {
  EXPECT_EQ(usageError("say \"x\"").json("chorus-run"),
            "{\"program\":\"chorus-run\",\"severity\":\"error\",\"code\":"
            "\"usage\",\"exit_code\":2,\"place\":\"\",\"message\":\"say "
            "\\\"x\\\"\"}");
}
