//===- Cancellation.h - Signals that end a run ------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_CANCELLATION_H
#define CHORUS_TOOLS_CHORUS_RUN_CANCELLATION_H

#include "chorus_rt/Status.h"

namespace chorus::run {

/// From now on SIGINT, SIGTERM and SIGHUP end the process at once, with the
/// exit code that cancellationStatus() has. One that is ignored stays so, as
/// nohup wants it.
void exitOnSignals();

/// From now on they ask for an end; a second one ends the process at once.
void catchSignals();

/// Whether such a signal has come.
bool cancelRequested();

/// The error for it, with exit code 130, 143 or 129; Ok without one.
rt::Status cancellationStatus();

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_CANCELLATION_H
