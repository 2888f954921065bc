//===- Replay.h - From a record back to its candidate -----------*- C++ -*-===//

#ifndef CHORUS_RT_REPLAY_H
#define CHORUS_RT_REPLAY_H

#include "chorus_rt/Generation.h"
#include "chorus_rt/Program.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// What a record says about its candidate.
struct RecordedCandidate {
  Request request; ///< For this one candidate.
  std::vector<int32_t> tokenIds;
  std::vector<float> logprobs;
  std::string artifactSha256, numericProfile;
};

/// Reads a record: one JSON object, as Record.h writes it, from line `number`
/// of `file`. Errors, exit code 3: J01 (no JSON), J04 (a field is missing or
/// has another type), and those of RequestLine.h for its values.
StatusOr<RecordedCandidate> parseRecord(std::string_view json,
                                        const std::string &file, int64_t number,
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
