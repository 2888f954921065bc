//===- ChildProcess.cpp - Work whose death is one line --------------------===//

#include "support/ChildProcess.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <new>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace chorus::tool {

namespace {

/// Fields of a Status, each with its length before it.
std::string serialize(const rt::Status &status) {
  std::string bytes;
  auto field = [&](const std::string &text) {
    bytes += std::to_string(text.size()) + ":" + text;
  };
  field(std::to_string(static_cast<int>(status.exitCode())));
  field(status.code());
  field(status.place());
  field(status.message());
  return bytes;
}

bool deserialize(const std::string &bytes, rt::Status &status) {
  std::string fields[4];
  size_t at = 0;
  for (std::string &text : fields) {
    size_t colon = bytes.find(':', at);
    if (colon == std::string::npos)
      return false;
    size_t length = std::strtoul(bytes.c_str() + at, nullptr, 10);
    if (colon + 1 + length > bytes.size())
      return false;
    text = bytes.substr(colon + 1, length);
    at = colon + 1 + length;
  }
  int exitCode = std::atoi(fields[0].c_str());
  status = exitCode == 0
               ? rt::Status()
               : rt::Status::error(static_cast<rt::ExitCode>(exitCode),
                                   fields[1], fields[2], fields[3]);
  return true;
}

void limitMemory(uint64_t extraBytes) {
  uint64_t pages = 0;
  if (FILE *file = std::fopen("/proc/self/statm", "r")) {
    unsigned long total = 0;
    if (std::fscanf(file, "%lu", &total) == 1)
      pages = total;
    std::fclose(file);
  }
  rlimit limit{};
  limit.rlim_cur = limit.rlim_max = pages * sysconf(_SC_PAGESIZE) + extraBytes;
  setrlimit(RLIMIT_AS, &limit);
}

[[noreturn]] void runChild(const ChildLimits &limits,
                           const std::function<rt::Status()> &work, int pipe,
                           pid_t parent, const sigset_t &oldMask) {
  // A parent that is killed takes its child with it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(0);
  sigprocmask(SIG_SETMASK, &oldMask, nullptr);
  if (limits.memoryBytes) {
    limitMemory(limits.memoryBytes);
    std::set_new_handler([] { _exit(static_cast<int>(rt::ExitCode::Limit)); });
  }
  std::string bytes = serialize(work());
  for (size_t done = 0; done < bytes.size();) {
    ssize_t count = write(pipe, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      break;
    done += count;
  }
  _exit(0);
}

rt::Status internalError(const std::string &message) {
  return rt::Status::error(rt::ExitCode::Internal, "internal", "", message);
}

sigset_t stopSignalSet() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaddset(&signals, signal);
  return signals;
}

constexpr size_t partBytes = 64;

} // namespace

ChildPart::ChildPart() {
  void *memory = mmap(nullptr, partBytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory != MAP_FAILED)
    shared = static_cast<char *>(memory);
}

ChildPart::~ChildPart() {
  if (shared)
    munmap(shared, partBytes);
}

void ChildPart::set(const std::string &part) {
  if (shared)
    std::strncpy(shared, part.c_str(), partBytes - 1);
}

std::string ChildPart::get() const { return shared ? shared : ""; }

void holdStopSignals() {
  sigset_t signals = stopSignalSet();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
}

int pendingStopSignal() {
  sigset_t pending;
  sigpending(&pending);
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    if (sigismember(&pending, signal))
      return signal;
  return 0;
}

rt::Status runInChild(const ChildLimits &limits,
                      const std::function<rt::Status()> &work, int &stopped,
                      const ChildPart *part) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return rt::ioError("pipe", "", std::strerror(errno));
  sigset_t stopSignals = stopSignalSet(), oldMask;
  sigprocmask(SIG_BLOCK, &stopSignals, &oldMask);
  int signals = signalfd(-1, &stopSignals, SFD_CLOEXEC);
  pid_t parent = getpid();
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    runChild(limits, work, ends[1], parent, oldMask);
  }
  close(ends[1]);
  if (child < 0) {
    close(ends[0]);
    close(signals);
    sigprocmask(SIG_SETMASK, &oldMask, nullptr);
    return rt::ioError("fork", "", std::strerror(errno));
  }

  using Clock = std::chrono::steady_clock;
  auto start = Clock::now();
  std::string bytes;
  bool timedOut = false;
  while (true) {
    int wait = -1;
    if (limits.seconds > 0) {
      double left = limits.seconds -
                    std::chrono::duration<double>(Clock::now() - start).count();
      wait = left > 0 ? static_cast<int>(left * 1000) + 1 : 0;
    }
    pollfd watched[2] = {{ends[0], POLLIN, 0}, {signals, POLLIN, 0}};
    int ready = poll(watched, 2, wait);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready == 0) {
      timedOut = true;
      break;
    }
    if (watched[1].revents) {
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof info) == sizeof info)
        stopped = static_cast<int>(info.ssi_signo);
      break;
    }
    char buffer[4096];
    ssize_t count = read(ends[0], buffer, sizeof buffer);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      break;
    bytes.append(buffer, count);
  }
  if (timedOut || stopped)
    kill(child, SIGKILL);
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR)
    continue;
  close(ends[0]);
  close(signals);
  sigprocmask(SIG_SETMASK, &oldMask, nullptr);

  if (stopped)
    return internalError("stopped by signal " + std::to_string(stopped));
  std::string where =
      part && !part->get().empty() ? "; it was " + part->get() : std::string();
  if (timedOut) {
    std::ostringstream seconds;
    seconds << limits.seconds;
    return rt::limitError("C02", "--time-limit",
                          "not done after " + seconds.str() + " s" + where);
  }
  rt::Status status;
  bool answered =
      WIFEXITED(state) && WEXITSTATUS(state) == 0 && deserialize(bytes, status);
  bool outOfMemory =
      answered
          ? status.exitCode() == rt::ExitCode::Limit &&
                status.code() == "memory"
          : (WIFEXITED(state) &&
             WEXITSTATUS(state) == static_cast<int>(rt::ExitCode::Limit)) ||
                (WIFSIGNALED(state) && WTERMSIG(state) == SIGABRT);
  if (answered && !(limits.memoryBytes && outOfMemory))
    return status;
  if (limits.memoryBytes && outOfMemory)
    return rt::limitError("C02", "--max-memory",
                          "needs more than " +
                              std::to_string(limits.memoryBytes) +
                              " bytes beyond the idle process" + where);
  if (WIFSIGNALED(state))
    return internalError(
        "the compiler died by signal " + std::to_string(WTERMSIG(state)) +
        " (" + strsignal(WTERMSIG(state)) + "); please report the model");
  return internalError("the compiler ended without an answer");
}

} // namespace chorus::tool
