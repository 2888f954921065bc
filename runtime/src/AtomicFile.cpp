//===- AtomicFile.cpp - Files that appear whole or not at all -------------===//

#include "chorus_rt/AtomicFile.h"

#include "FileAccess.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace chorus::rt {

static constexpr size_t bufferBytes = 256 << 10;

/// Bytes that may wait for the disk: nothing ends a process that syncs before
/// they are there.
static constexpr uint64_t mostPendingBytes = 16 << 20;

static const char *whyNotReplaceable(mode_t mode) {
  if (S_ISREG(mode))
    return nullptr;
  if (S_ISDIR(mode))
    return "is a directory";
  if (S_ISLNK(mode))
    return "is a symbolic link";
  return "is no regular file";
}

StatusOr<AtomicFile> AtomicFile::create(const std::string &target) {
  try {
    StatusOr<OutputPlace> place = OutputPlace::open(target);
    CHORUS_RETURN_IF_ERROR(place.status());
    AtomicFile file(std::move(*place));
    std::string shown = file.place.shown();
    struct stat existing;
    if (fstatat(file.place.folder(), file.place.name().c_str(), &existing,
                AT_SYMLINK_NOFOLLOW) == 0) {
      if (const char *why = whyNotReplaceable(existing.st_mode))
        return usageError("cannot write " + shown + ": it " + why);
    } else if (errno == ENAMETOOLONG) {
      return usageError("cannot write " + shown + ": " + std::strerror(errno));
    }
    file.temporary = file.place.hiddenName("partial");
    file.creator = getpid();
    for (;;) {
      int fd =
          openat(file.place.folder(), file.temporary.c_str(),
                 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
      if (fd < 0)
        return fileError(shown, "create " +
                                    escapeForMessage(file.temporary, 64) +
                                    " beside it");
      struct stat opened, named;
      if (fstat(fd, &opened) != 0 || !S_ISREG(opened.st_mode)) {
        ::close(fd);
        return ioError("io", shown,
                       escapeForMessage(file.temporary, 64) +
                           " beside it is no regular file");
      }
      if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        ::close(fd);
        if (error == EWOULDBLOCK)
          return usageError("cannot write " + shown +
                            ": another process is writing it");
        return ioError("io", shown,
                       std::string("cannot lock: ") + std::strerror(error));
      }
      // The former holder may have renamed or removed the file between our
      // opening and locking it; then the lock is on a file that has moved.
      bool same = fstatat(file.place.folder(), file.temporary.c_str(), &named,
                          AT_SYMLINK_NOFOLLOW) == 0 &&
                  named.st_ino == opened.st_ino &&
                  named.st_dev == opened.st_dev;
      if (!same) {
        ::close(fd);
        continue;
      }
      file.fd = fd;
      break;
    }
    if (ftruncate(file.fd, 0) != 0)
      return file.failure("truncate");
    file.buffer.reserve(bufferBytes);
    return file;
  } catch (const std::bad_alloc &) {
    return limitError("memory", "", "no memory for an output file's buffer");
  }
}

AtomicFile::AtomicFile(AtomicFile &&other) noexcept {
  *this = std::move(other);
}

AtomicFile &AtomicFile::operator=(AtomicFile &&other) noexcept {
  if (this == &other)
    return *this;
  discard();
  place = std::move(other.place);
  temporary = std::move(other.temporary);
  fd = std::exchange(other.fd, -1);
  creator = other.creator;
  writtenBytes = std::exchange(other.writtenBytes, 0);
  settledBytes = std::exchange(other.settledBytes, 0);
  buffer = std::move(other.buffer);
  failed = other.failed;
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (fd >= 0) {
    if (creator == getpid())
      unlinkat(place.folder(), temporary.c_str(), 0);
    ::close(fd);
  }
  fd = -1;
}

Status AtomicFile::failure(const char *what) {
  failed = true;
  return fileError(place.shown(), what);
}

Status AtomicFile::append(const void *data, uint64_t sizeBytes) {
  const uint8_t *bytes = static_cast<const uint8_t *>(data);
  if (failed) {
    errno = EIO;
    return failure("write after an error");
  }
  if (sizeBytes == 0)
    return {};
  if (sizeBytes <= bufferBytes - buffer.size()) {
    buffer.insert(buffer.end(), bytes, bytes + sizeBytes);
    return {};
  }
  CHORUS_RETURN_IF_ERROR(flush());
  if (sizeBytes <= bufferBytes) {
    buffer.insert(buffer.end(), bytes, bytes + sizeBytes);
    return {};
  }
  return writeOut(bytes, sizeBytes);
}

/// The disk begins at once and stays close behind, so that the sync at the end
/// is short.
Status AtomicFile::writeOut(const uint8_t *bytes, uint64_t count) {
  while (count > 0) {
    uint64_t part = std::min(count, mostPendingBytes / 4);
    if (!writeFully(fd, bytes, part, writtenBytes))
      return failure("write");
    sync_file_range(fd, static_cast<off64_t>(writtenBytes),
                    static_cast<off64_t>(part), SYNC_FILE_RANGE_WRITE);
    bytes += part;
    count -= part;
    writtenBytes += part;
    if (writtenBytes - settledBytes > mostPendingBytes) {
      uint64_t settle = writtenBytes - mostPendingBytes / 2 - settledBytes;
      sync_file_range(fd, static_cast<off64_t>(settledBytes),
                      static_cast<off64_t>(settle),
                      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                          SYNC_FILE_RANGE_WAIT_AFTER);
      settledBytes += settle;
    }
  }
  return {};
}

Status AtomicFile::alignTo(uint64_t alignment) {
  static const uint8_t zeros[4096] = {};
  uint64_t missing = (alignment - size() % alignment) % alignment;
  while (missing > 0) {
    uint64_t count = std::min<uint64_t>(missing, sizeof zeros);
    CHORUS_RETURN_IF_ERROR(append(zeros, count));
    missing -= count;
  }
  return {};
}

Status AtomicFile::writeAt(uint64_t offset, const void *data,
                           uint64_t sizeBytes) {
  if (offset > size() || sizeBytes > size() - offset) {
    errno = EINVAL;
    return failure("patch bytes that were not written");
  }
  CHORUS_RETURN_IF_ERROR(flush());
  if (!writeFully(fd, static_cast<const uint8_t *>(data), sizeBytes, offset))
    return failure("write");
  return {};
}

Status AtomicFile::flush() {
  if (failed) {
    errno = EIO;
    return failure("write after an error");
  }
  CHORUS_RETURN_IF_ERROR(writeOut(buffer.data(), buffer.size()));
  buffer.clear();
  return {};
}

Status AtomicFile::commit() {
  CHORUS_RETURN_IF_ERROR(flush());
  // An error of fsync is final: a second call may succeed without the data.
  if (fsync(fd) != 0)
    return failure("sync");
  // The target may have become something that must not be replaced.
  struct stat existing;
  if (fstatat(place.folder(), place.name().c_str(), &existing,
              AT_SYMLINK_NOFOLLOW) == 0) {
    if (const char *why = whyNotReplaceable(existing.st_mode)) {
      failed = true;
      return usageError("cannot write " + place.shown() + ": it " + why);
    }
  }
  if (renameat(place.folder(), temporary.c_str(), place.folder(),
               place.name().c_str()) != 0)
    return failure("rename the finished file");
  ::close(fd);
  fd = -1;
  if (fsync(place.folder()) != 0)
    return failure("sync the folder");
  return {};
}

} // namespace chorus::rt
