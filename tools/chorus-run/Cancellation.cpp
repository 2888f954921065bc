//===- Cancellation.cpp - Signals that end a run --------------------------===//

#include "Cancellation.h"

#include <csignal>
#include <string>
#include <unistd.h>

using namespace chorus;

/// The first signal that came. A handler can reach nothing but a global.
static volatile std::sig_atomic_t caughtSignal = 0;

static void onSignal(int signal) {
  if (caughtSignal != 0)
    _exit(128 + caughtSignal);
  caughtSignal = signal;
}

void run::catchSignals() {
  struct sigaction action{};
  action.sa_handler = onSignal;
  sigemptyset(&action.sa_mask);
  for (int signal : {SIGINT, SIGTERM, SIGHUP})
    sigaction(signal, &action, nullptr);
}

bool run::cancelRequested() { return caughtSignal != 0; }

rt::Status run::cancellationStatus() {
  int signal = caughtSignal;
  if (signal == 0)
    return rt::Status();
  const char *name = signal == SIGINT    ? "SIGINT"
                     : signal == SIGTERM ? "SIGTERM"
                                         : "SIGHUP";
  return rt::Status::error(static_cast<rt::ExitCode>(128 + signal), "cancelled",
                           "", std::string("stopped by ") + name);
}
