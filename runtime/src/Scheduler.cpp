//===- Scheduler.cpp - Fills each step with rows of many requests ---------===//

#include "chorus_rt/Scheduler.h"

#include "chorus_rt/Detokenizer.h"
#include "chorus_rt/Philox.h"
#include "chorus_rt/StopStrings.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

namespace chorus::rt {

using Clock = std::chrono::steady_clock;

/// A request on its way.
struct Scheduler::Waiting {
  int64_t number = 0;
  Request request;
  TokenCallback onToken;
  StopStrings stop;
  /// Distinct tokens of the prompt, rising, for the repetition penalty.
  std::vector<int32_t> promptTokens;
  Sequence prompt;
  /// Pages of its prompt and of one candidate are reserved.
  bool started = false;
  bool promptDone = false;
  /// Logits after the prompt, from which every candidate's first token is
  /// drawn; kept until the last one has started.
  std::vector<float> promptLogits;
  float promptLogSumExp = 0;
  int64_t nextCandidate = 0; ///< Not started yet, counted from 0.
  int64_t finished = 0;
  Clock::time_point submitted;
  Generation generation;

  bool done() const { return finished == request.candidates; }
};

/// A candidate that runs.
struct Scheduler::Active {
  Active(Waiting &request, Candidate &result)
      : request(request), result(result), stop(request.stop) {}

