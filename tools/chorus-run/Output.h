//===- Output.h - What chorus-run prints ------------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_RUN_OUTPUT_H
#define CHORUS_TOOLS_CHORUS_RUN_OUTPUT_H

#include "Options.h"

#include "chorus_rt/CandidateRanker.h"
#include "chorus_rt/Prompt.h"
#include "chorus_rt/Record.h"

#include <map>
#include <string>
#include <string_view>

namespace chorus::run {

/// Writes to stdout; W12 (exit 5) when nobody reads any more.
rt::Status print(std::string_view text);
/// Makes what was printed visible.
rt::Status flushOutput();

/// "1,2,3".
std::string joinIds(const std::vector<int32_t> &ids);

/// --print-prompt.
rt::Status printPrompt(const rt::Prompt &prompt, bool json);

/// --stream: tokens as they come. As JSON a line each; as text, one candidate's
/// text as it is, several candidates' by whole lines with their number before.
class StreamPrinter {
public:
  StreamPrinter(bool json, bool several) : json(json), several(several) {}
  rt::Status onToken(const rt::TokenEvent &event);

private:
  bool json;
  bool several;
  std::map<int64_t, std::string> lines; // Unfinished, by candidate.
};

/// The results of a request, ranked: records in candidate order, or text by
/// rank.
rt::Status printResults(const Options &options,
                        const rt::RecordContext &context,
                        const std::vector<rt::Candidate> &candidates,
                        const rt::Ranking &ranking);

} // namespace chorus::run

#endif // CHORUS_TOOLS_CHORUS_RUN_OUTPUT_H
