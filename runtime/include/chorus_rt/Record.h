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

#include <optional>
#include <string>
#include <string_view>

namespace chorus::rt {

/// What the records of one request have in common.
struct RecordContext {
  const Request *request = nullptr;
  std::string artifactSha256;
  std::string numericProfile;
  bool hasTokenizer = false; ///< Without, `text` is null.
};

/// A candidate's record, without a newline. `rank`: with --rank.
std::string recordLine(const RecordContext &context, const Candidate &candidate,
                       std::optional<int64_t> rank = std::nullopt);

/// The members at the end of every record of a request: artifact, profile,
/// parameters.
std::string recordOrigin(const RecordContext &context);

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
