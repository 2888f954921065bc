//===- FileAccess.h - System calls on files, seen through -------*- C++ -*-===//

#ifndef CHORUS_RT_FILEACCESS_H
#define CHORUS_RT_FILEACCESS_H

#include "chorus_rt/OutputPlace.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>

namespace chorus::rt {

/// Writes all bytes at `offset`; what comes short or is interrupted goes on
/// where it stopped. False with errno set on failure.
bool writeFully(int fd, const void *data, uint64_t count, uint64_t offset);

/// Reads up to `count` bytes at `offset`, fewer only at the file's end. Returns
/// how many, or -1 with errno set.
int64_t readFully(int fd, void *data, uint64_t count, uint64_t offset);

/// Exit code 5 for what errno says: code W03 where space or a file's size has
/// an end, W04 for a device's error, else `io`. `what`: "write".
Status fileError(std::string place, const std::string &what);

/// A file without a name in the folder of `place`, opened for reading and
/// writing: it is gone with the process, however that ends. Returns its
/// descriptor.
StatusOr<int> createUnnamedFile(const OutputPlace &place);

/// Removes what a process that was killed within createUnnamedFile() left.
void removeUnnamedFile(const OutputPlace &place);

} // namespace chorus::rt

#endif // CHORUS_RT_FILEACCESS_H
