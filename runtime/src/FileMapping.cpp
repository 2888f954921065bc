//===- FileMapping.cpp - A file mapped read-only --------------------------===//

#include "chorus_rt/FileMapping.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace chorus::rt {

namespace {

/// What the SIGBUS handler may look at: plain atomics, no locks. A slot is free
/// while `begin` is 0; a mapping that finds none free is left to the default
/// handling.
struct FaultRange {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<bool> faulted{false};
};
constexpr int maxFaultRanges = 64;
FaultRange faultRanges[maxFaultRanges];
long pageBytes = 4096;

int takeFaultSlot(const uint8_t *begin, uint64_t length) {
  for (int i = 0; i < maxFaultRanges; ++i) {
    uintptr_t expected = 0;
    uintptr_t address = reinterpret_cast<uintptr_t>(begin);
    if (faultRanges[i].begin.compare_exchange_strong(expected, address)) {
      faultRanges[i].faulted = false;
      faultRanges[i].end = address + length;
      return i;
    }
  }
  return -1;
}

void freeFaultSlot(int slot) {
  if (slot < 0)
    return;
  faultRanges[slot].end = 0;
  faultRanges[slot].begin = 0;
}

/// Puts a page of zeros where the file has none, or lets the signal kill.
void handleBusError(int signal, siginfo_t *info, void *) {
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (FaultRange &range : faultRanges) {
    uintptr_t begin = range.begin, end = range.end;
    if (begin == 0 || address < begin || address >= end)
      continue;
    uintptr_t page = address & ~static_cast<uintptr_t>(pageBytes - 1);
    // The system call itself: only that is safe inside a signal handler.
    long mapped = syscall(SYS_mmap, page, pageBytes, PROT_READ,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (mapped != static_cast<long>(page))
      break;
    range.faulted = true;
    return;
  }
  // Back to the default: the instruction faults again and ends the process.
  ::signal(signal, SIG_DFL);
}

const char *kindOf(mode_t mode) {
  if (S_ISDIR(mode))
    return "a directory";
  if (S_ISFIFO(mode))
    return "a FIFO";
  if (S_ISSOCK(mode))
    return "a socket";
  return "a device";
}

} // namespace

StatusOr<FileMapping> FileMapping::open(const std::string &path,
                                        const char *notRegularCode) {
  std::string name = escapeForMessage(path, 200);
  FileMapping mapping;
  auto notRegular = [&](const char *kind) -> Status {
    std::string message = std::string("is ") + kind + ", not a regular file";
    return notRegularCode ? refused(notRegularCode, name, message)
                          : usageError(name + " " + message);
  };
  // O_NONBLOCK: opening a FIFO without a writer must not wait for one.
  mapping.fd =
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (mapping.fd < 0) {
    if (errno == ENXIO) // A socket, or a device without a driver.
      return notRegular("a socket or a device");
    return usageError("cannot open " + name + ": " + std::strerror(errno));
  }
  struct stat info;
  if (fstat(mapping.fd, &info) != 0)
    return usageError("cannot open " + name + ": " + std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return notRegular(kindOf(info.st_mode));
  mapping.filePath = path;
  mapping.modifiedSeconds = info.st_mtim.tv_sec;
  mapping.modifiedNanoseconds = info.st_mtim.tv_nsec;
  mapping.length = static_cast<uint64_t>(info.st_size);
  if (mapping.length == 0)
    return mapping;
  void *address =
      mmap(nullptr, mapping.length, PROT_READ, MAP_PRIVATE, mapping.fd, 0);
  if (address == MAP_FAILED) {
    int error = errno;
    mapping.length = 0;
    std::string message = std::string("cannot map: ") + std::strerror(error);
    return error == ENOMEM ? limitError("memory", name, message)
                           : ioError("io", name, message);
  }
  mapping.bytes = static_cast<const uint8_t *>(address);
  mapping.faultSlot = takeFaultSlot(mapping.bytes, mapping.length);
  return mapping;
}

FileMapping::FileMapping(FileMapping &&other) noexcept {
  *this = std::move(other);
}

FileMapping &FileMapping::operator=(FileMapping &&other) noexcept {
  if (this == &other)
    return *this;
  close();
  filePath = std::move(other.filePath);
  fd = std::exchange(other.fd, -1);
  bytes = std::exchange(other.bytes, nullptr);
  length = std::exchange(other.length, 0);
  modifiedSeconds = other.modifiedSeconds;
  modifiedNanoseconds = other.modifiedNanoseconds;
  faultSlot = std::exchange(other.faultSlot, -1);
  return *this;
}

FileMapping::~FileMapping() { close(); }

void FileMapping::close() {
  freeFaultSlot(std::exchange(faultSlot, -1));
  if (bytes)
    munmap(const_cast<uint8_t *>(bytes), length);
  if (fd >= 0)
    ::close(fd);
  bytes = nullptr;
  fd = -1;
  length = 0;
}

void FileMapping::release(uint64_t offset, uint64_t count) const {
  if (offset >= length || count == 0)
    return;
  uint64_t end = offset + std::min(count, length - offset);
  // Whole pages outwards: a page read again later costs little, one kept at
  // every border of a walk through many tensors adds up.
  uint64_t begin = offset & ~static_cast<uint64_t>(pageBytes - 1);
  madvise(const_cast<uint8_t *>(bytes) + begin, end - begin, MADV_DONTNEED);
}

void FileMapping::release(const void *begin, uint64_t count) const {
  const uint8_t *first = static_cast<const uint8_t *>(begin);
  if (first >= bytes && first < bytes + length)
    release(static_cast<uint64_t>(first - bytes), count);
}

Status FileMapping::checkUnchanged(const char *code) const {
  std::string name = escapeForMessage(filePath, 200);
  struct stat info;
  if (fstat(fd, &info) != 0)
    return ioError("io", name,
                   std::string("cannot stat: ") + std::strerror(errno));
  if (static_cast<uint64_t>(info.st_size) != length)
    return refused(code, name,
                   "changed during reading: had " + std::to_string(length) +
                       " bytes, now has " + std::to_string(info.st_size));
  if (info.st_mtim.tv_sec != modifiedSeconds ||
      info.st_mtim.tv_nsec != modifiedNanoseconds)
    return refused(code, name,
                   "changed during reading: its modification time differs");
  if (hasLostPages())
    return refused(code, name,
                   "changed during reading: a page could not be read");
  return {};
}

bool FileMapping::hasLostPages() const {
  return faultSlot >= 0 && faultRanges[faultSlot].faulted;
}

StatusOr<Sha256Digest> FileMapping::sha256() const {
  constexpr uint64_t pieceBytes = 4 << 20;
  Sha256 hash;
  for (uint64_t offset = 0; offset < length; offset += pieceBytes) {
    uint64_t count = std::min(pieceBytes, length - offset);
    hash.update(bytes + offset, count);
    release(offset, count);
  }
  return hash.finish();
}

void FileMapping::installFaultHandler() {
  pageBytes = sysconf(_SC_PAGESIZE);
  struct sigaction action = {};
  action.sa_sigaction = handleBusError;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

} // namespace chorus::rt
