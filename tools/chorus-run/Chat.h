//===- Chat.h - A conversation on a terminal --------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_CHAT_H
#define CHORUS_TOOLS_CHORUS_RUN_CHAT_H

#include "Options.h"

#include "chorus_rt/EngineHandle.h"

namespace chorus::run {

/// Reads user messages from the terminal and answers them, until the end of
/// input or a signal.
rt::Status chat(chorus_engine &handle, const Options &options);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_CHAT_H
