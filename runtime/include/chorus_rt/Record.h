//===- Record.h - Results as JSON lines -------------------------*- C++ -*-===//
//
// One object a line and candidate. Log-probabilities are f32 in the shortest
// form that reads back as the same bits; no locale changes them.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_RECORD_H
#define CHORUS_RT_RECORD_H

#include "chorus_rt/Engine.h"
#include "chorus_rt/Generation.h"
#include "chorus_rt/Ranker.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chorus::rt {

/// What the records of one request have in common.
struct RecordContext {
  const Request *request = nullptr;
  std::string artifactSha256;
  std::string numericProfile;
  bool hasTokenizer = false; ///< Without, `text` is null.
  /// Where candidates are beams; then the sampling parameters mean nothing.
  std::optional<BeamOptions> beams;
};

/// A candidate's record, without a newline. With `ranking` it has scores,
/// answer and rank, and an error that its scoring met.
std::string recordLine(const RecordContext &context, const Candidate &candidate,
                       const CandidateRanking *ranking = nullptr);

/// The members at the end of every record of a request: artifact, profile,
/// parameters.
std::string recordOrigin(const RecordContext &context);

/// [{"answer":...,"count":...,"weight":...},...]
std::string votesArray(const std::vector<Vote> &votes);

/// {"1":...,"10":...} of pairs (k, pass@k).
std::string
passAtKObject(const std::vector<std::pair<int64_t, double>> &passAtK);

/// A token that has just been sampled, without a newline.
std::string tokenLine(const TokenEvent &event);

/// {"ids":[...],"logprobs":[...]} of one position.
std::string distributionObject(const TokenDistribution &distribution);

/// {"ids":[...]}.
std::string idsLine(const std::vector<int32_t> &ids);

/// Appends a JSON string literal. `text` is UTF-8.
void appendJsonString(std::string &out, std::string_view text);

} // namespace chorus::rt

#endif // CHORUS_RT_RECORD_H
