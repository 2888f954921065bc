//===- AtomicFile.cpp - Files that appear whole or not at all -------------===//

#include "chorus_rt/AtomicFile.h"

#include "chorus_rt/Sha256.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace chorus::rt {

static constexpr size_t bufferBytes = 256 << 10;

/// `.NAME.partial`, or a name of bounded length that depends on NAME alone.
static std::string temporaryNameFor(const std::string &name) {
  std::string temporary = "." + name + ".partial";
  if (temporary.size() <= NAME_MAX)
    return temporary;
  StatusOr<Sha256Digest> digest = sha256(name.data(), name.size());
  return "." + (digest.ok() ? toHex(*digest) : name.substr(0, 64)) + ".partial";
}

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
    AtomicFile file;
    std::string shown = escapeForMessage(target, 200);
    size_t slash = target.rfind('/');
    std::string folder = slash == std::string::npos ? "."
                         : slash == 0               ? "/"
                                                    : target.substr(0, slash);
    file.targetPath = target;
    file.targetName =
        slash == std::string::npos ? target : target.substr(slash + 1);
    if (file.targetName.empty() || file.targetName == "." ||
        file.targetName == "..")
      return usageError("cannot write " + shown + ": names no file");
    file.folderFd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file.folderFd < 0) {
      std::string message =
          std::string("cannot open its folder: ") + std::strerror(errno);
      return errno == ENOENT || errno == ENOTDIR
                 ? usageError("cannot write " + shown + ": " + message)
                 : ioError("io", shown, message);
    }
    struct stat existing;
    if (fstatat(file.folderFd, file.targetName.c_str(), &existing,
                AT_SYMLINK_NOFOLLOW) == 0) {
      if (const char *why = whyNotReplaceable(existing.st_mode))
        return usageError("cannot write " + shown + ": it " + why);
    } else if (errno == ENAMETOOLONG) {
      return usageError("cannot write " + shown + ": " + std::strerror(errno));
    }
    file.temporary = temporaryNameFor(file.targetName);
    file.creator = getpid();
    for (;;) {
      int fd =
          openat(file.folderFd, file.temporary.c_str(),
                 O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
      if (fd < 0)
        return ioError("io", shown,
                       "cannot create " + escapeForMessage(file.temporary, 64) +
                           " beside it: " + std::strerror(errno));
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
      bool same = fstatat(file.folderFd, file.temporary.c_str(), &named,
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
  targetPath = std::move(other.targetPath);
  targetName = std::move(other.targetName);
  temporary = std::move(other.temporary);
  folderFd = std::exchange(other.folderFd, -1);
  fd = std::exchange(other.fd, -1);
  creator = other.creator;
  writtenBytes = std::exchange(other.writtenBytes, 0);
  buffer = std::move(other.buffer);
  failed = other.failed;
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (fd >= 0) {
    if (creator == getpid())
      unlinkat(folderFd, temporary.c_str(), 0);
    ::close(fd);
  }
  if (folderFd >= 0)
    ::close(folderFd);
  fd = folderFd = -1;
}

Status AtomicFile::failure(const char *what) {
  int error = errno;
  failed = true;
  return ioError("io", escapeForMessage(targetPath, 200),
                 std::string("cannot ") + what + ": " + std::strerror(error));
}

/// Writes all bytes; false with errno set on failure.
static bool writeFully(int fd, const uint8_t *data, uint64_t count,
                       uint64_t offset) {
  while (count > 0) {
    constexpr uint64_t maxPiece = 1 << 30;
    ssize_t written =
        pwrite(fd, data, std::min(count, maxPiece), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR)
        continue;
      return false;
    }
    data += written;
    // The disk begins at once, so that the sync at the end is short.
    sync_file_range(fd, static_cast<off64_t>(offset), written,
                    SYNC_FILE_RANGE_WRITE);
    offset += static_cast<uint64_t>(written);
    count -= static_cast<uint64_t>(written);
  }
  return true;
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
  if (!writeFully(fd, bytes, sizeBytes, writtenBytes))
    return failure("write");
  writtenBytes += sizeBytes;
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
  if (!writeFully(fd, buffer.data(), buffer.size(), writtenBytes))
    return failure("write");
  writtenBytes += buffer.size();
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
  if (fstatat(folderFd, targetName.c_str(), &existing, AT_SYMLINK_NOFOLLOW) ==
      0) {
    if (const char *why = whyNotReplaceable(existing.st_mode)) {
      failed = true;
      return usageError("cannot write " + escapeForMessage(targetPath, 200) +
                        ": it " + why);
    }
  }
  if (renameat(folderFd, temporary.c_str(), folderFd, targetName.c_str()) != 0)
    return failure("rename the finished file");
  ::close(fd);
  fd = -1;
  if (fsync(folderFd) != 0)
    return failure("sync the folder");
  return {};
}

} // namespace chorus::rt
