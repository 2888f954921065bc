//===- BackwardClock.cpp - A time of day that goes backwards --------------===//
//
// Preloaded into a tool: each look at the time of day finds it a minute
// earlier, from 1985 on. Clocks that only count are as they were.
//
//===----------------------------------------------------------------------===//

#include <atomic>
#include <ctime>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static time_t earlier() {
  static std::atomic<time_t> now{time_t(15) * 365 * 86400};
  return now -= 60;
}

extern "C" {

int clock_gettime(clockid_t clock, timespec *result) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)
    return static_cast<int>(syscall(SYS_clock_gettime, clock, result));
  *result = {earlier(), 0};
  return 0;
}

int gettimeofday(timeval *result, void *) {
  *result = {earlier(), 0};
  return 0;
}

time_t time(time_t *result) {
  time_t now = earlier();
  if (result)
    *result = now;
  return now;
}

} // extern "C"
