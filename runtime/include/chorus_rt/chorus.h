/*===- chorus.h - Chorus for C and other languages ----------------*- C -*-===*\
|*
|* One prompt, many sampled candidates:
|*
|*   chorus_engine *engine;
|*   chorus_error error;
|*   if (chorus_open("m.chorus", NULL, &engine, &error)) ...
|*   chorus_request request;
|*   chorus_request_init(engine, &request);
|*   request.prompt_ids = ids, request.prompt_length = count;
|*   request.candidates = 100;
|*   int64_t number;
|*   if (chorus_submit(engine, &request, NULL, &number, &error)) ...
|*   while (!chorus_idle(engine))
|*     if (chorus_step(engine, &error)) ...
|*   chorus_result *result = chorus_take(engine, number);
|*
|* Functions that can fail return 0, or the exit code of the error's class
|* (chorus_error says which codes there are), and fill in `error` if it is not
|* null. Structs that the caller fills begin with their size, so that they can
|* grow: the *_init functions set it. Texts are UTF-8 and have a length; those
|* that come out also end in a NUL.
|*
|* An engine is used by one thread at a time; it has threads of its own for the
|* work. Engines do not know of each other. Nothing here throws, and nothing
|* writes to the terminal.
|*
\*===----------------------------------------------------------------------===*/

#ifndef CHORUS_RT_CHORUS_H
#define CHORUS_RT_CHORUS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CHORUS_API __attribute__((visibility("default")))
#else
#define CHORUS_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Exit codes: 1 some records failed, 2 usage, 3 input refused, 4 limit or
 * memory, 5 file system or device, 6 artifact not trusted, 70 internal. */
typedef struct chorus_error {
  int exit_code;
  char code[32];     /* "usage", "A02", "N10", ...; docs/Running.md. */
  char message[512]; /* Place and text, one line. */
} chorus_error;

/*===- Engines ------------------------------------------------------------===*/

typedef struct chorus_engine chorus_engine;

/* Nothing here changes a bit of a result. */
typedef struct chorus_engine_options {
  size_t size;
  const char *cpu; /* "auto", "x86-64-v3", "x86-64-v4", "x86-64-v4-amx". */
  int threads;     /* 0: one for each core. */
  int64_t prefill_chunk, max_batch;
  int64_t context_length; /* 0: the model's. */
  uint64_t max_memory;    /* Bytes; 0: what the machine has. */
  int late_fork, prefix_cache;
} chorus_engine_options;

CHORUS_API void chorus_engine_options_init(chorus_engine_options *options);

/* Opens and verifies an artifact and makes its first model ready to run.
 * `options` may be null. */
CHORUS_API int chorus_open(const char *artifact_path,
                           const chorus_engine_options *options,
                           chorus_engine **engine, chorus_error *error);
/* Ends everything of the engine, but no results that were taken. Null is
 * allowed. */
CHORUS_API void chorus_close(chorus_engine *engine);

CHORUS_API int64_t chorus_vocab_size(const chorus_engine *engine);
CHORUS_API int64_t chorus_context_length(const chorus_engine *engine);
CHORUS_API const char *chorus_artifact_sha256(const chorus_engine *engine);
CHORUS_API const char *chorus_numeric_profile(const chorus_engine *engine);

/*===- Text ---------------------------------------------------------------===*/

/* Token ids that the library made; chorus_ids_free() frees them. */
typedef struct chorus_ids {
  int32_t *ids;
  size_t length;
} chorus_ids;

CHORUS_API void chorus_ids_free(chorus_ids *ids);

/* A text as it is, with BOS where the model asks for it. Texts of special
 * tokens are recognised only with `parse_special`. */
CHORUS_API int chorus_tokenize(chorus_engine *engine, const char *text,
                               size_t length, int parse_special,
                               chorus_ids *ids, chorus_error *error);

/* Messages, a JSON array of {"role", "content"}, rendered with the model's chat
 * template up to where the answer begins. Users' texts give no special tokens.
 * `template_text`: another template; null for the model's own. */
CHORUS_API int chorus_render_chat(chorus_engine *engine, const char *messages,
                                  size_t length, const char *template_text,
                                  chorus_ids *ids, chorus_error *error);

/*===- Requests -----------------------------------------------------------===*/

typedef struct chorus_text {
  const char *data;
  size_t length;
} chorus_text;

typedef struct chorus_logit_bias {
  int32_t token;
  float bias;
} chorus_logit_bias;

