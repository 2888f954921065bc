//===- Jsonl.h - Requests of a file -----------------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_JSONL_H
#define CHORUS_TOOLS_CHORUS_RUN_JSONL_H

#include "Options.h"

#include "chorus_rt/Engine.h"
#include "support/Console.h"

namespace chorus::run {

/// --jsonl and --out.
rt::Status runRequestFile(rt::Engine &engine, const Options &options,
                          tool::Console &console);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_JSONL_H
