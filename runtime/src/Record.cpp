//===- Record.cpp - Results as JSON lines ---------------------------------===//

#include "chorus_rt/Record.h"

#include <charconv>
#include <cmath>

namespace chorus::rt {

void appendJsonString(std::string &out, std::string_view text) {
  static const char hex[] = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    unsigned char byte = static_cast<unsigned char>(c);
    switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      if (byte < 0x20 || byte == 0x7F) {
        out += "\\u00";
        out += hex[byte >> 4];
        out += hex[byte & 15];
      } else {
        out += c;
      }
    }
  }
  out += '"';
}

/// The shortest form that reads back as the same number; null if not finite.
template <typename T> static void appendNumber(std::string &out, T value) {
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value)) {
      out += "null";
      return;
    }
  char buffer[32];
  std::to_chars_result end =
      std::to_chars(buffer, buffer + sizeof buffer, value);
  out.append(buffer, end.ptr);
}

template <typename T>
static void appendArray(std::string &out, const std::vector<T> &values) {
  out += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0)
      out += ',';
    appendNumber(out, values[i]);
  }
  out += ']';
}

/// Appends `"name":`, after a comma unless it is an object's first.
static void appendKey(std::string &out, std::string_view name) {
  if (out.back() != '{')
    out += ',';
  appendJsonString(out, name);
  out += ':';
}

template <typename T>
static void appendField(std::string &out, std::string_view name, T value) {
  appendKey(out, name);
  appendNumber(out, value);
}

static void appendText(std::string &out, std::string_view name,
                       std::string_view text) {
  appendKey(out, name);
  appendJsonString(out, text);
}

static void appendParameters(std::string &out, const Request &request) {
  const SamplingParameters &sampling = request.sampling;
  appendKey(out, "parameters");
  out += '{';
  appendField(out, "max_tokens", request.maxTokens);
  appendField(out, "temperature", sampling.temperature);
  appendField(out, "top_k", sampling.topK);
  appendField(out, "top_p", sampling.topP);
  appendField(out, "min_p", sampling.minP);
  appendField(out, "repetition_penalty", sampling.repetitionPenalty);
  appendField(out, "presence_penalty", sampling.presencePenalty);
  appendField(out, "frequency_penalty", sampling.frequencyPenalty);
  appendKey(out, "logit_bias");
  out += '{';
  for (auto [id, bias] : sampling.logitBias)
    appendField(out, std::to_string(id), bias);
  out += '}';
  appendKey(out, "allowed");
  appendArray(out, sampling.allowedTokens);
  appendField(out, "min_tokens", sampling.minTokens);
  appendKey(out, "stop");
  out += '[';
  for (size_t i = 0; i < request.stop.size(); ++i) {
    if (i > 0)
      out += ',';
    appendJsonString(out, request.stop[i]);
  }
  out += ']';
  if (request.calculator)
    appendText(out, "tool", "calculator");
  appendKey(out, "ignore_eos");
  out += request.ignoreEos ? "true}" : "false}";
}

static void appendBeamParameters(std::string &out, const Request &request,
                                 const BeamOptions &beams) {
  appendKey(out, "parameters");
  out += '{';
  appendField(out, "max_tokens", request.maxTokens);
  appendField(out, "beams", beams.beams);
  appendField(out, "length_penalty", beams.lengthPenalty);
  appendText(out, "length_form",
             beams.lengthForm == LengthForm::GNMT ? "gnmt" : "power");
  appendKey(out, "ignore_eos");
  out += request.ignoreEos ? "true}" : "false}";
}

std::string recordOrigin(const RecordContext &context) {
  std::string out = "{";
  appendText(out, "artifact_sha256", context.artifactSha256);
  appendText(out, "profile", context.numericProfile);
  if (context.beams)
    appendBeamParameters(out, *context.request, *context.beams);
  else
    appendParameters(out, *context.request);
  return out.substr(1);
}

