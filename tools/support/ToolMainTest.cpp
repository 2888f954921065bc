//===- ToolMainTest.cpp - What all command lines have in common -----------===//

#include "support/ToolMain.h"

#include <gtest/gtest.h>

using namespace chorus;
using namespace chorus::tool;

namespace {

/// What a run of the tool "chorus-example" printed and returned.
struct Outcome {
  int exitCode;
  std::string out, err;
};

/// Options: FILE (needed), --temperature in [0, 2], --top-p.
Outcome runExample(
    std::vector<std::string> arguments,
    const std::function<rt::Status(Console &)> &run = [](Console &) {
      return rt::Status();
    }) {
  arguments.insert(arguments.begin(), "chorus-example");
  std::vector<char *> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string &argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::string file;
  double temperature = 1, topP = 1;
  ToolDescription description{"chorus-example", "Does nothing",
                              "  chorus-example a.chorus", "22.1.8"};
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  int exitCode = runTool(
      static_cast<int>(arguments.size()), argv.data(), description,
      [&](CLI::App &app) {
        app.add_option("FILE", file, "Input")
            ->required()
            ->check(readablePath(true));
        app.add_option("--temperature", temperature, "Temperature")
            ->check(CLI::Range(0.0, 2.0))
            ->group("Sampling");
        app.add_option("--top-p", topP, "Nucleus")->group("Sampling");
      },
      run);
  return {exitCode, testing::internal::GetCapturedStdout(),
          testing::internal::GetCapturedStderr()};
}

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(ToolMain, NoArgumentPrintsShortUsage) {
  Outcome outcome = runExample({});
  EXPECT_EQ(outcome.exitCode, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(contains(outcome.err, "usage: chorus-example [OPTIONS] FILE"))
      << outcome.err;
}

TEST(ToolMain, HelpShowsGroupsDefaultsExamplesExitCodes) {
  Outcome outcome = runExample({"--help"});
  EXPECT_EQ(outcome.exitCode, 0);
  for (const char *part :
       {"Sampling:", "All tools:", "--temperature", "[0 - 2]", "=1",
        "chorus-example a.chorus", "3 input refused", "--json-errors"})
    EXPECT_TRUE(contains(outcome.out, part)) << part << "\n" << outcome.out;
  EXPECT_EQ(outcome.err, "");
}

TEST(ToolMain, VersionNamesEverything) {
  Outcome outcome = runExample({"--version"});
  EXPECT_EQ(outcome.exitCode, 0);
  for (const char *part :
       {"chorus-example ", "(commit ", "artifact format 1.", "LLVM 22.1.8"})
    EXPECT_TRUE(contains(outcome.out, part)) << outcome.out;
}

TEST(ToolMain, UnknownOptionNamesTheNearest) {
  for (const char *flag : {"--temprature", "--temperatrue=1", "--temp"}) {
    Outcome outcome = runExample({"-", flag});
    EXPECT_EQ(outcome.exitCode, 2);
    EXPECT_TRUE(contains(outcome.err, "did you mean --temperature?"))
        << outcome.err;
  }
  // Also when a needed argument is absent.
  EXPECT_TRUE(contains(runExample({"--tpo-p"}).err, "did you mean --top-p?"));
  Outcome far = runExample({"-", "--xyzzy"});
  EXPECT_EQ(far.err, "chorus-example: error usage: unknown option --xyzzy; "
                     "--help lists the options\n");
}

TEST(ToolMain, WrongValueSaysWhatIsAllowed) {
  Outcome outcome = runExample({"-", "--temperature", "3"});
  EXPECT_EQ(outcome.exitCode, 2);
  EXPECT_TRUE(contains(outcome.err, "--temperature")) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "not in range 0")) << outcome.err;
}

TEST(ToolMain, MissingFileIsUsage) {
  Outcome outcome = runExample({"/nonexistent/a.chorus"});
  EXPECT_EQ(outcome.exitCode, 2);
  EXPECT_TRUE(contains(outcome.err, "No such file or directory"))
      << outcome.err;
}

TEST(ToolMain, MarkEndsOptions) {
  // C07: a name with a leading dash stands after the mark.
  EXPECT_EQ(runExample({"--top-p", "0.5", "--", "-"}).exitCode, 0);
  Outcome outcome = runExample({"--", "-no-such-file"});
  EXPECT_EQ(outcome.exitCode, 2);
  EXPECT_TRUE(contains(outcome.err, "cannot read '-no-such-file'"))
      << outcome.err;
}

TEST(ToolMain, NameWithControlBytesIsEscaped) {
  Outcome outcome = runExample({"-", "--a\x1b[2J\n"});
  EXPECT_EQ(outcome.exitCode, 2);
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1);
  EXPECT_FALSE(contains(outcome.err, "\x1b")) << outcome.err;
}

TEST(ToolMain, ErrorsAsJson) {
  Outcome outcome = runExample({"-", "--xyzzy", "--json-errors"});
  EXPECT_EQ(outcome.exitCode, 2);
  EXPECT_EQ(outcome.err.front(), '{');
  EXPECT_TRUE(contains(outcome.err, "\"code\":\"usage\"")) << outcome.err;
}

TEST(ToolMain, StatusBecomesLineAndExitCode) {
  auto fail = [](Console &) {
    return rt::refused("A02", "m.chorus: segments[1]", "hash differs");
  };
  Outcome outcome = runExample({"-"}, fail);
  EXPECT_EQ(outcome.exitCode, 3);
  EXPECT_EQ(outcome.err, "chorus-example: error A02: m.chorus: segments[1]: "
                         "hash differs\n");
}

TEST(ToolMain, ExceptionsStayInside) {
  Outcome memory = runExample(
      {"-"}, [](Console &) -> rt::Status { throw std::bad_alloc(); });
  EXPECT_EQ(memory.exitCode, 4);
  Outcome other = runExample({"-"}, [](Console &) -> rt::Status {
    throw std::runtime_error("unexpected\nthing");
  });
  EXPECT_EQ(other.exitCode, 70);
}

TEST(ToolMain, QuietSilencesWarningsNotErrors) {
  auto warn = [](Console &console) {
    console.warning("T13", "no tokenizer");
    console.note("a note");
    console.progress("working");
    return rt::refused("A01", "", "cut");
  };
  EXPECT_EQ(runExample({"-", "--quiet"}, warn).err,
            "chorus-example: error A01: cut\n");
  EXPECT_EQ(runExample({"-", "--progress", "plain"}, warn).err,
            "chorus-example: warning T13: no tokenizer\na note\n"
            "chorus-example: working\nchorus-example: error A01: cut\n");
  EXPECT_TRUE(contains(runExample({"-", "--json-errors"}, warn).err,
                       "\"severity\":\"warning\""));
}

} // namespace
