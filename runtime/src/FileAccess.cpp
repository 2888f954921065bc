//===- FileAccess.cpp - System calls on files, seen through ---------------===//

#include "FileAccess.h"

#include "chorus_rt/Sha256.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace chorus::rt {

/// Largest piece of one call; Linux takes a little less than 2 GiB.
static constexpr uint64_t maxPiece = 1 << 30;

/// Whether a call that failed may be tried again; waits where it must.
static bool mayRetry(int fd, short events) {
  if (errno == EINTR)
    return true;
  if (errno != EAGAIN && errno != EWOULDBLOCK)
    return false;
  pollfd waiting = {fd, events, 0};
  return poll(&waiting, 1, -1) >= 0 || errno == EINTR;
}

bool writeFully(int fd, const void *data, uint64_t count, uint64_t offset) {
  const uint8_t *bytes = static_cast<const uint8_t *>(data);
  while (count > 0) {
    ssize_t written = pwrite(fd, bytes, std::min(count, maxPiece),
                             static_cast<off_t>(offset));
    if (written < 0) {
      if (mayRetry(fd, POLLOUT))
        continue;
      return false;
    }
    bytes += written;
    offset += static_cast<uint64_t>(written);
    count -= static_cast<uint64_t>(written);
  }
  return true;
}

int64_t readFully(int fd, void *data, uint64_t count, uint64_t offset) {
  uint8_t *bytes = static_cast<uint8_t *>(data);
  int64_t done = 0;
  while (count > 0) {
    ssize_t got = pread(fd, bytes + done, std::min(count, maxPiece),
                        static_cast<off_t>(offset) + done);
    if (got < 0) {
      if (mayRetry(fd, POLLIN))
        continue;
      return -1;
    }
    if (got == 0)
      break;
    done += got;
    count -= static_cast<uint64_t>(got);
  }
  return done;
}

Status fileError(std::string place, const std::string &what) {
  int error = errno;
  bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return ioError(full           ? "W03"
                 : error == EIO ? "W04"
                                : "io",
                 std::move(place),
                 "cannot " + what + ": " + std::strerror(error));
}

static std::string unnamedName(const OutputPlace &place) {
  return place.hiddenName("scratch");
}

void removeUnnamedFile(const OutputPlace &place) {
  unlinkat(place.folder(), unnamedName(place).c_str(), 0);
}

StatusOr<int> createUnnamedFile(const OutputPlace &place) {
  removeUnnamedFile(place);
  std::string name = unnamedName(place);
  int fd = openat(place.folder(), name.c_str(),
                  O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return fileError(place.shown(), "create a file beside it");
  if (unlinkat(place.folder(), name.c_str(), 0) != 0) {
    Status status = fileError(place.shown(), "remove a name beside it");
    ::close(fd);
    return status;
  }
  return fd;
}

StatusOr<OutputPlace> OutputPlace::open(const std::string &path) {
  OutputPlace place;
  place.filePath = path;
  size_t slash = path.rfind('/');
  place.folderPath = slash == std::string::npos ? "."
                     : slash == 0               ? "/"
                                                : path.substr(0, slash);
  place.fileName = slash == std::string::npos ? path : path.substr(slash + 1);
  std::string shown = place.shown();
  if (place.fileName.empty() || place.fileName == "." || place.fileName == "..")
    return usageError("cannot write " + shown + ": names no file");
  place.folderFd =
      ::open(place.folderPath.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (place.folderFd < 0) {
    // Few descriptors or no memory; else the path is wrong.
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
      return fileError(shown, "open its folder");
    return usageError("cannot write " + shown +
                      ": cannot open its folder: " + std::strerror(errno));
  }
  return place;
}

OutputPlace::OutputPlace(OutputPlace &&other) noexcept {
  *this = std::move(other);
}

OutputPlace &OutputPlace::operator=(OutputPlace &&other) noexcept {
  if (this == &other)
    return *this;
  if (folderFd >= 0)
    ::close(folderFd);
  filePath = std::move(other.filePath);
  folderPath = std::move(other.folderPath);
  fileName = std::move(other.fileName);
  folderFd = std::exchange(other.folderFd, -1);
  return *this;
}

OutputPlace::~OutputPlace() {
  if (folderFd >= 0)
    ::close(folderFd);
}

std::string OutputPlace::hiddenName(std::string_view suffix) const {
  std::string name = "." + fileName + "." + std::string(suffix);
  if (name.size() <= NAME_MAX)
    return name;
  StatusOr<Sha256Digest> digest = sha256(fileName.data(), fileName.size());
  return "." + (digest.ok() ? toHex(*digest) : fileName.substr(0, 64)) + "." +
         std::string(suffix);
}

bool OutputPlace::stillThere() const {
  struct stat opened, named;
  return fstat(folderFd, &opened) == 0 &&
         stat(folderPath.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

} // namespace chorus::rt
