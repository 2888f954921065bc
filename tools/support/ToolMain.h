//===- ToolMain.h - The main function that all tools share ------*- C++ -*-===//
//
// Every tool except chorus-opt: --help by groups with examples and exit codes,
// --version, --quiet, --progress, --json-errors; unknown flags name the
// nearest known one; no argument prints a short usage and exits with 2.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TOOLS_SUPPORT_TOOLMAIN_H
#define CHORUS_TOOLS_SUPPORT_TOOLMAIN_H

#include "support/Console.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

namespace chorus::tool {

struct ToolDescription {
  /// "chorus-run".
  std::string name;
  /// One sentence, shown on top of --help.
  std::string summary;
  /// Command lines shown by --help, one a line.
  std::string examples;
  /// Version of LLVM where the tool links it ("22.1.8"), else empty.
  std::string llvmVersion;
};

/// Runs a tool: `configure` adds its options (bound to variables that outlive
/// the call), the command line is parsed, `run` does the work. Returns the exit
/// code; an error Status was printed on stderr. Memory that ran out is exit 4,
/// a stdout that cannot be written is exit 5, another exception exit 70.
///
/// Options belong to groups (`->group("Sampling")`), which order --help.
/// Defaults are shown for options bound to variables that hold them.
int runTool(int argc, char **argv, const ToolDescription &description,
            const std::function<void(CLI::App &)> &configure,
            const std::function<rt::Status(Console &)> &run);

/// Check of an option that names a file to read: what is missing or unreadable
/// is a usage error. "-" passes if `standardInput`. What kind of file it is, is
/// left to the reader, which knows the right error.
CLI::Validator readablePath(bool standardInput = false);

/// What tools that read a model have in common.
struct ModelArguments {
  std::string input, output;
  bool allowNonfinite = false;
};

/// Adds them to the command line; `outputDefault` is what the help says where
/// no output is named. Returns the option of the input.
CLI::Option *addModelArguments(CLI::App &app, ModelArguments &arguments,
                               const std::string &outputDefault);

/// The name in `known` that differs least from `unknown`, empty if none is
/// near.
std::string nearestName(const std::string &unknown,
                        const std::vector<std::string> &known);

/// What --version prints: version, commit, artifact format, LLVM where linked.
std::string versionText(const ToolDescription &description);

} // namespace chorus::tool

#endif // CHORUS_TOOLS_SUPPORT_TOOLMAIN_H
