//===- FileMapping.h - A file mapped read-only ------------------*- C++ -*-===//
//
// Weights are read through mappings, never copied whole. A mapping can give
// back the memory of pages that have been read, so that a pass over a large
// file keeps a small peak, and can tell whether the file changed meanwhile.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_FILEMAPPING_H
#define CHORUS_RT_FILEMAPPING_H

#include "chorus_rt/Sha256.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>

namespace chorus::rt {

/// A whole regular file, mapped for reading. Movable; the bytes stay at their
/// address. Reading from several threads is fine.
class FileMapping {
public:
  /// Opens `path` without ever blocking. A path that is missing, unreadable or
  /// no regular file (directory, FIFO, socket, device) is a usage error (exit
  /// code 2); with `notRegularCode` what is no regular file is refused with
  /// that code (exit code 3). An empty file maps to no bytes.
  static StatusOr<FileMapping> open(const std::string &path,
                                    const char *notRegularCode = nullptr);

  FileMapping(FileMapping &&other) noexcept;
  FileMapping &operator=(FileMapping &&other) noexcept;
  ~FileMapping();

  const uint8_t *data() const { return bytes; }
  uint64_t size() const { return length; }
  const std::string &path() const { return filePath; }
  /// The descriptor, owned by the mapping.
  int descriptor() const { return fd; }

  /// Gives back the memory of the pages that hold [offset, offset + count);
  /// they are read again from the file if used again. Bytes outside the file
  /// are ignored.
  void release(uint64_t offset, uint64_t count) const;
  /// The same for bytes inside the mapping.
  void release(const void *begin, uint64_t count) const;

  /// Refuses (exit code 3, `code`) if the file's size or modification time
  /// differs from what it was at opening, or if a page could not be read.
  Status checkUnchanged(const char *code) const;

  /// Whether a page could not be read so far (see installFaultHandler). Costs
  /// no system call.
  bool hasLostPages() const;

  /// SHA-256 over the whole file in one pass; pages are given back on the way.
  StatusOr<Sha256Digest> sha256() const;

  /// Installs a handler for SIGBUS for the whole process. Without it, reading a
  /// page that a truncated file no longer has ends the process; with it, the
  /// page reads as zeros and `checkUnchanged` fails from then on. Faults
  /// outside mappings of this class end the process as before. Tools call this
  /// once at their start.
  static void installFaultHandler();

private:
  FileMapping() = default;
  void close();

  std::string filePath;
  int fd = -1;
  const uint8_t *bytes = nullptr;
  uint64_t length = 0;
  int64_t modifiedSeconds = 0, modifiedNanoseconds = 0;
  int faultSlot = -1; // Index in the table of ranges that the handler knows.
};

} // namespace chorus::rt

#endif // CHORUS_RT_FILEMAPPING_H
