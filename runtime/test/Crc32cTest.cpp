//===- Crc32cTest.cpp -----------------------------------------------------===//

#include "chorus_rt/Crc32c.h"

#include <gtest/gtest.h>

#include <string>

using namespace chorus::rt;

namespace {

uint32_t crc(const std::string &bytes) {
  return crc32c(bytes.data(), bytes.size());
}

// The examples of RFC 3720, appendix B.4, as numbers, and the check value that
// catalogues of CRCs give.
TEST(Crc32c, PublishedVectors) {
  EXPECT_EQ(crc(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc(std::string(32, '\xff')), 0x62A8AB43u);
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  EXPECT_EQ(crc(rising), 0x46DD794Eu);
  EXPECT_EQ(crc(falling), 0x113FDB5Cu);
  EXPECT_EQ(crc("123456789"), 0xE3069283u);
  EXPECT_EQ(crc(""), 0u);
}

TEST(Crc32c, PiecesAddUpAtEveryCut) {
  std::string text = "a text of more than eight bytes, cut anywhere";
  for (size_t cut = 0; cut <= text.size(); ++cut)
    EXPECT_EQ(
        crc32c(text.data() + cut, text.size() - cut, crc(text.substr(0, cut))),
        crc(text))
        << cut;
}

} // namespace
