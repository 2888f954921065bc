//===- ChildProcess.h - Work with memory peaks of its own -------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_BENCH_CHILDPROCESS_H
#define CHORUS_TOOLS_CHORUS_BENCH_CHILDPROCESS_H

#include "chorus_rt/Status.h"

#include <nlohmann/json_fwd.hpp>

#include <functional>

namespace chorus::bench {

/// Runs `work` in a child process and returns what it gave. The caller has no
/// threads. Internal error (exit 70) if the child dies.
rt::StatusOr<nlohmann::ordered_json>
runInChild(const std::function<rt::StatusOr<nlohmann::ordered_json>()> &work);

} // namespace chorus::bench

#endif // CHORUS_TOOLS_CHORUS_BENCH_CHILDPROCESS_H
