//===- chorus.cpp - Chorus for C and other languages ----------------------===//

#include "chorus_rt/chorus.h"

#include "chorus_rt/CandidateRanker.h"
#include "chorus_rt/Engine.h"
#include "chorus_rt/EngineHandle.h"
#include "chorus_rt/Prompt.h"
#include "chorus_rt/Record.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

using namespace chorus::rt;

struct chorus_engine {
  std::unique_ptr<Engine> engine;
  std::string profile;
  /// Requests under way, for their results.
  std::map<int64_t, Request> requests;
};

struct chorus_forced {
  std::vector<int32_t> &ids;
};

struct chorus_result {
  Request request;
  Generation generation;
  RecordContext context;
  std::unique_ptr<const Ranking> ranking; ///< Null before it was ranked.
  std::vector<std::string> records;
};

struct chorus_ranker {
  CandidateRanker ranker;
};

chorus_engine *chorus::rt::handleOf(std::unique_ptr<Engine> engine) {
  auto handle = std::make_unique<chorus_engine>();
  handle->profile =
      std::string(engine->program().artifact().metadata().numericProfile);
  handle->engine = std::move(engine);
  return handle.release();
}

Engine &chorus::rt::engineOf(chorus_engine &handle) { return *handle.engine; }

const Generation &chorus::rt::generationOf(const chorus_result &result) {
  return result.generation;
}

const Ranking &chorus::rt::rankingOf(const chorus_result &result) {
  return *result.ranking;
}

static void copyText(std::string_view text, char *to, size_t capacity) {
  size_t length = std::min(text.size(), capacity - 1);
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
}

/// Fills in `error` and returns the exit code.
static int report(const Status &status, chorus_error *error) {
  int code = static_cast<int>(status.exitCode());
  if (!error)
    return code;
  error->exit_code = code;
  copyText(status.code(), error->code, sizeof error->code);
  const std::string &place = status.place();
  copyText(place.empty() ? status.message() : place + ": " + status.message(),
           error->message, sizeof error->message);
  return code;
}

/// Runs `body`, which gives a Status, and lets no exception out.
template <typename Body> static int guarded(chorus_error *error, Body &&body) {
  try {
    return report(body(), error);
  } catch (const std::bad_alloc &) {
    return report(limitError("N10", "", "out of memory"), error);
  } catch (const std::exception &failure) {
    return report(Status::error(ExitCode::Internal, "internal", "",
                                escapeForMessage(failure.what(), 300)),
                  error);
  }
}

/// A struct of a caller that may know fewer of its fields; those are as in
/// `defaults`.
template <typename T> static T known(const T &given, T defaults) {
  std::memcpy(&defaults, &given, std::min(given.size, sizeof given));
  return defaults;
}

//===----------------------------------------------------------------------===//
// Engines
//===----------------------------------------------------------------------===//

void chorus_engine_options_init(chorus_engine_options *options) {
  EngineOptions defaults;
  *options = {};
  options->size = sizeof *options;
  options->cpu = "auto";
  options->threads = defaults.threads;
  options->prefill_chunk = defaults.prefillChunk;
  options->max_batch = defaults.maxBatch;
  options->context_length = defaults.contextLength;
  options->max_memory = defaults.maxMemory;
  options->late_fork = defaults.lateFork;
  options->prefix_cache = defaults.prefixCache;
}

int chorus_open(const char *artifact_path, const chorus_engine_options *given,
                chorus_engine **engine, chorus_error *error) {
  *engine = nullptr;
  return guarded(error, [&]() -> Status {
    chorus_engine_options settings;
    chorus_engine_options_init(&settings);
    if (given)
      settings = known(*given, settings);
    EngineOptions options;
    options.threads = settings.threads;
    options.prefillChunk = settings.prefill_chunk;
    options.maxBatch = settings.max_batch;
    options.contextLength = settings.context_length;
    options.maxMemory = settings.max_memory;
    options.lateFork = settings.late_fork != 0;
    options.prefixCache = settings.prefix_cache != 0;
    StatusOr<std::shared_ptr<const Artifact>> artifact =
        Artifact::open(artifact_path);
    CHORUS_RETURN_IF_ERROR(artifact.status());
    StatusOr<std::unique_ptr<Engine>> opened =
        Engine::open(*artifact, /*model=*/0, settings.cpu, options);
    CHORUS_RETURN_IF_ERROR(opened.status());
    *engine = handleOf(std::move(*opened));
    return Status();
  });
}

