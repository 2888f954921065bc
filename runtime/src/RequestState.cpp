//===- RequestState.cpp - A request on its way ----------------------------===//

#include "RequestState.h"

#include "chorus_rt/Philox.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace chorus::rt {

using Clock = std::chrono::steady_clock;

static Status notFinite() {
  return Status::error(ExitCode::SomeRecordsFailed, "N01", "logits",
                       "the model gave NaN or infinity");
}

//===----------------------------------------------------------------------===//
// Requests
//===----------------------------------------------------------------------===//

Status RequestState::check(const Request &request,
                           const GenerationRules &rules) {
  CHORUS_RETURN_IF_ERROR(request.validate(rules.vocabSize));
  if (request.values && !rules.valueHead)
    return usageError("values are wanted, and the model has no value head");
  if (request.prompt.empty())
    return usageError("the prompt has no tokens, needed is at least one");
  if (static_cast<int64_t>(request.prompt.size()) > rules.contextLength)
    return usageError("the prompt has " +
                      std::to_string(request.prompt.size()) +
                      " tokens, allowed are " +
                      std::to_string(rules.contextLength) + " (the context)");
  auto checkIds = [&](const char *what, const std::vector<int32_t> &ids) {
    for (size_t i = 0; i < ids.size(); ++i)
      if (ids[i] < 0 || ids[i] >= rules.vocabSize)
        return usageError(std::string(what) + " token " + std::to_string(i) +
                          " is " + std::to_string(ids[i]) +
                          ", allowed is 0 to " +
                          std::to_string(rules.vocabSize - 1));
    return Status();
  };
  CHORUS_RETURN_IF_ERROR(checkIds("prompt", request.prompt));
  CHORUS_RETURN_IF_ERROR(checkIds("scored", request.scoredTokens));
  if (!request.stop.empty() && !rules.tokenBytes)
    return usageError("stop strings need a tokenizer, and the model has none");
  return Status();
}

int64_t RequestState::tokenLimit(const Request &request,
                                 const GenerationRules &rules) {
  if (request.candidates == 0)
    return 0;
  return std::min(request.maxTokens,
                  rules.contextLength -
                      static_cast<int64_t>(request.prompt.size()));
}

RequestState::RequestState(int64_t number, Request given, RequestHooks hooks,
                           StopStrings strings, const GenerationRules &rules)
    : number(number), request(std::move(given)), hooks(std::move(hooks)),
      stop(std::move(strings)), rules(rules), limit(tokenLimit(request, rules)),
      promptTokens(request.prompt), submitted(Clock::now()) {
  std::sort(promptTokens.begin(), promptTokens.end());
  promptTokens.erase(std::unique(promptTokens.begin(), promptTokens.end()),
                     promptTokens.end());
  size_t count = static_cast<size_t>(request.candidates);
  generation.candidates.resize(count);
  candidates.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    Candidate &result = generation.candidates[i];
    result.index = request.firstCandidate + static_cast<int64_t>(i);
    candidates.emplace_back(result, stop);
    // A context that is full already leaves no room for a token.
    if (limit == 0)
      finish(candidates.back(), FinishReason::Length);
  }
}

void RequestState::endPrompt(const float *logits, float logSumExp) {
  promptDone = true;
  promptComputed = promptLength();
  generation.promptTime = Clock::now() - submitted;
  bool finite = std::isfinite(logSumExp);
  for (int32_t id : request.scoredTokens) {
    generation.scores.push_back(logits[id] - logSumExp);
    finite = finite && !std::isnan(logits[id]);
  }
  if (!finite && !request.scoredTokens.empty()) {
    generation.scores.clear();
    generation.scoreError = notFinite();
  }
  noteEnd();
}

GenerationProgress RequestState::progress() const {
  return {promptLength(), promptComputed, tokens, finishedCandidates,
          request.candidates};
}

void RequestState::noteEnd() {
  if (done())
    generation.total = Clock::now() - submitted;
}

