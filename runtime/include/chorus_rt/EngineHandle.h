//===- EngineHandle.h - The C++ objects behind chorus.h ---------*- C++ -*-===//
//
// For programs that use chorus.h and the C++ classes side by side, as
// chorus-run does.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_ENGINEHANDLE_H
#define CHORUS_RT_ENGINEHANDLE_H

#include "chorus_rt/CandidateRanker.h"
#include "chorus_rt/Engine.h"
#include "chorus_rt/chorus.h"

#include <memory>

namespace chorus::rt {

/// An engine for chorus.h; chorus_close() ends it.
chorus_engine *handleOf(std::unique_ptr<Engine> engine);

/// The engine behind a handle. Requests that are submitted here are not known
/// to chorus_take().
Engine &engineOf(chorus_engine &handle);

const Generation &generationOf(const chorus_result &result);

/// Of a result that was ranked.
const Ranking &rankingOf(const chorus_result &result);

} // namespace chorus::rt

#endif // CHORUS_RT_ENGINEHANDLE_H
