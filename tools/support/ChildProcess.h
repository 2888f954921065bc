//===- ChildProcess.h - Work whose death is one line ------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_SUPPORT_CHILDPROCESS_H
#define CHORUS_TOOLS_SUPPORT_CHILDPROCESS_H

#include "chorus_rt/Status.h"

#include <cstdint>
#include <functional>

namespace chorus::tool {

struct ChildLimits {
  /// Seconds of wall time, 0 for none.
  double seconds = 0;
  /// Bytes of address space beyond what the process has now, 0 for none.
  uint64_t memoryBytes = 0;
};

/// Runs `work` in a forked child and returns its Status. A child that dies
/// otherwise (a signal, an abort) gives exit code 70, code `internal`; one that
/// passes a limit gives exit code 4, code `limit`. When this process is told to
/// stop (SIGINT, SIGTERM, SIGHUP), the child is killed, `stopped` is set to the
/// signal and the Status is an error.
rt::Status runInChild(const ChildLimits &limits,
                      const std::function<rt::Status()> &work, int &stopped);

} // namespace chorus::tool

#endif // CHORUS_TOOLS_SUPPORT_CHILDPROCESS_H
