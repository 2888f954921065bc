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

static void exitAtOnce(int signal) { _exit(128 + signal); }

static void handleSignals(void (*handler)(int)) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before{}, action{};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_IGN)
      continue;
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
  }
}

void run::exitOnSignals() { handleSignals(exitAtOnce); }

void run::catchSignals() { handleSignals(onSignal); }

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
