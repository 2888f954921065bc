//===- SpillSorter.cpp - Sorts more than memory holds ---------------------===//

#include "chorus_rt/SpillSorter.h"

#include "FileAccess.h"

#include <unistd.h>

namespace chorus::rt {

SpillFile::~SpillFile() {
  if (fd >= 0)
    ::close(fd);
}

Status SpillFile::append(const void *data, uint64_t count) {
  if (fd < 0) {
    StatusOr<int> created = createUnnamedFile(*place);
    CHORUS_RETURN_IF_ERROR(created.status());
    fd = *created;
  }
  if (!writeFully(fd, data, count, sizeBytes))
    return fileError(place->shown(), "write a temporary file beside it");
  sizeBytes += count;
  return Status();
}

Status SpillFile::read(void *data, uint64_t count, uint64_t offset) const {
  int64_t got = readFully(fd, data, count, offset);
  if (got == static_cast<int64_t>(count))
    return Status();
  if (got >= 0)
    return ioError("io", place->shown(),
                   "a temporary file beside it has lost bytes");
  return fileError(place->shown(), "read a temporary file beside it");
}

} // namespace chorus::rt
