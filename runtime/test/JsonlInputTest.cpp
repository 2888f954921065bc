//===- JsonlInputTest.cpp -------------------------------------------------===//

#include "chorus_rt/JsonlInput.h"

#include "FileFaults.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

class JsonlInputTest : public testing::Test {
protected:
  JsonlInputTest() : place(std::move(*OutputPlace::open(folder.path("out")))) {}

  std::string write(const std::string &bytes) {
    writeFile(folder.path("in"), bytes);
    return folder.path("in");
  }

  /// "NUMBER:TEXT" of each line, "NUMBER!" of one that is too long; an error's
  /// code at the end.
  static std::vector<std::string> linesOf(JsonlInput &input) {
    std::vector<std::string> found;
    JsonlLine line;
    for (;;) {
      StatusOr<bool> more = input.next(line);
      if (!more.ok())
        found.push_back(more.status().code());
      if (!more.ok() || !*more)
        return found;
      found.push_back(std::to_string(line.number) +
                      (line.tooLong ? "!" : ":" + line.text));
    }
  }
  std::vector<std::string> linesOf(const std::string &path) {
    StatusOr<JsonlInput> input = JsonlInput::open(path, place);
    return input.ok() ? linesOf(*input)
                      : std::vector<std::string>{input.status().code()};
  }

  TemporaryFolder folder;
  OutputPlace place;
};

using Lines = std::vector<std::string>;

TEST_F(JsonlInputTest, J02_LineEndsAndBlankLines) {
  EXPECT_EQ(linesOf(write("a\nb\n")), (Lines{"1:a", "2:b"}));
  EXPECT_EQ(linesOf(write("a\nb")), (Lines{"1:a", "2:b"}));
  EXPECT_EQ(linesOf(write("a\r\nb\r\n")), (Lines{"1:a", "2:b"}));
  EXPECT_EQ(linesOf(write("\n\na\n \t\n\r\nb\n\n")), (Lines{"3:a", "6:b"}));
  EXPECT_EQ(linesOf(write("a\rb\n")), (Lines{"1:a\rb"}));
  EXPECT_EQ(linesOf(write("")), Lines());
  EXPECT_EQ(linesOf(write("\n")), Lines());
  EXPECT_EQ(linesOf(write(std::string("a\0b\n", 4))),
            (Lines{std::string("1:a\0b", 5)}));
}

TEST_F(JsonlInputTest, J02_ByteOrderMark) {
  EXPECT_EQ(linesOf(write("\xEF\xBB\xBF{}\n")), (Lines{"J02"}));
  EXPECT_EQ(linesOf(write("{}\n\xEF\xBB\xBF\n")),
            (Lines{"1:{}", "2:\xEF\xBB\xBF"}));
}

TEST_F(JsonlInputTest, J02_LongestLine) {
  std::string longest(JsonlInput::maxLineBytes, 'x');
  EXPECT_EQ(linesOf(write("a\n" + longest + "\r\nb\n")),
            (Lines{"1:a", "2:" + longest, "3:b"}));
  EXPECT_EQ(linesOf(write("a\n" + longest + "x\nb\n")),
            (Lines{"1:a", "2!", "3:b"}));
  EXPECT_EQ(linesOf(write("a\n" + longest + longest)), (Lines{"1:a", "2!"}));
}

TEST_F(JsonlInputTest, ReadsAgainAndAnywhere) {
  std::string bytes;
  for (int i = 0; i < 60000; ++i)
    bytes += "line " + std::to_string(i) + (i % 7 ? "\n" : "\r\n\n");
  StatusOr<JsonlInput> input = JsonlInput::open(write(bytes), place);
  ASSERT_TRUE(input.ok());
  std::vector<uint64_t> offsets;
  JsonlLine line;
  while (*input->next(line))
    offsets.push_back(line.offset);
  EXPECT_EQ(offsets.size(), 60000u);
  StatusOr<Sha256Digest> digest = input->digest();
  EXPECT_EQ(toHex(*digest), toHex(*sha256(bytes.data(), bytes.size())));
  for (size_t i : {size_t(59999), size_t(0), size_t(31234)}) {
    ASSERT_TRUE(input->readAt(offsets[i], line).ok());
    EXPECT_EQ(line.text, "line " + std::to_string(i));
  }
  input->rewind();
  ASSERT_TRUE(*input->next(line));
  EXPECT_EQ(line.text, "line 0");
  EXPECT_EQ(line.number, 1);
}