void chorus_close(chorus_engine *engine) { delete engine; }

int64_t chorus_vocab_size(const chorus_engine *engine) {
  return engine->engine->program().model().vocabSize;
}

int64_t chorus_context_length(const chorus_engine *engine) {
  return engine->engine->contextLength();
}

const char *chorus_artifact_sha256(const chorus_engine *engine) {
  return engine->engine->program().artifact().artifactSha256().c_str();
}

const char *chorus_numeric_profile(const chorus_engine *engine) {
  return engine->profile.c_str();
}

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

void chorus_ids_free(chorus_ids *ids) {
  std::free(ids->ids);
  *ids = {};
}

/// Hands ids over to the caller.
static Status giveIds(const std::vector<int32_t> &from, chorus_ids *to) {
  size_t bytes = from.size() * sizeof(int32_t);
  to->ids = static_cast<int32_t *>(std::malloc(std::max<size_t>(bytes, 1)));
  if (!to->ids)
    return limitError("N10", "", "out of memory");
  std::copy(from.begin(), from.end(), to->ids);
  to->length = from.size();
  return Status();
}

static Status noTokenizer() {
  return unsupported("tokenizer", "the model has none; it takes token ids");
}

int chorus_tokenize(chorus_engine *engine, const char *text, size_t length,
                    int parse_special, chorus_ids *ids, chorus_error *error) {
  *ids = {};
  return guarded(error, [&]() -> Status {
    const Tokenizer *tokenizer = engine->engine->tokenizer();
    if (!tokenizer)
      return noTokenizer();
    StatusOr<Prompt> prompt = promptFromText(
        *tokenizer, std::string(text, length), parse_special != 0);
    CHORUS_RETURN_IF_ERROR(prompt.status());
    return giveIds(prompt->ids, ids);
  });
}

int chorus_render_chat(chorus_engine *engine, const char *messages,
                       size_t length, const char *template_text,
                       chorus_ids *ids, chorus_error *error) {
  *ids = {};
  return guarded(error, [&]() -> Status {
    const Tokenizer *tokenizer = engine->engine->tokenizer();
    if (!tokenizer)
      return noTokenizer();
    std::string source(template_text
                           ? std::string_view(template_text)
                           : engine->engine->program().model().chatTemplate);
    if (source.empty())
      return unsupported("chat template", "the model has none");
    StatusOr<nlohmann::ordered_json> parsed =
        parseMessages({messages, length}, "messages");
    CHORUS_RETURN_IF_ERROR(parsed.status());
    StatusOr<Prompt> prompt = promptFromMessages(*tokenizer, std::move(source),
                                                 *parsed, /*tools=*/nullptr,
                                                 /*parseSpecial=*/false);
    CHORUS_RETURN_IF_ERROR(prompt.status());
    return giveIds(prompt->ids, ids);
  });
}

//===----------------------------------------------------------------------===//
// Requests
//===----------------------------------------------------------------------===//

void chorus_request_init(const chorus_engine *engine, chorus_request *request) {
  Request defaults = engine->engine->defaultRequest();
  const SamplingParameters &sampling = defaults.sampling;
  *request = {};
  request->size = sizeof *request;
  request->candidates = defaults.candidates;
  request->max_tokens = defaults.maxTokens;
  request->temperature = sampling.temperature;
  request->top_k = sampling.topK;
  request->top_p = sampling.topP;
  request->min_p = sampling.minP;
  request->repetition_penalty = sampling.repetitionPenalty;
}

