//===- Engine.cpp - Answers requests with a loaded model ------------------===//

#include "chorus_rt/Engine.h"

#include "chorus_rt/Calculator.h"
#include "chorus_rt/Detokenizer.h"
#include "chorus_rt/EntryPrograms.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <unistd.h>

namespace chorus::rt {

/// Rows whose logits are held at once where all of a text are wanted.
static constexpr int64_t distributionRows = 64;

/// Address space that the cache's pages may take.
static constexpr uint64_t maxPoolBytes = uint64_t(1) << 40;

/// Of the memory, one part in so many may hold prompts of former requests.
static constexpr uint64_t prefixShare = 16;

static Status checkOption(const char *name, int64_t value, int64_t low,
                          int64_t high) {
  if (value >= low && value <= high)
    return Status();
  return usageError(std::string(name) + " is " + std::to_string(value) +
                    ", allowed is " + std::to_string(low) + " to " +
                    std::to_string(high));
}

Status EngineOptions::validate() const {
  if (threads != 0)
    CHORUS_RETURN_IF_ERROR(
        checkOption("threads", threads, 1, ThreadPool::maxThreads));
  CHORUS_RETURN_IF_ERROR(checkOption("prefill-chunk", prefillChunk, 1, 65536));
  return checkOption("max-batch", maxBatch, 1, 65536);
}

/// Memory that a run may take.
static uint64_t allowedMemory(const EngineOptions &options) {
  if (options.maxMemory != 0)
    return options.maxMemory;
  long pages = sysconf(_SC_PHYS_PAGES), pageSize = sysconf(_SC_PAGESIZE);
  return pages > 0 && pageSize > 0
             ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(pageSize)
             : UINT64_MAX;
}

/// The step ABI's number for an option.
static int64_t sharingRows(SharedAttention option) {
  switch (option) {
  case SharedAttention::Auto:
    return 0;
  case SharedAttention::On:
    return 2;
  case SharedAttention::Off:
    return INT64_MAX;
  }
  return 0;
}

StatusOr<std::unique_ptr<Engine>>
Engine::create(std::shared_ptr<const Program> program,
               std::shared_ptr<const Tokenizer> tokenizer,
               const EngineOptions &options) try {
  std::unique_ptr<Engine> engine(new Engine());
  engine->loaded = std::move(program);
  engine->text = std::move(tokenizer);
  CHORUS_RETURN_IF_ERROR(engine->build(options));
  return engine;
} catch (const std::bad_alloc &) {
  return limitError("N10", "engine", "out of memory");
}

StatusOr<std::shared_ptr<const Tokenizer>>
loadTokenizer(const Artifact &artifact, const ModelInfo &model) {
  if (!model.tokenizerSegment)
    return std::shared_ptr<const Tokenizer>();
  StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::create(artifact.segmentBytes(*model.tokenizerSegment));
  CHORUS_RETURN_IF_ERROR(tokenizer.status());
  return std::shared_ptr<const Tokenizer>(std::move(*tokenizer));
}

StatusOr<std::unique_ptr<Engine>>
Engine::open(std::shared_ptr<const Artifact> artifact, size_t model,
             std::string_view cpu, const EngineOptions &options) {
  StatusOr<std::shared_ptr<const Program>> program =
      Program::load(std::move(artifact), model, cpu);
  CHORUS_RETURN_IF_ERROR(program.status());
  StatusOr<std::shared_ptr<const Tokenizer>> tokenizer =
      loadTokenizer((*program)->artifact(), (*program)->model());
  CHORUS_RETURN_IF_ERROR(tokenizer.status());
  return create(std::move(*program), std::move(*tokenizer), options);
}

Engine::~Engine() = default;

Request Engine::defaultRequest() const {
  Request request;
  const SamplingDefaultsInfo &ofModel = loaded->model().sampling;
  SamplingParameters &sampling = request.sampling;
  sampling.temperature = ofModel.temperature.value_or(sampling.temperature);
  sampling.topK = ofModel.topK.value_or(sampling.topK);
  sampling.topP = ofModel.topP.value_or(sampling.topP);
  sampling.minP = ofModel.minP.value_or(sampling.minP);
  return request;
}

Status Engine::build(const EngineOptions &options) {
  CHORUS_RETURN_IF_ERROR(options.validate());
  limits = options;
  const ModelInfo &model = loaded->model();
  context = model.contextLength;
  if (options.contextLength != 0) {
    CHORUS_RETURN_IF_ERROR(
        checkOption("context", options.contextLength, 1, context));
    context = options.contextLength;
  }
  pool = std::make_unique<ThreadPool>(options.threads ? options.threads
                                                      : availableCores());
  if (loaded->stepEntry()) {
    stepProgram = std::make_unique<StepEntryProgram>(loaded);
    CHORUS_RETURN_IF_ERROR(buildPages());
    decoder = std::make_unique<PagedDecoder>(
        *stepProgram, *pages, *pool, sharingRows(options.sharedAttention));
  } else {
    StatusOr<std::unique_ptr<PlainEntryProgram>> plain =
        PlainEntryProgram::create(loaded);
    CHORUS_RETURN_IF_ERROR(plain.status());
    sequenceProgram = std::move(*plain);
    decoder = std::make_unique<RecomputingDecoder>(*sequenceProgram, *pool);
  }
  if (decoder->vocabSize() < 1 || decoder->vocabSize() > Sampler::maxVocab)
    return unsupported(
        escapeForMessage(loaded->artifact().path()) + ": models[0].vocab_size",
        std::to_string(decoder->vocabSize()) + ", supported is 1 to " +
            std::to_string(Sampler::maxVocab));
  sampler = std::make_unique<Sampler>(
      decoder->vocabSize(), loaded->samplingMasses(), loaded->samplingSums());
  SchedulerOptions schedulerOptions;
  schedulerOptions.maxBatch = options.maxBatch;
  schedulerOptions.prefillChunk = options.prefillChunk;
  schedulerOptions.contextLength = context;
  schedulerOptions.stopIds.assign(model.stopIds.begin(), model.stopIds.end());
  if (const Artifact &artifact = loaded->artifact();
      &model == &artifact.models().front())
    schedulerOptions.valueHead = artifact.metadata().valueHead;
  schedulerOptions.lateFork = options.lateFork;
  schedulerOptions.prefixPages =
      pages && options.prefixCache
          ? static_cast<int64_t>(allowedMemory(limits) / prefixShare /
                                 pages->pageBytes())
          : 0;
  TokenBytes tokenBytes;
  if (text)
    tokenBytes = [tokenizer = text.get()](int32_t id) -> std::string_view {
      // The model may have more columns than the tokenizer has tokens.
      StatusOr<std::string_view> bytes = tokenizer->tokenBytes(id);
      return bytes.ok() ? *bytes : std::string_view();
    };
  scheduler = std::make_unique<Scheduler>(
      *decoder, *sampler, *pool, std::move(tokenBytes), schedulerOptions);
  return Status();
}

/// Pages for as many whole contexts as run at once, within the memory: what is
/// not used takes address space only.
Status Engine::buildPages() {
  uint64_t pageBytes = stepProgram->pageBytes();
  uint64_t allowed = allowedMemory(limits), fixed = memoryOfSteps();
  uint64_t memory = allowed > fixed ? allowed - fixed : 0;
  uint64_t wanted = static_cast<uint64_t>(pagesFor(context)) *
                    static_cast<uint64_t>(limits.maxBatch + 1);
  int64_t capacity = static_cast<int64_t>(
      std::min({wanted, memory / pageBytes, maxPoolBytes / pageBytes}));
  // Where address space is limited (ulimit -v), a smaller cache may do.
  while (true) {
    StatusOr<std::unique_ptr<KVPool>> created =
        KVPool::create(pageBytes, capacity);
    if (created.ok()) {
      pages = std::move(*created);
      return Status();
    }
    if (capacity <= pagesFor(context) / 4 + 1)
      return created.status();
    capacity /= 2;
  }
}

/// A sum or product that overflows is more than any memory.
static uint64_t addBytes(uint64_t a, uint64_t b) {
  return __builtin_add_overflow(a, b, &a) ? UINT64_MAX : a;
}
static uint64_t multiplyBytes(uint64_t a, uint64_t b) {
  return __builtin_mul_overflow(a, b, &a) ? UINT64_MAX : a;
}

uint64_t Engine::memoryWithoutPages(uint64_t arenaBytes,
                                    int64_t logitsRows) const {
  uint64_t vocab = static_cast<uint64_t>(
      stepProgram ? stepProgram->vocabSize() : sequenceProgram->vocabSize());
  uint64_t rowBytes = vocab * sizeof(float);
  uint64_t sum = addBytes(loaded->artifact().fileSize(), arenaBytes);
  sum =
      addBytes(sum, multiplyBytes(rowBytes, static_cast<uint64_t>(logitsRows)));
  return addBytes(sum, static_cast<uint64_t>(pool->threads()) * vocab * 16);
}

/// Of a step program, for steps as full as they may be.
uint64_t Engine::memoryOfSteps() const {
  int64_t batch = limits.maxBatch;
  int64_t chunk = std::min(limits.prefillChunk, context);
  return memoryWithoutPages(stepProgram->arenaBytes(chunk + batch, batch),
                            batch);
}

uint64_t Engine::memoryNeeded(const Request &request) const {
  if (stepProgram)
    return addBytes(
        memoryOfSteps(),
        multiplyBytes(static_cast<uint64_t>(scheduler->pagesNeeded(request)),
                      stepProgram->pageBytes()));
  int64_t longest =
      std::min(context, static_cast<int64_t>(request.prompt.size()) +
                            std::min(request.maxTokens, context));
  return memoryWithoutPages(sequenceProgram->arenaBytes(longest),
                            std::min(request.candidates, limits.maxBatch) +
                                longest);
}

/// What the first forces, then what the second does.
static ForceCallback both(const ForceCallback &first,
                          const ForceCallback &second) {
  if (!second)
    return first;
  return [=](const TokenEvent &event, std::vector<int32_t> &next) {
    std::vector<int32_t> more;
    CHORUS_RETURN_IF_ERROR(first(event, next));
    CHORUS_RETURN_IF_ERROR(second(event, more));
    next.insert(next.end(), more.begin(), more.end());
    return Status();
  };
}

StatusOr<int64_t> Engine::submit(Request request, RequestHooks hooks) {
  CHORUS_RETURN_IF_ERROR(scheduler->check(request));
  uint64_t needed = memoryNeeded(request), allowed = allowedMemory(limits);
  if (needed > allowed)
    return limitError(
        "N10", "max-memory",
        "the run needs " + std::to_string(needed) + " bytes, allowed are " +
            std::to_string(allowed) +
            "; fewer max-tokens or a smaller max-batch need less");
  if (request.calculator) {
    if (!text)
      return usageError("the calculator needs a tokenizer, and the model has "
                        "none");
    hooks.forceTokens = both(calculatorHook(*text), hooks.forceTokens);
  }
  return scheduler->submit(std::move(request), std::move(hooks));
}

Status Engine::step() {
  Status status = scheduler->step();
  if (!status.ok())
    scheduler->cancelAll();
  return status;
}

StatusOr<Generation> Engine::generate(const Request &request,
                                      const GenerationHooks &hooks) try {
  StatusOr<int64_t> number = submit(request, hooks);
  CHORUS_RETURN_IF_ERROR(number.status());
  Status status;
  while (status.ok() && !isFinished(*number)) {
    if (hooks.shouldCancel && hooks.shouldCancel()) {
      cancel(*number);
      break;
    }
    status = step();
    if (status.ok() && hooks.onStep)
      hooks.onStep(progress(*number));
  }
  Generation generation = take(*number);
  CHORUS_RETURN_IF_ERROR(status);
  return generation;
} catch (const std::bad_alloc &) {
  return limitError("N10", "engine", "out of memory");
}

Candidate Engine::candidateOf(const Beam &beam, int64_t index) const {
  Candidate candidate;
  candidate.index = index;
  candidate.tokenIds = beam.tokens;
  candidate.logprobs = beam.logprobs;
  candidate.finishReason =
      beam.stopped ? FinishReason::Stop : FinishReason::Length;
  if (text) {
    Detokenizer detokenizer;
    for (size_t i = 0; i + beam.stopped < beam.tokens.size(); ++i)
      // The model may have more columns than the tokenizer has tokens.
      (void)detokenizer.append(*text, beam.tokens[i], candidate.text);
    detokenizer.flush(candidate.text);
  }
  return candidate;
}

StatusOr<BeamResults>
Engine::beamSearch(const Request &request, const BeamOptions &options,
                   const std::function<bool()> &shouldCancel) try {
  CHORUS_RETURN_IF_ERROR(options.validate());
  CHORUS_RETURN_IF_ERROR(scheduler->check(request));
  int64_t length = static_cast<int64_t>(request.prompt.size());
  BeamTask task;
  task.prompt = request.prompt;
  task.maxTokens = std::min(request.maxTokens, context - length);
  if (!request.ignoreEos) {
    const auto &stopIds = loaded->model().stopIds;
    task.stopIds.assign(stopIds.begin(), stopIds.end());
    std::sort(task.stopIds.begin(), task.stopIds.end());
  }
  task.prefillChunk = sequenceProgram ? length : limits.prefillChunk;
  task.options = options;
  task.shouldCancel = shouldCancel;
  if (pages) {
    // Whole pages of the prompt once, and each beam's own.
    int64_t shared = length / CHORUS_PAGE_POSITIONS;
    int64_t needed =
        shared + options.beams * (pagesFor(length + task.maxTokens) - shared);
    if (needed > pages->capacity())
      return limitError("N09", "key-value cache",
                        "the beams take " + std::to_string(needed) +
                            " pages, there are " +
                            std::to_string(pages->capacity()));
    scheduler->makeRoom(needed);
  }
  StatusOr<std::vector<Beam>> beams =
      rt::beamSearch(*decoder, *pool, task, loaded->scalarFunctions());
  CHORUS_RETURN_IF_ERROR(beams.status());
  BeamResults results;
  for (const Beam &beam : *beams) {
    results.candidates.push_back(
        candidateOf(beam, static_cast<int64_t>(results.candidates.size())));
    results.scores.push_back(beam.score);
  }
  return results;
} catch (const std::bad_alloc &) {
  return limitError("N10", "engine", "out of memory");
}

Status Engine::distributions(
    const std::vector<int32_t> &ids, int64_t count,
    const std::function<Status(const TokenDistribution &)> &onPosition,
    const std::function<bool()> &shouldCancel) try {
  int64_t vocab = decoder->vocabSize();
  int64_t length = static_cast<int64_t>(ids.size());
  Request asRequest;
  asRequest.prompt = ids;
  asRequest.maxTokens = 1;
  CHORUS_RETURN_IF_ERROR(scheduler->check(asRequest));
  CHORUS_RETURN_IF_ERROR(checkOption("echo-logprobs", count, 1, vocab));
  int64_t chunk = std::min({limits.prefillChunk, distributionRows, length});
  // A stateless model computes everything in one call, not once a chunk.
  if (sequenceProgram)
    chunk = length;
  scheduler->makeRoom(scheduler->pagesNeeded(asRequest));
  ScratchBuffer logits;
  CHORUS_RETURN_IF_ERROR(logits.reserve(static_cast<uint64_t>(chunk) *
                                        static_cast<uint64_t>(vocab) *
                                        sizeof(float)));
  std::vector<float> logSumExp(static_cast<size_t>(chunk));
  std::vector<TokenDistribution> results(static_cast<size_t>(chunk));
  Sequence sequence = decoder->newSequence();
  sequence.append(ids);
  while (sequence.computed() < length) {
    if (shouldCancel && shouldCancel())
      return Status();
    int64_t first = sequence.computed();
    int64_t rows = std::min(chunk, length - first);
    CHORUS_RETURN_IF_ERROR(decoder->step({{&sequence, rows, rows}},
                                         logits.as<float>(), logSumExp.data()));
    for (int64_t i = 0; i < rows; ++i)
      if (!std::isfinite(logSumExp[static_cast<size_t>(i)]))
        return Status::error(ExitCode::SomeRecordsFailed, "N01", "logits",
                             "the model gave NaN or infinity at position " +
                                 std::to_string(first + i));
    std::atomic<bool> outOfMemory{false};
    pool->forEachRange(rows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        TokenDistribution &result = results[static_cast<size_t>(i)];
        result.position = first + i;
        try {
          Sampler::likeliest(logits.as<float>() + i * vocab, vocab,
                             logSumExp[static_cast<size_t>(i)], count,
                             result.ids, result.logprobs);
        } catch (const std::bad_alloc &) {
          outOfMemory = true;
        }
      }
    });
    if (outOfMemory)
      return limitError("N10", "engine", "out of memory");
    for (int64_t i = 0; i < rows; ++i)
      CHORUS_RETURN_IF_ERROR(onPosition(results[static_cast<size_t>(i)]));
  }
  return Status();
} catch (const std::bad_alloc &) {
  return limitError("N10", "engine", "out of memory");
}

} // namespace chorus::rt
