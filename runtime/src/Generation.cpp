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
