//===- RequestLine.h - A request as a line of JSON --------------*- C++ -*-===//

#ifndef CHORUS_RT_REQUESTLINE_H
#define CHORUS_RT_REQUESTLINE_H

#include "chorus_rt/Generation.h"
#include "chorus_rt/JsonlInput.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace chorus::rt {

/// What one line asks for.
struct RequestLine {
  int64_t number = 0; ///< Of the line, from 1.
  /// Whether `request.id` was given; else it is the line's number.
  bool hasId = false;

  // Just one of these is there.
  std::optional<std::string> prompt;
  std::optional<std::string> messages; ///< JSON text of an array.
  std::optional<std::vector<int32_t>> promptIds;

  /// The reference answer.
  std::optional<std::string> answer;
  /// The line's fields over the defaults. The prompt's tokens are the caller's
  /// to set.
  Request request;
};

/// Largest id, in bytes.
inline constexpr size_t maxRequestIdBytes = 1024;

/// Reads a line. Whatever is wrong with it, `parsed.request.id` is its id if
/// that could be read. `place`: the file, for messages; the line and column are
/// added. `vocabSize` bounds token ids.
///
/// Errors, each of one record only (exit code 1): J01 (no JSON, nested too
/// deeply), J02 (too long), J03 (an id that is empty or too long), J04 (keys
/// twice, unknown fields, wrong types, not just one prompt), J05 (out of
/// range), J07 (stop strings, token ids), T09 (no UTF-8, a lone surrogate).
Status parseRequestLine(const JsonlLine &line, const std::string &place,
                        const Request &defaults, int64_t vocabSize,
                        RequestLine &parsed);

/// Reads all lines of `input` from its beginning to its end, and calls `onLine`
/// with each line and what its parsing gave. Errors: J03 (exit 3) if two lines
/// have the same id, names both; those of `input` and of `onLine`. Ids are
/// sorted in files beside `output`: memory does not grow with the lines.
Status scanRequestLines(
    JsonlInput &input, const OutputPlace &output, const Request &defaults,
    int64_t vocabSize,
    const std::function<Status(RequestLine &, const Status &)> &onLine);

} // namespace chorus::rt

#endif // CHORUS_RT_REQUESTLINE_H