/// A member, null if there is no value.
template <typename T>
static void appendOptional(std::string &out, std::string_view name,
                           const std::optional<T> &value) {
  appendKey(out, name);
  if (value)
    appendNumber(out, *value);
  else
    out += "null";
}

static void appendRanking(std::string &out, const CandidateRanking &ranking) {
  appendKey(out, "scores");
  out += '{';
  appendOptional(out, "mean_logprob", ranking.meanLogprob);
  appendOptional(out, "vote", ranking.votes);
  if (!ranking.verifierName.empty()) {
    appendOptional(out, ranking.verifierName, ranking.verifier);
    appendOptional(out, "weighted_vote", ranking.weightedVotes);
  }
  if (ranking.beam)
    appendField(out, "beam", *ranking.beam);
  out += '}';
  appendKey(out, "answer");
  if (ranking.answer)
    appendJsonString(out, *ranking.answer);
  else
    out += "null";
  appendField(out, "rank", ranking.rank);
}

std::string recordLine(const RecordContext &context, const Candidate &candidate,
                       const CandidateRanking *ranking) {
  const Request &request = *context.request;
  std::string out = "{";
  appendText(out, "request", request.id);
  appendField(out, "candidate", candidate.index);
  appendField(out, "seed", request.sampling.seed);
  appendField(out, "prompt_tokens", request.prompt.size());
  appendKey(out, "prompt_ids");
  appendArray(out, request.prompt);
  appendKey(out, "token_ids");
  appendArray(out, candidate.tokenIds);
  appendKey(out, "logprobs");
  appendArray(out, candidate.logprobs);
  if (request.values) {
    appendKey(out, "values");
    appendArray(out, candidate.values);
  }
  if (context.hasTokenizer) {
    appendText(out, "text", candidate.text);
  } else {
    appendKey(out, "text");
    out += "null";
  }
  double mean =
      candidate.sampledTokens() ? candidate.meanLogprob() : std::nan("");
  appendField(out, "mean_logprob", mean);
  appendText(out, "finish_reason", finishReasonName(candidate.finishReason));
  // What went wrong with the candidate, else with its scoring.
  const Status &error =
      candidate.error.ok() && ranking ? ranking->error : candidate.error;
  if (!error.ok()) {
    appendKey(out, "error");
    out += '{';
    appendText(out, "code", error.code());
    appendText(out, "message", error.place() + ": " + error.message());
    out += '}';
  }
  if (ranking)
    appendRanking(out, *ranking);
  out += ',' + recordOrigin(context) + '}';
  return out;
}

std::string votesArray(const std::vector<Vote> &votes) {
  std::string out = "[";
  for (const Vote &vote : votes) {
    out += out.size() > 1 ? ",{" : "{";
    appendText(out, "answer", vote.answer);
    appendField(out, "count", vote.count);
    appendField(out, "weight", vote.weight);
    out += '}';
  }
  return out + ']';
}

std::string
passAtKObject(const std::vector<std::pair<int64_t, double>> &passAtK) {
  std::string out = "{";
  for (auto [k, value] : passAtK)
    appendField(out, std::to_string(k), value);
  return out + '}';
}

std::string tokenLine(const TokenEvent &event) {
  std::string out = "{";
  appendField(out, "candidate", event.candidate);
  appendField(out, "token_id", event.tokenId);
  appendField(out, "logprob", event.logprob);
  appendText(out, "text_delta", event.textDelta);
  out += '}';
  return out;
}

std::string distributionObject(const TokenDistribution &distribution) {
  std::string out = "{";
  appendKey(out, "ids");
  appendArray(out, distribution.ids);
  appendKey(out, "logprobs");
  appendArray(out, distribution.logprobs);
  out += '}';
  return out;
}

std::string idsLine(const std::vector<int32_t> &ids) {
  std::string out = "{";
  appendKey(out, "ids");
  appendArray(out, ids);
  out += '}';
  return out;
}

} // namespace chorus::rt