void RequestState::cancel() {
  cancelled = true;
  for (CandidateState &candidate : candidates)
    if (!candidate.finished)
      finish(candidate, FinishReason::Cancelled);
  noteEnd();
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

SampledToken RequestState::draw(const CandidateState &candidate,
                                const float *logits, float logSumExp,
                                const Sampler &sampler) const {
  uint32_t index = static_cast<uint32_t>(candidate.result.tokenIds.size());
  SamplerRow row;
  row.logits = logits;
  row.logSumExp = logSumExp;
  row.parameters = &request.sampling;
  row.promptTokens = &promptTokens;
  row.generated = &candidate.generated;
  if (index < request.sampling.minTokens)
    row.masked = &rules.stopIds;
  row.random24 =
      uniform24(request.sampling.seed,
                static_cast<uint32_t>(candidate.result.index), index);
  return sampler.sample(row);
}

SampledToken RequestState::takeForced(CandidateState &candidate,
                                      const float *logits, float logSumExp) {
  SampledToken token;
  token.id = candidate.forced.front();
  candidate.forced.pop_front();
  token.logprob = logits[token.id] - logSumExp;
  if (!std::isfinite(logSumExp) || std::isnan(token.logprob))
    token.status = notFinite();
  return token;
}

void RequestState::endToken(CandidateState &candidate, const float *logits,
                            const std::vector<float> &values, size_t row) {
  const std::optional<ValueHeadInfo> &head = rules.valueHead;
  if (!request.values || !head || candidate.result.tokenIds.empty())
    return;
  float x = head->token ? logits[*head->token] : values[row];
  candidate.result.values.push_back(head->gain * x + head->bias);
  if (candidate.ending)
    finish(candidate, *candidate.ending);
}

std::vector<int32_t>
RequestState::nextTokens(const CandidateState &candidate) const {
  const std::vector<int32_t> &had = candidate.result.tokenIds;
  std::vector<int32_t> tokens = {had.back()};
  if (candidate.ending)
    return tokens;
  int64_t left = limit - static_cast<int64_t>(had.size());
  int64_t forced = static_cast<int64_t>(candidate.forced.size());
  tokens.insert(tokens.end(), candidate.forced.begin(),
                candidate.forced.begin() + std::min(forced, left - 1));
  return tokens;
}

void RequestState::endWith(CandidateState &candidate, FinishReason reason) {
  if (request.values && reason != FinishReason::Error)
    candidate.ending = reason;
  else
    finish(candidate, reason);
}

void RequestState::finish(CandidateState &candidate, FinishReason reason) {
  candidate.finished = true;
  candidate.result.finishReason = reason;
  ++finishedCandidates;
  noteEnd();
}

Status RequestState::accept(CandidateState &candidate,
                            const SampledToken &token, bool forced) {
  Candidate &result = candidate.result;
  TokenEvent event;
  event.candidate = result.index;
  event.forced = forced;
  size_t textBefore = result.text.size();
  std::optional<FinishReason> end;
  if (!token.status.ok()) {
    if (token.status.exitCode() != ExitCode::SomeRecordsFailed)
      return token.status;
    result.error = Status::error(
        token.status.exitCode(), token.status.code(),
        "candidate " + std::to_string(result.index) + ", position " +
            std::to_string(request.prompt.size() + result.tokenIds.size()),
        token.status.message());
    end = FinishReason::Error;
  } else {
    if (forced)
      result.forced.push_back(static_cast<int32_t>(result.tokenIds.size()));
    result.tokenIds.push_back(token.id);
    result.logprobs.push_back(token.logprob);
    candidate.generated.add(token.id);
    ++tokens;
    if (!request.ignoreEos &&
        std::binary_search(rules.stopIds.begin(), rules.stopIds.end(),
                           token.id)) {
      end = FinishReason::Stop;
    } else if (rules.tokenBytes) {
      std::string visible;
      if (candidate.stop.append(rules.tokenBytes(token.id), visible))
        end = FinishReason::StopString;
      candidate.detokenizer.append(visible, result.text);
    }
    if (!end && static_cast<int64_t>(result.tokenIds.size()) >= limit)
      end = FinishReason::Length;
    event.tokenId = token.id;
    event.logprob = token.logprob;
  }
  if (end && rules.tokenBytes) {
    if (*end != FinishReason::StopString) {
      std::string visible;
      candidate.stop.flush(visible);
      candidate.detokenizer.append(visible, result.text);
    }
    candidate.detokenizer.flush(result.text);
  }
  if (end)
    endWith(candidate, *end);
  if (generation.firstTokens.count() == 0)
    generation.firstTokens = Clock::now() - submitted;
  event.textDelta = std::string_view(result.text).substr(textBefore);
  event.last = end.has_value();
  if (hooks.onToken)
    CHORUS_RETURN_IF_ERROR(hooks.onToken(event));
  if (end || candidate.finished || !hooks.forceTokens)
    return Status();
  std::vector<int32_t> next;
  CHORUS_RETURN_IF_ERROR(hooks.forceTokens(event, next));
  for (int32_t id : next)
    if (id < 0 || id >= rules.vocabSize)
      return usageError("forced token is " + std::to_string(id) +
                        ", allowed is 0 to " +
                        std::to_string(rules.vocabSize - 1));
  candidate.forced.insert(candidate.forced.end(), next.begin(), next.end());
  return Status();
}

} // namespace chorus::rt
