//===- FileFaults.cpp - Faults at the n-th call on a file -----------------===//

#include "FileFaults.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace chorus::rt::test;

namespace {

enum class What { Nothing, Error, Short, Kill, Torn };

struct Plan {
  char call[16] = "any";
  What what = What::Nothing;
  int error = 0;
  int64_t at = -1;
  bool onwards = false;
};

Plan plan;
std::atomic<int64_t> calls{0};
std::vector<FileEvent> *recorded = nullptr;

void record(const char *call, int fd, uint64_t offset = 0,
            const std::string &bytes = "") {
  if (recorded)
    recorded->push_back({call, fd, offset, bytes});
}

int errorNamed(const std::string &name) {
  struct Named {
    const char *name;
    int value;
  };
  for (Named named :
       {Named{"ENOSPC", ENOSPC}, Named{"EDQUOT", EDQUOT}, Named{"EFBIG", EFBIG},
        Named{"EIO", EIO}, Named{"EROFS", EROFS}, Named{"EACCES", EACCES},
        Named{"EINTR", EINTR}, Named{"EAGAIN", EAGAIN}})
    if (name == named.name)
      return named.value;
  abort();
}

/// What happens to this call. Ends the process for Kill.
What decide(const char *call) {
  if (std::strcmp(plan.call, "any") != 0 && std::strcmp(plan.call, call) != 0)
    return What::Nothing;
  int64_t number = calls++;
  if (plan.at < 0 || number < plan.at || (number > plan.at && !plan.onwards))
    return What::Nothing;
  if (plan.what == What::Kill)
    kill(getpid(), SIGKILL);
  if (plan.what == What::Error)
    errno = plan.error;
  return plan.what;
}

template <typename Function>
Function *next(Function *&known, const char *name) {
  if (!known)
    known = reinterpret_cast<Function *>(dlsym(RTLD_NEXT, name));
  return known;
}

/// Writes half of the bytes where the plan says so.
template <typename Write>
ssize_t writePart(What what, size_t count, const Write &write) {
  if (what == What::Nothing)
    return write(count);
  if (what == What::Error)
    return -1;
  ssize_t written = write((count + 1) / 2);
  if (what == What::Torn)
    kill(getpid(), SIGKILL);
  return written;
}

struct Environment {
  Environment() noexcept {
    if (const char *text = getenv("CHORUS_FILE_FAULT"))
      setFileFault(text);
  }
  ~Environment() {
    const char *path = getenv("CHORUS_FILE_COUNT");
    if (!path)
      return;
    std::string text = std::to_string(calls.load()) + "\n";
    int fd = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path,
                                      O_WRONLY | O_CREAT | O_TRUNC, 0600));
    syscall(SYS_write, fd, text.data(), text.size());
  }
};
Environment environment;

} // namespace

void chorus::rt::test::setFileFault(const std::string &text) {
  plan = Plan();
  calls = 0;
  if (text.empty())
    return;
  size_t colon = text.find(':'), at = text.find('@');
  std::strncpy(plan.call, text.substr(0, colon).c_str(), sizeof plan.call - 1);
  std::string what = text.substr(colon + 1, at - colon - 1);
  plan.what = what == "kill"    ? What::Kill
              : what == "torn"  ? What::Torn
              : what == "short" ? What::Short
                                : What::Error;
  if (plan.what == What::Error)
    plan.error = errorNamed(what);
  plan.onwards = text.back() == '+';
  plan.at = std::strtoll(text.c_str() + at + 1, nullptr, 10);
}

void chorus::rt::test::recordFileEvents(std::vector<FileEvent> *events) {
  recorded = events;
}