static Request requestOf(const chorus_request &from) {
  Request request;
  if (from.id)
    request.id = from.id;
  request.prompt.assign(from.prompt_ids, from.prompt_ids + from.prompt_length);
  request.firstCandidate = from.first_candidate;
  request.candidates = from.candidates;
  request.maxTokens = from.max_tokens;
  request.ignoreEos = from.ignore_eos != 0;
  request.calculator = from.calculator != 0;
  request.values = from.values != 0;
  for (size_t i = 0; i < from.stop_count; ++i)
    request.stop.emplace_back(from.stop[i].data, from.stop[i].length);
  SamplingParameters &sampling = request.sampling;
  sampling.seed = from.seed;
  sampling.temperature = from.temperature;
  sampling.topK = from.top_k;
  sampling.topP = from.top_p;
  sampling.minP = from.min_p;
  sampling.repetitionPenalty = from.repetition_penalty;
  sampling.presencePenalty = from.presence_penalty;
  sampling.frequencyPenalty = from.frequency_penalty;
  sampling.minTokens = from.min_tokens;
  for (size_t i = 0; i < from.logit_bias_count; ++i)
    sampling.logitBias.emplace_back(from.logit_bias[i].token,
                                    from.logit_bias[i].bias);
  sampling.allowedTokens.assign(from.allowed_tokens,
                                from.allowed_tokens + from.allowed_count);
  return request;
}

static Status statusOfCallback(int value) {
  return value == 0 ? Status()
                    : Status::error(static_cast<ExitCode>(value), "callback",
                                    "", "a callback ended the run");
}

static RequestHooks hooksOf(const chorus_callbacks &callbacks,
                            const std::shared_ptr<int64_t> &number) {
  auto tokenOf = [number](const TokenEvent &event) {
    return chorus_token{sizeof(chorus_token),
                        *number,
                        event.candidate,
                        event.tokenId,
                        event.logprob,
                        event.forced,
                        event.last,
                        event.textDelta.data(),
                        event.textDelta.size()};
  };
  RequestHooks hooks;
  if (callbacks.on_token)
    hooks.onToken = [callbacks, tokenOf](const TokenEvent &event) {
      chorus_token token = tokenOf(event);
      return statusOfCallback(callbacks.on_token(callbacks.user, &token));
    };
  if (callbacks.force_tokens)
    hooks.forceTokens = [callbacks, tokenOf](const TokenEvent &event,
                                             std::vector<int32_t> &next) {
      chorus_token token = tokenOf(event);
      chorus_forced forced{next};
      return statusOfCallback(
          callbacks.force_tokens(callbacks.user, &token, &forced));
    };
  return hooks;
}

void chorus_force(chorus_forced *forced, const int32_t *ids, size_t count) {
  forced->ids.insert(forced->ids.end(), ids, ids + count);
}

int chorus_submit(chorus_engine *engine, const chorus_request *given,
                  const chorus_callbacks *callbacks, int64_t *number,
                  chorus_error *error) {
  return guarded(error, [&]() -> Status {
    Request request = requestOf(known(*given, {}));
    auto shared = std::make_shared<int64_t>(-1);
    StatusOr<int64_t> submitted = engine->engine->submit(
        request,
        callbacks ? hooksOf(known(*callbacks, {}), shared) : RequestHooks());
    CHORUS_RETURN_IF_ERROR(submitted.status());
    *shared = *number = *submitted;
    engine->requests.emplace(*submitted, std::move(request));
    return Status();
  });
}

int chorus_idle(const chorus_engine *engine) { return engine->engine->idle(); }

int chorus_step(chorus_engine *engine, chorus_error *error) {
  return guarded(error, [&] { return engine->engine->step(); });
}

int chorus_run(chorus_engine *engine, chorus_error *error) {
  while (!engine->engine->idle())
    if (int code = chorus_step(engine, error))
      return code;
  return 0;
}

