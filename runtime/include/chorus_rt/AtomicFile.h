//===- AtomicFile.h - Files that appear whole or not at all -----*- C++ -*-===//

#ifndef CHORUS_RT_ATOMICFILE_H
#define CHORUS_RT_ATOMICFILE_H

#include "chorus_rt/OutputPlace.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace chorus::rt {

/// Writes a file beside its target and renames it into place once it is
/// complete and on disk, so that the target is either as it was or whole.
///
/// The temporary file is `.NAME.partial` in the target's folder (a hash takes
/// the place of NAME where that would be too long). It is locked while it is
/// written: a second writer of the same target gets a usage error, and what a
/// killed writer left behind is taken over.
///
/// A process that forks may write in the child and commit in the parent: the
/// child must `flush()`; only the process that created the object removes or
/// renames the file.
class AtomicFile {
public:
  /// Usage error (exit code 2) if `target` is a directory, symbolic link,
  /// device or other non-file, if its folder does not exist, or if another
  /// process writes it now; exit code 5 if the folder cannot be written to.
  static StatusOr<AtomicFile> create(const std::string &target);

  AtomicFile(AtomicFile &&other) noexcept;
  AtomicFile &operator=(AtomicFile &&other) noexcept;
  /// Removes the temporary file unless committed.
  ~AtomicFile();

  /// Adds bytes at the end. After an error (exit code 5) nothing can be
  /// committed any more.
  Status append(const void *data, uint64_t sizeBytes);
  /// Adds zeros up to the next multiple of `alignment`.
  Status alignTo(uint64_t alignment);
  /// Overwrites bytes that were appended before.
  Status writeAt(uint64_t offset, const void *data, uint64_t sizeBytes);
  /// Hands buffered bytes to the operating system.
  Status flush();
  /// Bytes appended so far.
  uint64_t size() const { return writtenBytes + buffer.size(); }

  /// Syncs the file, renames it to the target and syncs the folder. On error
  /// the target is as it was, save where only the folder's sync failed.
  Status commit();

  /// Name of the temporary file inside the target's folder.
  const std::string &temporaryName() const { return temporary; }

private:
  explicit AtomicFile(OutputPlace place) : place(std::move(place)) {}
  Status failure(const char *what);
  Status writeOut(const uint8_t *bytes, uint64_t count);
  void discard();

  OutputPlace place;
  std::string temporary;
  int fd = -1;
  pid_t creator = 0;
  uint64_t writtenBytes = 0;
  uint64_t settledBytes = 0; ///< Of those, surely on the disk.
  std::vector<uint8_t> buffer;
  bool failed = false;
};

} // namespace chorus::rt

#endif // CHORUS_RT_ATOMICFILE_H