/// A call that only succeeds or fails. Its arguments stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define CHORUS_FAULTY(name, parameters, arguments)                             \
  extern "C" int name parameters {                                             \
    static int(*original) parameters;                                          \
    return decide(#name) == What::Nothing ? next(original, #name) arguments    \
                                          : -1;                                \
  }
// NOLINTEND(bugprone-macro-parentheses)

CHORUS_FAULTY(close, (int fd), (fd))
CHORUS_FAULTY(ftruncate, (int fd, off_t size) noexcept, (fd, size))
CHORUS_FAULTY(rename, (const char *from, const char *to) noexcept, (from, to))
CHORUS_FAULTY(unlink, (const char *path) noexcept, (path))
CHORUS_FAULTY(flock, (int fd, int operation) noexcept, (fd, operation))
CHORUS_FAULTY(fstat, (int fd, struct stat *out) noexcept, (fd, out))
CHORUS_FAULTY(stat, (const char *path, struct stat *out) noexcept, (path, out))
CHORUS_FAULTY(fstatat,
              (int fd, const char *path, struct stat *out, int flags) noexcept,
              (fd, path, out, flags))

// No power fails here, and waiting for a disk a thousand times takes long.
extern "C" int fsync(int fd) {
  if (decide("fsync") != What::Nothing)
    return -1;
  record("fsync", fd);
  return 0;
}
extern "C" int fdatasync(int fd) {
  if (decide("fdatasync") != What::Nothing)
    return -1;
  record("fdatasync", fd);
  return 0;
}

extern "C" int renameat(int fromFd, const char *from, int toFd,
                        const char *to) noexcept {
  static int (*original)(int, const char *, int, const char *);
  if (decide("renameat") != What::Nothing)
    return -1;
  record("renameat", toFd, 0, to);
  return next(original, "renameat")(fromFd, from, toFd, to);
}

extern "C" int unlinkat(int fd, const char *path, int flags) noexcept {
  static int (*original)(int, const char *, int);
  if (decide("unlinkat") != What::Nothing)
    return -1;
  record("unlinkat", fd, 0, path);
  return next(original, "unlinkat")(fd, path, flags);
}

extern "C" int open(const char *path, int flags, ...) {
  static int (*original)(const char *, int, ...);
  va_list arguments;
  va_start(arguments, flags);
  int mode = va_arg(arguments, int);
  va_end(arguments);
  return decide("open") == What::Nothing
             ? next(original, "open")(path, flags, mode)
             : -1;
}

extern "C" int openat(int folder, const char *path, int flags, ...) {
  static int (*original)(int, const char *, int, ...);
  va_list arguments;
  va_start(arguments, flags);
  int mode = va_arg(arguments, int);
  va_end(arguments);
  return decide("openat") == What::Nothing
             ? next(original, "openat")(folder, path, flags, mode)
             : -1;
}

extern "C" int fcntl(int fd, int command, ...) {
  static int (*original)(int, int, ...);
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  return decide("fcntl") == What::Nothing
             ? next(original, "fcntl")(fd, command, argument)
             : -1;
}

extern "C" ssize_t read(int fd, void *data, size_t count) {
  static ssize_t (*original)(int, void *, size_t);
  return decide("read") == What::Nothing
             ? next(original, "read")(fd, data, count)
             : -1;
}

extern "C" ssize_t pread(int fd, void *data, size_t count, off_t offset) {
  static ssize_t (*original)(int, void *, size_t, off_t);
  return writePart(decide("pread"), count, [&](size_t part) {
    return next(original, "pread")(fd, data, part, offset);
  });
}

extern "C" ssize_t write(int fd, const void *data, size_t count) {
  static ssize_t (*original)(int, const void *, size_t);
  return writePart(decide("write"), count, [&](size_t part) {
    return next(original, "write")(fd, data, part);
  });
}

extern "C" ssize_t pwrite(int fd, const void *data, size_t count,
                          off_t offset) {
  static ssize_t (*original)(int, const void *, size_t, off_t);
  return writePart(decide("pwrite"), count, [&](size_t part) {
    record("pwrite", fd, static_cast<uint64_t>(offset),
           std::string(static_cast<const char *>(data), part));
    return next(original, "pwrite")(fd, data, part, offset);
  });
}
