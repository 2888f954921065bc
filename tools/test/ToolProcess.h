//===- ToolProcess.h - Runs a tool and keeps what it says -------*- C++ -*-===//

#ifndef CHORUS_TOOLS_TEST_TOOLPROCESS_H
#define CHORUS_TOOLS_TEST_TOOLPROCESS_H

#include <string>
#include <vector>

namespace chorus::test {

struct ToolResult {
  int exitCode = -1; ///< 256 + signal where a signal ended it.
  std::string out, err;

  std::vector<std::string> lines() const; ///< Of `out`.
};

struct ToolInput {
  std::string standardInput;
  /// Standard output goes to this file instead of `out`.
  std::string outputPath;
  /// Sent `signalAfterMs` milliseconds after the start, if not 0.
  int signal = 0;
  int signalAfterMs = 0;
};

/// Runs `program` and waits for it.
ToolResult runTool(const std::string &program,
                   std::vector<std::string> arguments,
                   const ToolInput &input = {});

/// Runs it on a terminal of its own, types `typed` and then Ctrl-D. `out` has
/// all that the terminal showed.
ToolResult runOnTerminal(const std::string &program,
                         std::vector<std::string> arguments,
                         const std::string &typed);

/// A folder that is removed when the test program ends.
std::string temporaryFolder();

/// Writes a file there and returns its path.
std::string writeTemporary(const std::string &name, const std::string &bytes);

} // namespace chorus::test

#endif // CHORUS_TOOLS_TEST_TOOLPROCESS_H
