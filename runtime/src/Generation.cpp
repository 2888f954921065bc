//===- Generation.cpp - Requests and what comes of them -------------------===//

#include "chorus_rt/Generation.h"

namespace chorus::rt {

std::string_view finishReasonName(FinishReason reason) {
  switch (reason) {
  case FinishReason::Stop:
    return "stop";
  case FinishReason::StopString:
    return "stop_string";
  case FinishReason::Length:
    return "length";
  case FinishReason::Cancelled:
    return "cancelled";
  case FinishReason::Error:
    return "error";
  }
  return "";
}

Status Request::validate(int64_t vocabSize) const {
  if (candidates < (scoredTokens.empty() ? 1 : 0) || candidates > maxCandidates)
    return usageError("n is " + std::to_string(candidates) +
                      ", allowed is 1 to " + std::to_string(maxCandidates));
  if (firstCandidate < 0 || firstCandidate > UINT32_MAX - maxCandidates)
    return usageError("candidate is " + std::to_string(firstCandidate) +
                      ", allowed is 0 to " +
                      std::to_string(UINT32_MAX - maxCandidates));
  if (maxTokens < 1)
    return usageError("max-tokens is " + std::to_string(maxTokens) +
                      ", allowed is 1 and up");
  return sampling.validate(vocabSize);
}

double Candidate::meanLogprob() const {
  double sum = 0;
  auto nextForced = forced.begin();
  for (size_t i = 0; i < logprobs.size(); ++i) {
    if (nextForced != forced.end() && static_cast<size_t>(*nextForced) == i)
      ++nextForced;
    else
      sum += logprobs[i];
  }
  int64_t count = sampledTokens();
  return count == 0 ? 0 : sum / static_cast<double>(count);
}

} // namespace chorus::rt
