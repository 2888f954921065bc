//===- Replay.h - Candidates again, from their records ----------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_REPLAY_H
#define CHORUS_TOOLS_CHORUS_RUN_REPLAY_H

#include "Options.h"

#include "chorus_rt/EngineHandle.h"
#include "support/Console.h"

namespace chorus::run {

/// Runs each candidate of --replay's records alone and prints its record. An
/// error if a record is of another artifact or profile, or if the bits differ.
rt::Status replay(chorus_engine &engine, const Options &options,
                  tool::Console &console);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_REPLAY_H