TEST_F(JsonlInputTest, J08_PathsThatAreNoFiles) {
  ASSERT_EQ(mkfifo(folder.path("fifo").c_str(), 0600), 0);
  ASSERT_EQ(mkdir(folder.path("dir").c_str(), 0700), 0);
  EXPECT_EQ(linesOf(folder.path("fifo")), (Lines{"J08"}));
  EXPECT_EQ(linesOf(folder.path("dir")), (Lines{"J08"}));
  EXPECT_EQ(linesOf("/dev/null"), (Lines{"J08"}));
  EXPECT_EQ(linesOf(folder.path("missing")), (Lines{"usage"}));
  std::string file = write("a\n");
  ASSERT_EQ(symlink(file.c_str(), folder.path("link").c_str()), 0);
  EXPECT_EQ(linesOf(folder.path("link")), (Lines{"1:a"}));
}

TEST_F(JsonlInputTest, J08_FileThatChangesWhileItIsRead) {
  std::string bytes;
  while (bytes.size() < 1000000)
    bytes += "a line of some length\n";
  for (const char *how : {"cut", "grown", "overwritten"}) {
    std::string path = write(bytes);
    StatusOr<JsonlInput> input = JsonlInput::open(path, place);
    JsonlLine line;
    ASSERT_TRUE(*input->next(line));
    if (how == std::string("cut"))
      ASSERT_EQ(truncate(path.c_str(), 500000), 0);
    else if (how == std::string("grown"))
      std::ofstream(path, std::ios::app) << "one more\n";
    else
      write(std::string(bytes.size(), 'z'));
    EXPECT_EQ(linesOf(*input).back(), "J08") << how;
  }
  // One that takes the name's place is another file.
  std::string path = write(bytes);
  StatusOr<JsonlInput> input = JsonlInput::open(path, place);
  writeFile(folder.path("new"), "other\n");
  std::filesystem::rename(folder.path("new"), path);
  EXPECT_EQ(linesOf(*input).size(), (bytes.size() + 21) / 22);
}

TEST_F(JsonlInputTest, StandardInputIsCopiedFirst) {
  int before = dup(STDIN_FILENO);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
  std::string bytes = "a\nb\n";
  ASSERT_EQ(write(bytes).empty(), false);
  ASSERT_EQ(::write(ends[1], bytes.data(), bytes.size()), 4);
  close(ends[1]);
  writeFile(folder.path(".out.scratch"), "of a killed process");
  StatusOr<JsonlInput> input = JsonlInput::open("-", place);
  ASSERT_TRUE(input.ok()) << input.status().line("test");
  EXPECT_EQ(linesOf(*input), (Lines{"1:a", "2:b"}));
  input->rewind();
  EXPECT_EQ(linesOf(*input), (Lines{"1:a", "2:b"}));
  // W14: nothing is left.
  EXPECT_EQ(folder.names(), std::set<std::string>{"in"});
  // Nothing on stdin is an input without lines.
  EXPECT_EQ(linesOf("-"), Lines());
  dup2(before, STDIN_FILENO);
  close(before);
  close(ends[0]);
}

TEST_F(JsonlInputTest, W03_NoSpaceForTheCopyOfStandardInput) {
  int before = dup(STDIN_FILENO);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
  ASSERT_EQ(::write(ends[1], "a\n", 2), 2);
  close(ends[1]);
  setFileFault("pwrite:ENOSPC@0");
  Status status = JsonlInput::open("-", place).status();
  setFileFault("");
  EXPECT_EQ(status.code(), "W03");
  EXPECT_EQ(folder.names(), std::set<std::string>());
  dup2(before, STDIN_FILENO);
  close(before);
  close(ends[0]);
}

} // namespace