/* One prompt and what is wanted of it. All memory is the caller's and is copied
 * by chorus_submit(). */
typedef struct chorus_request {
  size_t size;
  const char *id; /* For records; null: "0". */
  const int32_t *prompt_ids;
  size_t prompt_length;
  /* Candidates first .. first + candidates - 1. A candidate's tokens depend on
   * its own index, the prompt, the sampling parameters and the seed only. */
  int64_t first_candidate, candidates;
  int64_t max_tokens, min_tokens;
  uint64_t seed;
  double temperature; /* 0: the most likely token. */
  int64_t top_k;      /* 0: all. */
  double top_p, min_p;
  double repetition_penalty, presence_penalty, frequency_penalty;
  const chorus_logit_bias *logit_bias; /* Rising tokens, each once. */
  size_t logit_bias_count;
  const int32_t *allowed_tokens; /* Rising; none: all are allowed. */
  size_t allowed_count;
  const chorus_text *stop; /* Texts that end a candidate. */
  size_t stop_count;
  int ignore_eos;
  int calculator; /* Results are written after "<<expression=". */
  int values;     /* What the model's value head says after each token. */
} chorus_request;

/* The model's own sampling defaults, one candidate, no prompt yet. */
CHORUS_API void chorus_request_init(const chorus_engine *engine,
                                    chorus_request *request);

/* A token that a candidate has just got. */
typedef struct chorus_token {
  size_t size;
  int64_t request, candidate;
  int32_t id; /* -1: the candidate has ended without one. */
  float logprob;
  int forced;
  int last;
  /* Text that has become certain; it ends with the call. */
  const char *text;
  size_t text_length;
} chorus_token;

/* Tokens that must follow; chorus_force() adds some. */
typedef struct chorus_forced chorus_forced;
CHORUS_API void chorus_force(chorus_forced *forced, const int32_t *ids,
                             size_t count);

typedef struct chorus_callbacks {
  size_t size;
  void *user;
  /* Called between steps, on the thread that calls chorus_step(), for each
   * token in rising candidate. Other than 0 ends the run: chorus_step() returns
   * that value. May submit and cancel. */
  int (*on_token)(void *user, const chorus_token *token);
  /* Asked after each token but a candidate's last: what it forces is written
   * into the sequence, draws no random number, and counts in max_tokens. */
  int (*force_tokens)(void *user, const chorus_token *token,
                      chorus_forced *forced);
} chorus_callbacks;

/* Any number of requests may be under way; their candidates share steps, which
 * changes no bit of a result. `callbacks` may be null. */
CHORUS_API int chorus_submit(chorus_engine *engine,
                             const chorus_request *request,
                             const chorus_callbacks *callbacks, int64_t *number,
                             chorus_error *error);

/* Whether no request is under way. */
CHORUS_API int chorus_idle(const chorus_engine *engine);

/* Works on all requests for one step, a fraction of a second. After an error
 * all requests are cancelled. */
CHORUS_API int chorus_step(chorus_engine *engine, chorus_error *error);

/* Steps until nothing is under way. */
CHORUS_API int chorus_run(chorus_engine *engine, chorus_error *error);

/* 1 and the number of a request that has finished, each told once; else 0. */
CHORUS_API int chorus_poll(chorus_engine *engine, int64_t *number);

typedef struct chorus_progress {
  size_t size;
  int64_t prompt_tokens, prompt_computed, tokens, finished, candidates;
} chorus_progress;

/* Of a request that has not been taken. */
CHORUS_API void chorus_get_progress(const chorus_engine *engine, int64_t number,
                                    chorus_progress *progress);

/* Ends one candidate, or all of the request with candidate -1, as cancelled.
 * Its cache is free for others within a step. */
CHORUS_API void chorus_cancel(chorus_engine *engine, int64_t number,
                              int64_t candidate);

/*===- Results ------------------------------------------------------------===*/

typedef struct chorus_result chorus_result;

typedef struct chorus_candidate {
  size_t size;
  int64_t index;
  const int32_t *token_ids;
  const float *logprobs; /* Natural, under the unmodified model. */
  size_t length;
  const char *text; /* Null for a model without tokenizer. */
  size_t text_length;
  const char *finish_reason; /* "stop", "stop_string", "length", "cancelled",
                                "error". */
  double mean_logprob;       /* Over sampled tokens. */
  const char *error_code, *error_message; /* Null: none. */
  const float *values; /* One for each token; null if not asked for. */
} chorus_candidate;

