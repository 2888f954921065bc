//===- Console.h - What a tool says beside its results ----------*- C++ -*-===//
//
// Results go to stdout; errors, warnings and progress go to stderr through a
// Console, which knows --quiet, --progress and --json-errors.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TOOLS_SUPPORT_CONSOLE_H
#define CHORUS_TOOLS_SUPPORT_CONSOLE_H

#include "chorus_rt/Status.h"

#include <chrono>
#include <string>
#include <string_view>

namespace chorus::tool {

enum class ProgressMode {
  /// One line that is rewritten on a terminal, nothing elsewhere.
  Auto,
  /// A line of text now and then.
  Plain,
  None,
};

/// Writes to stderr. Not thread safe. The destructor clears a progress line.
class Console {
public:
  explicit Console(std::string program) : program(std::move(program)) {}
  Console(const Console &) = delete;
  Console &operator=(const Console &) = delete;
  ~Console() { clearProgress(); }

  void setQuiet(bool on) { quiet = on; }
  void setJsonErrors(bool on) { jsonErrors = on; }
  void setProgress(ProgressMode mode) { progressMode = mode; }

  /// One line, also under --quiet. `status` is an error.
  void error(const rt::Status &status);

  /// `program: warning CODE: MESSAGE`, not under --quiet.
  void warning(std::string_view code, std::string_view message);

  /// A line for people, not under --quiet.
  void note(std::string_view text);

  /// Says what the tool is doing, for instance "packing weights: 42 %". Cheap
  /// to call often: shown at most ten times a second on a terminal, once a
  /// second otherwise.
  void progress(std::string_view text);

  /// Removes what progress() left on the terminal's line.
  void clearProgress();

private:
  std::string program;
  bool quiet = false;
  bool jsonErrors = false;
  bool lineShown = false;
  ProgressMode progressMode = ProgressMode::Auto;
  std::chrono::steady_clock::time_point lastProgress{};
};

} // namespace chorus::tool

#endif // CHORUS_TOOLS_SUPPORT_CONSOLE_H
