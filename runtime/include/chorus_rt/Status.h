//===- Status.h - Errors that end as one line and an exit code --*- C++ -*-===//
//
// Every failure that a user can cause or meet travels as a Status. Its code is
// the stable name that tests and scripts rely on ("G16", "usage"); its exit
// code is the class of the failure.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_STATUS_H
#define CHORUS_RT_STATUS_H

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace chorus::rt {

/// Exit codes of all Chorus tools.
enum class ExitCode : int {
  Ok = 0,
  SomeRecordsFailed = 1,
  Usage = 2,
  Refused = 3,
  Limit = 4,
  IO = 5,
  Untrusted = 6,
  Internal = 70,
};

/// Success, or an error with a stable code, the place where it was found and a
/// sentence that says what was found and what is needed.
class [[nodiscard]] Status {
public:
  /// Success.
  Status() = default;

  /// `code`: stable short name of the error. `place`: file, field path and
  /// byte offset, joined by ": " or empty. `message`: lower case, no period.
  /// Text of the input must have gone through `escapeForMessage`.
  static Status error(ExitCode exitCode, std::string code, std::string place,
                      std::string message);

  bool ok() const { return exit == ExitCode::Ok; }
  ExitCode exitCode() const { return exit; }
  const std::string &code() const { return errorCode; }
  const std::string &place() const { return errorPlace; }
  const std::string &message() const { return errorMessage; }

  /// The contract line without a newline, at most 512 bytes:
  /// `program: error CODE: PLACE: MESSAGE`.
  std::string line(std::string_view program) const;
  /// The same as one JSON object (`--json-errors`).
  std::string json(std::string_view program) const;

private:
  ExitCode exit = ExitCode::Ok;
  std::string errorCode, errorPlace, errorMessage;
};

/// Shorthands for the classes used most.
Status usageError(std::string message);
Status refused(std::string code, std::string place, std::string message);
Status limitError(std::string code, std::string place, std::string message);
Status ioError(std::string code, std::string place, std::string message);
Status unsupported(std::string place, std::string message);

/// Text taken from an input, safe to print: control bytes, quotes' backslashes
/// and invalid UTF-8 become \xNN, and the result is cut at `maxBytes`.
std::string escapeForMessage(std::string_view text, size_t maxBytes = 64);

/// A value or the Status that says why there is none.
template <typename T> class [[nodiscard]] StatusOr {
public:
  StatusOr(T value) : content(std::move(value)) {}
  StatusOr(Status status) : failure(std::move(status)) {}

  bool ok() const { return content.has_value(); }
  const Status &status() const { return failure; }
  T &operator*() { return *content; } // NOLINT(*optional-access)
  const T &operator*() const { return *content; }
  T *operator->() { return &*content; } // NOLINT(*optional-access)
  const T *operator->() const { return &*content; }

private:
  std::optional<T> content;
  Status failure;
};

} // namespace chorus::rt

/// Returns the Status of `expr` from the enclosing function if it is an error.
#define CHORUS_RETURN_IF_ERROR(expr)                                           \
  do {                                                                         \
    if (::chorus::rt::Status chorusStatus = (expr); !chorusStatus.ok())        \
      return chorusStatus;                                                     \
  } while (false)

#endif // CHORUS_RT_STATUS_H
