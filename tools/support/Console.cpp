//===- Console.cpp - What a tool says beside its results ------------------===//

#include "support/Console.h"

#include <cstdio>
#include <unistd.h>

using namespace chorus::tool;

static void writeLine(const std::string &text) {
  std::fputs((text + "\n").c_str(), stderr);
  std::fflush(stderr);
}

void Console::error(const rt::Status &status) {
  clearProgress();
  writeLine(jsonErrors ? status.json(program) : status.line(program));
}

void Console::warning(std::string_view code, std::string_view message) {
  if (quiet)
    return;
  clearProgress();
  rt::Status status = rt::Status::error(
      rt::ExitCode::Refused, std::string(code), "", std::string(message));
  // The same line and object as an error's, with the other severity.
  std::string text = jsonErrors ? status.json(program) : status.line(program);
  std::string from = jsonErrors ? "\"severity\":\"error\"" : ": error ";
  std::string to = jsonErrors ? "\"severity\":\"warning\"" : ": warning ";
  text.replace(text.find(from, program.size()), from.size(), to);
  if (jsonErrors) {
    std::string exitCode = "\"exit_code\":3,";
    text.erase(text.find(exitCode), exitCode.size());
  }
  writeLine(text);
}

void Console::note(std::string_view text) {
  if (quiet)
    return;
  clearProgress();
  writeLine(std::string(text));
}

void Console::progress(std::string_view text) {
  if (quiet || progressMode == ProgressMode::None)
    return;
  bool onTerminal = isatty(STDERR_FILENO) != 0;
  bool rewrite = progressMode == ProgressMode::Auto;
  if (rewrite && !onTerminal)
    return;
  auto now = std::chrono::steady_clock::now();
  auto interval = std::chrono::milliseconds(rewrite ? 100 : 1000);
  if (lastProgress.time_since_epoch().count() != 0 &&
      now - lastProgress < interval)
    return;
  lastProgress = now;
  if (!rewrite) {
    writeLine(program + ": " + std::string(text));
    return;
  }
  // Return, text, erase to the end of the line.
  std::fputs(("\r" + std::string(text) + "\x1b[K").c_str(), stderr);
  std::fflush(stderr);
  lineShown = true;
}

void Console::clearProgress() {
  if (!lineShown)
    return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  lineShown = false;
}