int chorus_poll(chorus_engine *engine, int64_t *number) {
  std::optional<int64_t> finished = engine->engine->nextFinished();
  if (!finished)
    return 0;
  *number = *finished;
  return 1;
}

void chorus_get_progress(const chorus_engine *engine, int64_t number,
                         chorus_progress *progress) {
  GenerationProgress now = engine->engine->progress(number);
  *progress = {sizeof *progress, now.promptTokens, now.promptComputed,
               now.tokens,       now.finished,     now.candidates};
}

void chorus_cancel(chorus_engine *engine, int64_t number, int64_t candidate) {
  if (candidate < 0)
    engine->engine->cancel(number);
  else
    engine->engine->cancel(number, candidate);
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

chorus_result *chorus_take(chorus_engine *engine, int64_t number) try {
  auto request = engine->requests.find(number);
  if (request == engine->requests.end() || !engine->engine->isFinished(number))
    return nullptr;
  auto result = std::make_unique<chorus_result>();
  result->records.resize(static_cast<size_t>(request->second.candidates));
  result->context.artifactSha256 =
      engine->engine->program().artifact().artifactSha256();
  result->context.numericProfile = engine->profile;
  result->context.hasTokenizer = engine->engine->tokenizer() != nullptr;
  result->request = std::move(request->second);
  result->context.request = &result->request;
  engine->requests.erase(request);
  result->generation = engine->engine->take(number);
  return result.release();
} catch (const std::bad_alloc &) {
  return nullptr;
}

void chorus_result_free(chorus_result *result) { delete result; }

size_t chorus_result_count(const chorus_result *result) {
  return result->generation.candidates.size();
}

void chorus_result_candidate(const chorus_result *result, size_t index,
                             chorus_candidate *out) {
  const Candidate &candidate = result->generation.candidates[index];
  *out = {};
  out->size = sizeof *out;
  out->index = candidate.index;
  out->token_ids = candidate.tokenIds.data();
  out->logprobs = candidate.logprobs.data();
  out->length = candidate.tokenIds.size();
  if (result->context.hasTokenizer) {
    out->text = candidate.text.c_str();
    out->text_length = candidate.text.size();
  }
  out->finish_reason = finishReasonName(candidate.finishReason).data();
  out->mean_logprob = candidate.meanLogprob();
  if (!candidate.error.ok()) {
    out->error_code = candidate.error.code().c_str();
    out->error_message = candidate.error.message().c_str();
  }
  if (!candidate.values.empty())
    out->values = candidate.values.data();
}

const char *chorus_result_record(chorus_result *result, size_t index) try {
  std::string &record = result->records[index];
  if (record.empty())
    record = recordLine(result->context, result->generation.candidates[index],
                        result->ranking ? &result->ranking->candidates[index]
                                        : nullptr);
  return record.c_str();
} catch (const std::bad_alloc &) {
  return nullptr;
}

//===----------------------------------------------------------------------===//
// Ranking
//===----------------------------------------------------------------------===//

void chorus_rank_options_init(chorus_rank_options *options) {
  RankOptions defaults;
  *options = {};
  options->size = sizeof *options;
  options->rule = rankRuleName(defaults.rule).data();
  options->judges = defaults.judges.judges;
  options->judge_combine = "min";
}

static StatusOr<RankOptions> rankOptionsOf(const chorus_rank_options &from) {
  RankOptions options;
  std::optional<RankRule> rule = findRankRule(from.rule);
  if (!rule)
    return usageError("rule is " + escapeForMessage(from.rule) +
                      ", allowed is mean-logprob, vote, verifier or "
                      "weighted-vote");
  options.rule = *rule;
  if (from.answer_pattern)
    options.answerPattern = from.answer_pattern;
  options.judges.judges = from.judges;
  CHORUS_RETURN_IF_ERROR(options.judges.validate());
  std::string_view combine = from.judge_combine;
  if (combine != "min" && combine != "mean")
    return usageError("judge-combine is " + escapeForMessage(combine) +
                      ", allowed is min or mean");
  options.judges.combination =
      combine == "mean" ? JudgeCombination::Mean : JudgeCombination::Min;
  if (from.should_cancel)
    options.shouldCancel = [ask = from.should_cancel, user = from.user] {
      return ask(user) != 0;
    };
  return options;
}

int chorus_ranker_create(chorus_engine *engine,
                         const chorus_rank_options *given,
                         chorus_ranker **ranker, chorus_error *error) {
  *ranker = nullptr;
  return guarded(error, [&]() -> Status {
    chorus_rank_options defaults;
    chorus_rank_options_init(&defaults);
    StatusOr<RankOptions> options = rankOptionsOf(known(*given, defaults));
    CHORUS_RETURN_IF_ERROR(options.status());
    StatusOr<CandidateRanker> created =
        CandidateRanker::create(*engine->engine, std::move(*options));
    CHORUS_RETURN_IF_ERROR(created.status());
    *ranker = new chorus_ranker{std::move(*created)};
    return Status();
  });
}

void chorus_ranker_free(chorus_ranker *ranker) { delete ranker; }

int chorus_ranker_needs_values(const chorus_ranker *ranker) {
  return ranker->ranker.needsValues();
}

int chorus_rank(chorus_ranker *ranker, chorus_result *result,
                const char *messages, size_t length, chorus_error *error) {
  return guarded(error, [&]() -> Status {
    nlohmann::ordered_json parsed = nlohmann::ordered_json::array();
    if (messages) {
      StatusOr<nlohmann::ordered_json> given =
          parseMessages({messages, length}, "messages");
      CHORUS_RETURN_IF_ERROR(given.status());
      parsed = std::move(*given);
    }
    StatusOr<Ranking> ranking =
        ranker->ranker.rank(result->generation.candidates, parsed);
    CHORUS_RETURN_IF_ERROR(ranking.status());
    result->ranking = std::make_unique<const Ranking>(std::move(*ranking));
    for (std::string &record : result->records)
      record.clear();
    return Status();
  });
}

void chorus_result_ranking(const chorus_result *result, size_t index,
                           chorus_candidate_ranking *out) {
  const CandidateRanking &ranking = result->ranking->candidates[index];
  *out = {};
  out->size = sizeof *out;
  out->rank = ranking.rank;
  if (ranking.answer) {
    out->answer = ranking.answer->c_str();
    out->answer_length = ranking.answer->size();
  }
  out->votes = ranking.votes.value_or(0);
  out->verifier = ranking.verifier.value_or(std::nan(""));
  out->weighted_votes = ranking.weightedVotes.value_or(std::nan(""));
  if (!ranking.error.ok()) {
    out->error_code = ranking.error.code().c_str();
    out->error_message = ranking.error.message().c_str();
  }
}

size_t chorus_result_vote_count(const chorus_result *result) {
  return result->ranking->votes.size();
}

void chorus_result_vote(const chorus_result *result, size_t index,
                        chorus_vote *out) {
  const Vote &vote = result->ranking->votes[index];
  *out = {sizeof *out, vote.answer.c_str(), vote.answer.size(), vote.count,
          vote.weight};
}

int chorus_count_correct(const chorus_ranker *ranker,
                         const chorus_result *result, const char *reference,
                         size_t length, int64_t *correct, chorus_error *error) {
  return guarded(error, [&]() -> Status {
    StatusOr<int64_t> count = ranker->ranker.countCorrect(
        result->ranking->candidates, {reference, length});
    CHORUS_RETURN_IF_ERROR(count.status());
    *correct = *count;
    return Status();
  });
}

double chorus_pass_at_k(int64_t total, int64_t correct, int64_t k) {
  bool valid = 1 <= k && k <= total && 0 <= correct && correct <= total;
  return valid ? passAtK(total, correct, k) : std::nan("");
}