/* Hands over a request that has finished, once; null for any other number. */
CHORUS_API chorus_result *chorus_take(chorus_engine *engine, int64_t number);
CHORUS_API void chorus_result_free(chorus_result *result);
CHORUS_API size_t chorus_result_count(const chorus_result *result);
/* `candidate` points into the result. */
CHORUS_API void chorus_result_candidate(const chorus_result *result,
                                        size_t index,
                                        chorus_candidate *candidate);
/* The candidate's record, one line of JSON, with scores and rank if the result
 * was ranked before; lives as long as the result. Null if there is no memory
 * for it. */
CHORUS_API const char *chorus_result_record(chorus_result *result,
                                            size_t index);

/*===- Ranking ------------------------------------------------------------===*/

typedef struct chorus_ranker chorus_ranker;

typedef struct chorus_rank_options {
  size_t size;
  const char *rule; /* "mean-logprob", "vote", "verifier", "weighted-vote". */
  /* Regular expression that finds a text's answer; null: GSM8K's rule, and
   * where that finds nothing the whole text. */
  const char *answer_pattern;
  /* How often a verifier is asked, and what its scores become: "min" or
   * "mean". */
  int64_t judges;
  const char *judge_combine;
  /* Asked between steps of a verifier, on the thread that calls chorus_rank();
   * other than 0 ends the ranking with error "cancelled". May be null. */
  int (*should_cancel)(void *user);
  void *user;
} chorus_rank_options;

/* By mean log-probability, one judge. */
CHORUS_API void chorus_rank_options_init(chorus_rank_options *options);

/* Makes what a rule needs ready, such as the artifact's verifier. The engine
 * outlives the ranker. */
CHORUS_API int chorus_ranker_create(chorus_engine *engine,
                                    const chorus_rank_options *options,
                                    chorus_ranker **ranker,
                                    chorus_error *error);
/* Null is allowed. */
CHORUS_API void chorus_ranker_free(chorus_ranker *ranker);

/* Whether requests that are to be ranked must ask for `values`. */
CHORUS_API int chorus_ranker_needs_values(const chorus_ranker *ranker);

/* Ranks a result of the ranker's engine; a verifier is asked meanwhile.
 * `messages`: what a verifier's template sees, JSON as in chorus_render_chat();
 * null where there is none. A score that cannot be computed is an error of its
 * candidate. */
CHORUS_API int chorus_rank(chorus_ranker *ranker, chorus_result *result,
                           const char *messages, size_t length,
                           chorus_error *error);

typedef struct chorus_candidate_ranking {
  size_t size;
  int64_t rank;       /* From 1. */
  const char *answer; /* Null: none, and no vote. */
  size_t answer_length;
  int64_t votes; /* Candidates with the same answer. */
  /* What the verifier or value head says, and the sum of that over the
   * candidates with the same answer; NaN without. */
  double verifier, weighted_votes;
  const char *error_code, *error_message; /* Null: none. */
} chorus_candidate_ranking;

/* Of a result that was ranked. `ranking` points into the result. */
CHORUS_API void chorus_result_ranking(const chorus_result *result, size_t index,
                                      chorus_candidate_ranking *ranking);

typedef struct chorus_vote {
  size_t size;
  const char *answer;
  size_t answer_length;
  int64_t count;
  double weight; /* The verifier's scores; the count where none was asked. */
} chorus_vote;

/* Answers of a result that was ranked, the winner first. */
CHORUS_API size_t chorus_result_vote_count(const chorus_result *result);
CHORUS_API void chorus_result_vote(const chorus_result *result, size_t index,
                                   chorus_vote *vote);

/* How many candidates of a result that was ranked have the right answer, which
 * is found in `reference` by the ranker's rule, or is all of it. */
CHORUS_API int chorus_count_correct(const chorus_ranker *ranker,
                                    const chorus_result *result,
                                    const char *reference, size_t length,
                                    int64_t *correct, chorus_error *error);

/* pass@k: the unbiased estimate of the chance that at least one of k candidates
 * is correct, from `total` of which `correct` are. 1 <= k <= total and
 * 0 <= correct <= total; NaN for others. */
CHORUS_API double chorus_pass_at_k(int64_t total, int64_t correct, int64_t k);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CHORUS_RT_CHORUS_H */
