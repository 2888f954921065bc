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
  for (float logprob : logprobs)
    sum += logprob;
  return logprobs.empty() ? 0 : sum / static_cast<double>(logprobs.size());
}

} // namespace chorus::rt
