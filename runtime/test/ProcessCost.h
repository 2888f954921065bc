//===- ProcessCost.h - Time and peak memory of a piece of work --*- C++ -*-===//

#ifndef CHORUS_RUNTIME_TEST_PROCESSCOST_H
#define CHORUS_RUNTIME_TEST_PROCESSCOST_H

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

namespace chorus::rt::test {

/// Sanitizers multiply both time and memory: bars do not hold under them.
#if defined(__has_feature) && __has_feature(address_sanitizer)
inline constexpr bool underSanitizer = true;
#else
inline constexpr bool underSanitizer = false;
#endif

struct Cost {
  double seconds = 0;
  double mebibytes = 0;
};

/// A line of /proc/self/status, in KiB; `field` with its colon.
inline uint64_t kilobytesOf(const std::string &field) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.compare(0, field.size(), field) == 0)
      return std::strtoull(line.c_str() + field.size(), nullptr, 10);
  return 0;
}

/// Processor time of `work`, which other processes on the machine do not
/// lengthen, and its peak memory on top of what the process has before. The
/// work is done in a child process; its test failures count.
inline Cost costOf(const std::function<void()> &work) {
  Cost cost;
  int pipeEnds[2];
  if (pipe(pipeEnds) != 0) {
    ADD_FAILURE() << "no pipe";
    return cost;
  }
  pid_t child = fork();
  if (child == 0) {
    std::ofstream("/proc/self/clear_refs") << "5"; // Resets VmHWM.
    uint64_t before = kilobytesOf("VmRSS:");
    std::clock_t start = std::clock();
    work();
    cost.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    uint64_t peak = kilobytesOf("VmHWM:");
    cost.mebibytes =
        static_cast<double>(peak > before ? peak - before : 0) / 1024;
    bool written = write(pipeEnds[1], &cost, sizeof cost) == sizeof cost;
    _exit(written && !testing::Test::HasFailure() ? 0 : 1);
  }
  close(pipeEnds[1]);
  bool complete = read(pipeEnds[0], &cost, sizeof cost) == sizeof cost;
  close(pipeEnds[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(complete && status == 0) << "child ended with " << status;
  std::cout << cost.seconds << " s, " << cost.mebibytes << " MiB\n";
  return cost;
}

} // namespace chorus::rt::test

#endif // CHORUS_RUNTIME_TEST_PROCESSCOST_H
