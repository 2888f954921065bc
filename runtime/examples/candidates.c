/* candidates.c - samples candidates of one prompt through chorus.h and lets
 * them vote.
 *
 *   candidates M.chorus TEXT N SEED
 *
 * prints the candidates as they end, the answers with their votes, and the best
 * candidate with its record. */

#include "chorus_rt/chorus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const chorus_error *error) {
  fprintf(stderr, "candidates: error %s: %s\n", error->code, error->message);
  return error->exit_code;
}

/* Tells when a candidate has ended. */
static int onToken(void *user, const chorus_token *token) {
  long *tokens = user;
  *tokens += token->id >= 0;
  if (token->last)
    printf("candidate %lld has ended, %ld tokens in all\n",
           (long long)token->candidate, *tokens);
  return 0;
}

/* Ranks the candidates by votes and prints what came of it. */
static int printRanked(chorus_engine *engine, chorus_result *result,
                       chorus_error *error) {
  chorus_rank_options options;
  chorus_rank_options_init(&options);
  options.rule = "vote";
  chorus_ranker *ranker;
  int code = chorus_ranker_create(engine, &options, &ranker, error);
  if (!code)
    code = chorus_rank(ranker, result, NULL, 0, error);
  chorus_ranker_free(ranker);
  if (code)
    return code;
  chorus_vote vote;
  for (size_t i = 0; i < chorus_result_vote_count(result); ++i) {
    chorus_result_vote(result, i, &vote);
    printf("%lld votes for %.*s\n", (long long)vote.count,
           (int)vote.answer_length, vote.answer);
  }
  chorus_candidate candidate;
  chorus_candidate_ranking ranking;
  for (size_t i = 0; i < chorus_result_count(result); ++i) {
    chorus_result_ranking(result, i, &ranking);
    if (ranking.rank != 1)
      continue;
    chorus_result_candidate(result, i, &candidate);
    printf("best is candidate %lld (%s): %.*s\n", (long long)candidate.index,
           candidate.finish_reason, (int)candidate.text_length, candidate.text);
    printf("%s\n", chorus_result_record(result, i));
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: candidates M.chorus TEXT N SEED\n");
    return 2;
  }
  chorus_error error;
  chorus_engine *engine;
  if (chorus_open(argv[1], NULL, &engine, &error))
    return fail(&error);
  chorus_ids prompt;
  if (chorus_tokenize(engine, argv[2], strlen(argv[2]), /*parse_special=*/0,
                      &prompt, &error)) {
    chorus_close(engine);
    return fail(&error);
  }
  chorus_request request;
  chorus_request_init(engine, &request);
  request.prompt_ids = prompt.ids;
  request.prompt_length = prompt.length;
  request.candidates = atoll(argv[3]);
  request.seed = strtoull(argv[4], NULL, 10);
  request.max_tokens = 16;
  long tokens = 0;
  chorus_callbacks callbacks = {sizeof callbacks, &tokens, onToken, NULL};
  int64_t number;
  int code = chorus_submit(engine, &request, &callbacks, &number, &error);
  if (!code)
    code = chorus_run(engine, &error);
  chorus_ids_free(&prompt);
  chorus_result *result = code ? NULL : chorus_take(engine, number);
  if (!code)
    code = printRanked(engine, result, &error);
  chorus_result_free(result);
  chorus_close(engine);
  return code ? fail(&error) : 0;
}
