//===- HeaderRun.h - A request run through chorus.h -------------*- C++ -*-===//
//
// chorus-run answers prompts by the functions that any other program has.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_HEADERRUN_H
#define CHORUS_TOOLS_CHORUS_RUN_HEADERRUN_H

#include "chorus_rt/EngineHandle.h"

#include <memory>

namespace chorus::run {

/// A handle of chorus.h that frees itself.
template <typename T> using Handle = std::unique_ptr<T, void (*)(T *)>;

/// Submits `request`, steps until it has finished or `hooks.shouldCancel`, and
/// takes its result. The calculator is the only way to force tokens. Errors:
/// those of chorus_submit() and chorus_step(), and of `hooks.onToken`.
rt::StatusOr<Handle<chorus_result>>
runRequest(chorus_engine &engine, const rt::Request &request,
           const rt::GenerationHooks &hooks);

/// A ranker. Errors: those of chorus_ranker_create().
rt::StatusOr<Handle<chorus_ranker>>
createRanker(chorus_engine &engine, const chorus_rank_options &options);

/// Ranks a result. `messages`: a JSON array, or null. Errors: those of
/// chorus_rank().
rt::Status rank(chorus_ranker &ranker, chorus_result &result,
                const std::string *messages);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_HEADERRUN_H