  Waiting &request;
  Candidate &result;
  Sequence sequence;
  TokenCounts generated;
  StopMatcher stop;
  Detokenizer detokenizer;
  bool finished = false;
};

Scheduler::Scheduler(Decoder &decoder, const Sampler &sampler,
                     ThreadPool &threads, TokenBytes tokenBytes,
                     SchedulerOptions options)
    : decoder(decoder), sampler(sampler), threads(threads),
      tokenBytes(std::move(tokenBytes)), options(std::move(options)) {}

Scheduler::~Scheduler() = default;

/// Tokens that a candidate may have: context and max-tokens allow it.
int64_t Scheduler::tokenLimit(const Request &request) const {
  return std::min(request.maxTokens,
                  options.contextLength -
                      static_cast<int64_t>(request.prompt.size()));
}

/// Pages of one candidate beyond those of its prompt. The last token is never
/// computed.
int64_t Scheduler::pagesOfCandidate(const Request &request) const {
  int64_t prompt = static_cast<int64_t>(request.prompt.size());
  return decoder.pagesToGrow(prompt, prompt + tokenLimit(request) - 1);
}

int64_t Scheduler::pagesNeeded(const Request &request) const {
  return decoder.pagesToGrow(0, static_cast<int64_t>(request.prompt.size())) +
         std::min(request.candidates, options.maxBatch) *
             pagesOfCandidate(request);
}

Status Scheduler::check(const Request &request) const {
  int64_t vocab = decoder.vocabSize();
  int64_t contextLength = options.contextLength;
  if (request.candidates < 1 || request.candidates > Request::maxCandidates)
    return usageError("n is " + std::to_string(request.candidates) +
                      ", allowed is 1 to " +
                      std::to_string(Request::maxCandidates));
  if (request.firstCandidate < 0 ||
      request.firstCandidate > UINT32_MAX - Request::maxCandidates)
    return usageError("candidate is " + std::to_string(request.firstCandidate) +
                      ", allowed is 0 to " +
                      std::to_string(UINT32_MAX - Request::maxCandidates));
  if (request.maxTokens < 1)
    return usageError("max-tokens is " + std::to_string(request.maxTokens) +
                      ", allowed is 1 and up");
  CHORUS_RETURN_IF_ERROR(request.sampling.validate(vocab));
  if (request.prompt.empty())
    return usageError("the prompt has no tokens, needed is at least one");
  if (static_cast<int64_t>(request.prompt.size()) > contextLength)
    return usageError("the prompt has " +
                      std::to_string(request.prompt.size()) +
                      " tokens, allowed are " + std::to_string(contextLength) +
                      " (the context)");
  for (size_t i = 0; i < request.prompt.size(); ++i)
    if (request.prompt[i] < 0 || request.prompt[i] >= vocab)
      return usageError("prompt token " + std::to_string(i) + " is " +
                        std::to_string(request.prompt[i]) +
                        ", allowed is 0 to " + std::to_string(vocab - 1));
  if (!request.stop.empty() && !tokenBytes)
    return usageError("stop strings need a tokenizer, and the model has none");
  int64_t pages =
      decoder.pagesToGrow(0, static_cast<int64_t>(request.prompt.size())) +
      pagesOfCandidate(request);
  if (pages > decoder.pageCapacity())
    return limitError("N09", "key-value cache",
                      "one candidate takes " + std::to_string(pages) +
                          " pages, there are " +
                          std::to_string(decoder.pageCapacity()));
  return Status();
}

StatusOr<int64_t> Scheduler::submit(Request request,
                                    TokenCallback onToken) try {
  CHORUS_RETURN_IF_ERROR(check(request));
  StatusOr<StopStrings> stop = StopStrings::create(request.stop);
  CHORUS_RETURN_IF_ERROR(stop.status());
  auto waiting = std::make_unique<Waiting>();
  waiting->number = nextRequest++;
  waiting->onToken = std::move(onToken);
  waiting->stop = std::move(*stop);
  waiting->promptTokens = request.prompt;
  std::sort(waiting->promptTokens.begin(), waiting->promptTokens.end());
  waiting->promptTokens.erase(
      std::unique(waiting->promptTokens.begin(), waiting->promptTokens.end()),
      waiting->promptTokens.end());
  waiting->prompt = decoder.newSequence();
  waiting->prompt.append(request.prompt);
  waiting->generation.candidates.resize(
      static_cast<size_t>(request.candidates));
  for (int64_t i = 0; i < request.candidates; ++i)
    waiting->generation.candidates[static_cast<size_t>(i)].index =
        request.firstCandidate + i;
  waiting->submitted = Clock::now();
  waiting->request = std::move(request);
  // A context that is full already leaves no room for a token.
  if (tokenLimit(waiting->request) == 0)
    waiting->finished = waiting->request.candidates;
  requests.push_back(std::move(waiting));
  return requests.back()->number;
} catch (const std::bad_alloc &) {
  return limitError("N10", "request", "out of memory");
}

bool Scheduler::idle() const {
  return std::all_of(requests.begin(), requests.end(),
                     [](const auto &request) { return request->done(); });
}

/// Gives a sampled token to its candidate.
Status Scheduler::accept(Active &candidate, const SampledToken &token) {
  Candidate &result = candidate.result;
  const Request &request = candidate.request.request;
  TokenEvent event;
  size_t textBefore = result.text.size();
  auto finish = [&](FinishReason reason) {
    candidate.finished = true;
    result.finishReason = reason;
  };
  if (!token.status.ok()) {
    if (token.status.exitCode() != ExitCode::SomeRecordsFailed)
      return token.status;
    result.error = Status::error(
        token.status.exitCode(), token.status.code(),
        "candidate " + std::to_string(result.index) + ", position " +
            std::to_string(candidate.sequence.length()),
        token.status.message());
    finish(FinishReason::Error);
  } else {
    result.tokenIds.push_back(token.id);
    result.logprobs.push_back(token.logprob);
    candidate.generated.add(token.id);
    candidate.sequence.append(token.id);
    if (!request.ignoreEos &&
        std::binary_search(options.stopIds.begin(), options.stopIds.end(),
                           token.id)) {
      finish(FinishReason::Stop);
    } else if (tokenBytes) {
      std::string visible;
      if (candidate.stop.append(tokenBytes(token.id), visible))
        finish(FinishReason::StopString);
      candidate.detokenizer.append(visible, result.text);
    }
    if (!candidate.finished &&
        static_cast<int64_t>(result.tokenIds.size()) >= tokenLimit(request))
      finish(FinishReason::Length);
    event.tokenId = token.id;
    event.logprob = token.logprob;
  }
  if (candidate.finished && tokenBytes) {
    if (result.finishReason != FinishReason::StopString) {
      std::string visible;
      candidate.stop.flush(visible);
      candidate.detokenizer.append(visible, result.text);
    }
    candidate.detokenizer.flush(result.text);
  }
  if (!candidate.request.onToken)
    return Status();
  event.candidate = result.index;
  event.textDelta = std::string_view(result.text).substr(textBefore);
  event.last = candidate.finished;
  return candidate.request.onToken(event);
}

Status Scheduler::sampleAndAccept(const std::vector<Active *> &candidates,
                                  const std::vector<const float *> &rows,
                                  const std::vector<float> &rowLogSumExp) {
  std::vector<SampledToken> tokens(candidates.size());
  threads.forEachRange(
      static_cast<int64_t>(candidates.size()), [&](int64_t begin, int64_t end) {
        for (size_t i = static_cast<size_t>(begin);
             i < static_cast<size_t>(end); ++i) {
          const Active &candidate = *candidates[i];
          const Request &request = candidate.request.request;
          uint32_t index =
              static_cast<uint32_t>(candidate.result.tokenIds.size());
          SamplerRow row;
          row.logits = rows[i];
          row.logSumExp = rowLogSumExp[i];
          row.parameters = &request.sampling;
          row.promptTokens = &candidate.request.promptTokens;
          row.generated = &candidate.generated;
          if (index < request.sampling.minTokens)
            row.masked = &options.stopIds;
          row.random24 =
              uniform24(request.sampling.seed,
                        static_cast<uint32_t>(candidate.result.index), index);
          tokens[i] = sampler.sample(row);
        }
      });
  for (size_t i = 0; i < candidates.size(); ++i)
    CHORUS_RETURN_IF_ERROR(accept(*candidates[i], tokens[i]));
  return Status();
}

void Scheduler::retireFinished() {
  for (std::unique_ptr<Active> &candidate : active) {
    if (!candidate->finished)
      continue;
    Waiting &request = candidate->request;
    ++request.finished;
    if (request.done())
      request.generation.total = Clock::now() - request.submitted;
    reservedPages -= pagesOfCandidate(request.request);
    if (request.done())
      reservedPages -= decoder.pagesToGrow(
          0, static_cast<int64_t>(request.request.prompt.size()));
    candidate.reset();
  }
  active.erase(std::remove(active.begin(), active.end(), nullptr),
               active.end());
}

/// Starts candidates of a request whose prompt is done while there is room.
Status Scheduler::admitCandidates(Waiting &request) {
  std::vector<Active *> started;
  while (request.nextCandidate < request.request.candidates &&
         static_cast<int64_t>(active.size()) < options.maxBatch) {
    // Those of the first one were reserved with the prompt's.
    int64_t pages =
        request.nextCandidate == 0 ? 0 : pagesOfCandidate(request.request);
    if (reservedPages + pages > decoder.pageCapacity())
      break;
    Candidate &result =
        request.generation
            .candidates[static_cast<size_t>(request.nextCandidate)];
    auto candidate = std::make_unique<Active>(request, result);
    ++request.nextCandidate;
    reservedPages += pages;
    // The last one takes over the prompt's own pages.
    if (request.nextCandidate == request.request.candidates)
      candidate->sequence = std::move(request.prompt);
    else
      candidate->sequence = request.prompt.fork();
    started.push_back(candidate.get());
    active.push_back(std::move(candidate));
  }
  if (started.empty())
    return Status();
  std::vector<const float *> rows(started.size(), request.promptLogits.data());
  std::vector<float> sums(started.size(), request.promptLogSumExp);
  CHORUS_RETURN_IF_ERROR(sampleAndAccept(started, rows, sums));
  if (request.generation.firstTokens.count() == 0)
    request.generation.firstTokens = Clock::now() - request.submitted;
  if (request.nextCandidate == request.request.candidates)
    request.promptLogits = std::vector<float>();
  retireFinished();
  return Status();
}

/// Reserves pages for the oldest request that has none, with room for one of
/// its candidates. So the request that began last can always go on once nothing
/// else runs, and everything that began ends.
void Scheduler::startNextRequest() {
  for (std::unique_ptr<Waiting> &request : requests) {
    if (request->started || request->done())
      continue;
    int64_t pages =
        decoder.pagesToGrow(
            0, static_cast<int64_t>(request->request.prompt.size())) +
        pagesOfCandidate(request->request);
    if (reservedPages + pages > decoder.pageCapacity())
      return;
    reservedPages += pages;
    request->started = true;
    return;
  }
}

Status Scheduler::step() try {
  startNextRequest();
  // Candidates that had to wait for room.
  for (std::unique_ptr<Waiting> &request : requests)
    if (request->promptDone && !request->done())
      CHORUS_RETURN_IF_ERROR(admitCandidates(*request));

  std::vector<SequenceRows> batch;
  std::vector<Active *> decoding;
  for (std::unique_ptr<Active> &candidate : active) {
    batch.push_back({&candidate->sequence, 1, 1});
    decoding.push_back(candidate.get());
  }
  Waiting *prefilling = nullptr;
  for (std::unique_ptr<Waiting> &request : requests)
    if (request->started && !request->promptDone && !request->done()) {
      prefilling = request.get();
      break;
    }
  bool promptEnds = false;
  if (prefilling) {
    Sequence &prompt = prefilling->prompt;
    int64_t rows =
        std::min(options.prefillChunk, prompt.length() - prompt.computed());
    promptEnds = prompt.computed() + rows == prompt.length();
    batch.push_back({&prompt, rows, promptEnds ? 1 : 0});
  }
  if (batch.empty())
    return Status();

  size_t vocab = static_cast<size_t>(decoder.vocabSize());
  size_t outputs = decoding.size() + (promptEnds ? 1 : 0);
  CHORUS_RETURN_IF_ERROR(
      logits.reserve(std::max<size_t>(outputs, 1) * vocab * sizeof(float)));
  logSumExp.resize(outputs);
  CHORUS_RETURN_IF_ERROR(
      decoder.step(batch, logits.as<float>(), logSumExp.data()));

  if (promptEnds) {
    const float *row = logits.as<float>() + decoding.size() * vocab;
    prefilling->promptLogits.assign(row, row + vocab);
    prefilling->promptLogSumExp = logSumExp[decoding.size()];
    prefilling->promptDone = true;
    prefilling->generation.promptTime = Clock::now() - prefilling->submitted;
  }
  std::vector<const float *> rows(decoding.size());
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = logits.as<float>() + i * vocab;
  CHORUS_RETURN_IF_ERROR(sampleAndAccept(decoding, rows, logSumExp));
  retireFinished();
  if (promptEnds)
    CHORUS_RETURN_IF_ERROR(admitCandidates(*prefilling));
  return Status();
} catch (const std::bad_alloc &) {
  return limitError("N10", "scheduler", "out of memory");
}

int64_t Scheduler::promptComputed(int64_t number) const {
  for (const std::unique_ptr<Waiting> &request : requests)
    if (request->number == number)
      return request->promptDone
                 ? static_cast<int64_t>(request->request.prompt.size())
                 : request->prompt.computed();
  return 0;
}

void Scheduler::cancelAll() {
  for (std::unique_ptr<Active> &candidate : active)
    if (!candidate->finished) {
      candidate->finished = true;
      candidate->result.finishReason = FinishReason::Cancelled;
    }
  active.clear();
  for (std::unique_ptr<Waiting> &request : requests) {
    for (Candidate &candidate : request->generation.candidates)
      if (candidate.tokenIds.empty() && candidate.error.ok())
        candidate.finishReason = FinishReason::Cancelled;
    request->finished = request->request.candidates;
    request->prompt.releasePages();
  }
  reservedPages = 0;
}

Generation Scheduler::take(int64_t number) {
  for (auto at = requests.begin(); at != requests.end(); ++at)
    if ((*at)->number == number) {
      assert((*at)->done());
      Generation generation = std::move((*at)->generation);
      requests.erase(at);
      return generation;
    }
  return Generation();
}

} // namespace chorus::rt
