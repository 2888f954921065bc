//===- Replay.h - From a record back to its candidate -----------*- C++ -*-===//

#ifndef CHORUS_RT_REPLAY_H
#define CHORUS_RT_REPLAY_H

#include "chorus_rt/BeamSearch.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/Program.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// What a record says about its candidate.
struct RecordedCandidate {
  Request request; ///< For this one candidate.
  /// Where it is a beam; `request.firstCandidate` is its number.
  std::optional<BeamOptions> beams;
  std::vector<int32_t> tokenIds;
  std::vector<float> logprobs;
  std::string artifactSha256, numericProfile;
};

/// Reads line `number` of `file`: a record, as Record.h writes it, or a request
/// of a JSONL run, whose `candidates` are records. Errors, exit code 3: J01 (no
/// JSON, nested too deeply), J04 (a field is missing or has another type), and
/// those of RequestLine.h and BeamOptions for its values.
StatusOr<std::vector<RecordedCandidate>> parseRecords(std::string_view json,
                                                      const std::string &file,
                                                      int64_t number,
                                                      int64_t vocabSize);

/// Whether `program` gives the record's bits again. Usage error that names the
/// difference: another artifact or another numeric profile.
Status checkReplayable(const RecordedCandidate &recorded,
                       const Program &program);

/// Ok if tokens and log-probabilities are equal as bits, as far as the recorded
/// candidate came; else an error (exit code 1, code `replay`) that names the
/// first token that differs.
Status compareReplay(const RecordedCandidate &recorded,
                     const Candidate &replayed);

} // namespace chorus::rt

#endif // CHORUS_RT_REPLAY_H
