//===- HeaderRun.h - A request run through chorus.h -------------*- C++ -*-===//
//
// chorus-run answers prompts by the functions that any other program has.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_HEADERRUN_H
#define CHORUS_TOOLS_CHORUS_RUN_HEADERRUN_H

#include "chorus_rt/EngineHandle.h"

namespace chorus::run {

/// Submits `request`, steps until it has finished or `hooks.shouldCancel`, and
/// takes its result. The calculator is the only way to force tokens. Errors:
/// those of chorus_submit() and chorus_step(), and of `hooks.onToken`.
rt::StatusOr<rt::Generation> runRequest(chorus_engine &engine,
                                        const rt::Request &request,
                                        const rt::GenerationHooks &hooks);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_HEADERRUN_H
