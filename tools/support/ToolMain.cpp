//===- ToolMain.cpp - The main function that all tools share --------------===//

#include "support/ToolMain.h"

#include "ChorusCommit.inc"
#include "chorus_rt/ArtifactFormat.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <new>
#include <unistd.h>

using namespace chorus;
using namespace chorus::tool;

static constexpr const char *exitCodeText =
    "Exit codes:\n"
    "  0 all done                      5 file system or device failed\n"
    "  1 finished, some records failed 6 artifact not trusted\n"
    "  2 usage                         70 internal fault\n"
    "  3 input refused                 129, 130, 143 stopped by a signal\n"
    "  4 limit or memory\n";

std::string tool::versionText(const ToolDescription &description) {
  std::string text =
      description.name + " " CHORUS_VERSION " (commit " CHORUS_COMMIT ")\n";
  text += "artifact format " + std::to_string(rt::artifactMajorVersion) + "." +
          std::to_string(rt::artifactMinorVersion) + "\n";
  if (!description.llvmVersion.empty())
    text += "LLVM " + description.llvmVersion + "\n";
  return text;
}

/// Least number of inserted, deleted, replaced or swapped neighbouring bytes.
static size_t editDistance(const std::string &a, const std::string &b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1,
                                        std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      size_t best = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                              cost[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        best = std::min(best, cost[i - 2][j - 2] + 1);
      cost[i][j] = best;
    }
  return cost[a.size()][b.size()];
}

