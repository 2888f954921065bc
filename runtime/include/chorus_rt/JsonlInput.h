//===- JsonlInput.h - Lines of a file, as they come -------------*- C++ -*-===//

#ifndef CHORUS_RT_JSONLINPUT_H
#define CHORUS_RT_JSONLINPUT_H

#include "chorus_rt/OutputPlace.h"
#include "chorus_rt/Sha256.h"
#include "chorus_rt/SpillSorter.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace chorus::rt {

/// One line that is not blank.
struct JsonlLine {
  int64_t number = 0;  ///< From 1; blank lines count.
  uint64_t offset = 0; ///< Of its first byte.
  std::string text;    ///< Without LF or CRLF; empty if too long.
  bool tooLong = false;
};

/// The lines of one file. It is read through one descriptor, as long as it was
/// when it was opened, any number of times, in memory that only the longest
/// line counts in.
class JsonlInput {
public:
  static constexpr size_t maxLineBytes = size_t(16) << 20;

  /// "-" is stdin, which is copied to a file without a name beside `output`
  /// first, unless `shouldCancel` says true. `output` outlives the input.
  /// Errors: usage (exit 2) for what is missing or unreadable, J08 (exit 3) for
  /// a directory, FIFO or device; W03, W04, io (exit 5).
  static StatusOr<JsonlInput>
  open(const std::string &path, const OutputPlace &output,
       const std::function<bool()> &shouldCancel = nullptr);

  JsonlInput(JsonlInput &&other) noexcept;
  JsonlInput &operator=(JsonlInput &&) = delete;
  ~JsonlInput();

  /// Gives the next line; false at the end. Errors: J02 (exit 3) for a byte
  /// order mark, J08 (exit 3) if the file has changed.
  StatusOr<bool> next(JsonlLine &line);
  /// Goes back to the first line.
  void rewind();
  /// The line that begins at `offset`, where one began before.
  Status readAt(uint64_t offset, JsonlLine &line);

  /// SHA-256 of all bytes. The end has been reached once, and the call comes
  /// once.
  StatusOr<Sha256Digest> digest() { return hash.finish(); }

  /// The path for messages.
  const std::string &shown() const { return name; }
  /// Owned by this.
  int descriptor() const { return fd; }

private:
  explicit JsonlInput(const OutputPlace &output) : spool(output) {}
  Status copyStandardInput(const std::function<bool()> &shouldCancel);
  Status noteVersion();
  StatusOr<bool> fill();
  void seek(uint64_t offset, int64_t line);

  std::string name;
  SpillFile spool;
  int fd = -1;
  uint64_t size = 0;
  int64_t modifiedSeconds = 0, modifiedNanoseconds = 0;

  std::string buffer; ///< Bytes from `position` on, less those taken.
  size_t taken = 0;
  uint64_t position = 0; ///< In the file, behind the buffer.
  int64_t lines = 0;     ///< That were read before.
  Sha256 hash;
  uint64_t hashed = 0; ///< Bytes.
};

} // namespace chorus::rt

#endif // CHORUS_RT_JSONLINPUT_H
