//===- ChildProcess.h - Work whose death is one line ------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_SUPPORT_CHILDPROCESS_H
#define CHORUS_TOOLS_SUPPORT_CHILDPROCESS_H

#include "chorus_rt/Status.h"

#include <cstdint>
#include <functional>
#include <string>

namespace chorus::tool {

struct ChildLimits {
  /// Seconds of wall time, 0 for none.
  double seconds = 0;
  /// Bytes of address space beyond what the process has now, 0 for none.
  uint64_t memoryBytes = 0;
};

/// What a child is doing, in memory that its parent sees too: the message of a
/// limit names it. The child writes, the parent reads once the child is gone.
class ChildPart {
public:
  ChildPart();
  ~ChildPart();
  ChildPart(const ChildPart &) = delete;
  ChildPart &operator=(const ChildPart &) = delete;

  /// Keeps the first 63 bytes.
  void set(const std::string &part);
  std::string get() const;

private:
  char *shared = nullptr;
};

/// From here on SIGINT, SIGTERM and SIGHUP wait: `runInChild` still sees them,
/// and `pendingStopSignal` says which has come, 0 for none. A process that
/// writes a file calls it before the file exists, so that no signal ends it
/// between writing and cleaning up.
void holdStopSignals();
int pendingStopSignal();

/// Runs `work` in a forked child and returns its Status. A child that dies
/// otherwise (a signal, an abort) gives exit code 70, code `internal`; one that
/// passes a limit gives exit code 4, code C02, and names `part`. When this
/// process is told to stop (SIGINT, SIGTERM, SIGHUP), the child is killed,
/// `stopped` is set to the signal and the Status is an error.
rt::Status runInChild(const ChildLimits &limits,
                      const std::function<rt::Status()> &work, int &stopped,
                      const ChildPart *part = nullptr);

} // namespace chorus::tool

#endif // CHORUS_TOOLS_SUPPORT_CHILDPROCESS_H