std::string tool::nearestName(const std::string &unknown,
                              const std::vector<std::string> &known) {
  std::string nearest;
  // No name is this long; the bound keeps the table small.
  if (unknown.size() > 64)
    return nearest;
  size_t least = std::max<size_t>(2, unknown.size() / 3) + 1;
  for (const std::string &name : known) {
    size_t distance = editDistance(unknown, name);
    // What was typed may be the beginning of a name.
    if (unknown.size() >= 3 && name.compare(0, unknown.size(), unknown) == 0)
      distance = 1;
    if (distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

CLI::Validator tool::readablePath(bool standardInput) {
  return CLI::Validator(
      [standardInput](std::string &path) -> std::string {
        if ((standardInput && path == "-") || access(path.c_str(), R_OK) == 0)
          return "";
        return "cannot read '" + path + "': " + std::strerror(errno);
      },
      "FILE", "readable path");
}

CLI::Option *tool::addModelArguments(CLI::App &app, ModelArguments &arguments,
                                     const std::string &outputDefault) {
  CLI::Option *input =
      app.add_option("IN", arguments.input, "The model: .gguf or .mlir")
          ->check(readablePath());
  app.add_option("-o,--output", arguments.output,
                 "File to write (default: " + outputDefault + ")")
      ->type_name("FILE");
  app.add_flag("--allow-nonfinite", arguments.allowNonfinite,
               "Accept NaN and infinities among the weights");
  return input;
}

/// The first argument that no option took, as a usage error.
static rt::Status unexpectedArgument(const CLI::App &app,
                                     const std::string &argument) {
  if (argument.size() < 2 || argument[0] != '-')
    return rt::usageError("unexpected argument '" +
                          rt::escapeForMessage(argument) + "'");
  std::string flag = argument.substr(0, argument.find('='));
  std::vector<std::string> known;
  for (const CLI::Option *option : app.get_options()) {
    for (const std::string &name : option->get_lnames())
      known.push_back("--" + name);
    for (const std::string &name : option->get_snames())
      known.push_back("-" + name);
  }
  std::string message = "unknown option " + rt::escapeForMessage(flag);
  std::string nearest = nearestName(flag, known);
  if (!nearest.empty())
    message += "; did you mean " + nearest + "?";
  else
    message += "; --help lists the options";
  return rt::usageError(message);
}

/// Arguments that no option took. The parser leaves the mark "--" among them.
static std::vector<std::string> unexpectedArguments(const CLI::App &app) {
  std::vector<std::string> rest = app.remaining();
  rest.erase(std::remove(rest.begin(), rest.end(), "--"), rest.end());
  return rest;
}

static rt::Status parseError(const CLI::App &app, const CLI::Error &error) {
  for (const std::string &argument : unexpectedArguments(app))
    if (argument.size() > 1 && argument[0] == '-')
      return unexpectedArgument(app, argument);
  std::string message = rt::escapeForMessage(error.what(), 400);
  // "A.chorus is required" stays; "Value 2 not in range" becomes lower case.
  if (message.size() > 1 &&
      std::isupper(static_cast<unsigned char>(message[0])) &&
      std::islower(static_cast<unsigned char>(message[1])))
    message[0] =
        static_cast<char>(std::tolower(static_cast<unsigned char>(message[0])));
  while (!message.empty() && (message.back() == '.' || message.back() == ' '))
    message.pop_back();
  return rt::usageError(message);
}

static std::string shortUsage(const CLI::App &app,
                              const ToolDescription &description) {
  std::string text = description.name + ": " + description.summary + "\n";
  text += "usage: " + description.name + " [OPTIONS]";
  for (const CLI::Option *option : app.get_options())
    if (option->get_positional())
      text += option->get_required() ? " " + option->get_name()
                                     : " [" + option->get_name() + "]";
  return text + "\n" + description.name + " --help lists the options\n";
}

static int finish(Console &console, rt::Status status) {
  // Results that did not reach their reader are not done.
  if (std::fflush(stdout) != 0 && status.ok())
    status = rt::ioError("W12", "stdout",
                         std::string("cannot write: ") + std::strerror(errno));
  if (!status.ok())
    console.error(status);
  return static_cast<int>(status.exitCode());
}

/// Parses and runs; exceptions of CLI11 that report a wrong command line are
/// caught here, others by the caller.
static int parseAndRun(int argc, char **argv,
                       const ToolDescription &description, Console &console,
                       const std::function<void(CLI::App &)> &configure,
                       const std::function<rt::Status(Console &)> &run) {
  CLI::App app(description.summary, description.name);
  app.option_defaults()->always_capture_default();
  app.get_formatter()->column_width(34);
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.set_version_flag("--version", versionText(description));
  // Arguments left over are ours to report, with the nearest name.
  app.allow_extras();
  configure(app);

  bool quiet = false, jsonErrors = false;
  ProgressMode progress = ProgressMode::Auto;
  app.add_flag("--quiet", quiet, "No warnings and no progress");
  app.add_flag("--json-errors", jsonErrors,
               "Errors and warnings as one JSON object a line");
  const std::map<std::string, ProgressMode> progressNames = {
      {"auto", ProgressMode::Auto},
      {"plain", ProgressMode::Plain},
      {"none", ProgressMode::None}};
  std::string progressName = "auto";
  app.add_option("--progress", progressName,
                 "Progress on stderr; auto: on a terminal only")
      ->check(CLI::IsMember(progressNames));
  std::string footer = exitCodeText;
  if (!description.examples.empty())
    footer = "Examples:\n" + description.examples + "\n\n" + footer;
  app.footer(footer);
  for (const char *name :
       {"--help", "--version", "--quiet", "--progress", "--json-errors"})
    app.get_option(name)->group("All tools");

  if (argc < 2) {
    std::fputs(shortUsage(app, description).c_str(), stderr);
    return static_cast<int>(rt::ExitCode::Usage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    std::fputs(app.help().c_str(), stdout);
    return finish(console, rt::Status());
  } catch (const CLI::CallForVersion &) {
    std::fputs(versionText(description).c_str(), stdout);
    return finish(console, rt::Status());
  } catch (const CLI::ParseError &error) {
    return finish(console, parseError(app, error));
  }
  if (std::vector<std::string> rest = unexpectedArguments(app); !rest.empty())
    return finish(console, unexpectedArgument(app, rest.front()));

  progress = progressNames.at(progressName);
  console.setQuiet(quiet);
  console.setJsonErrors(jsonErrors);
  console.setProgress(progress);
  return finish(console, run(console));
}

int tool::runTool(int argc, char **argv, const ToolDescription &description,
                  const std::function<void(CLI::App &)> &configure,
                  const std::function<rt::Status(Console &)> &run) {
  // A reader that went away is an error of the write, not a signal.
  std::signal(SIGPIPE, SIG_IGN);
  // So is a file that may not grow.
  std::signal(SIGXFSZ, SIG_IGN);
  Console console(description.name);
  // Also errors of the command line itself are JSON where JSON was asked for.
  for (int i = 1; i < argc; ++i)
    if (std::strcmp(argv[i], "--json-errors") == 0)
      console.setJsonErrors(true);
  try {
    return parseAndRun(argc, argv, description, console, configure, run);
  } catch (const std::bad_alloc &) {
    console.error(rt::limitError("N10", "", "out of memory"));
    return static_cast<int>(rt::ExitCode::Limit);
  } catch (const std::exception &error) {
    console.error(rt::Status::error(rt::ExitCode::Internal, "internal", "",
                                    rt::escapeForMessage(error.what(), 300)));
    return static_cast<int>(rt::ExitCode::Internal);
  }
}
