/* candidates.c - samples candidates of one prompt through chorus.h.
 *
 *   candidates M.chorus TEXT N SEED
 *
 * prints the candidates as they end, then the most likely one. */

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
  if (code) {
    chorus_close(engine);
    return fail(&error);
  }
  chorus_candidate best, each;
  for (size_t i = 0; i < chorus_result_count(result); ++i) {
    chorus_result_candidate(result, i, &each);
    if (i == 0 || each.mean_logprob > best.mean_logprob)
      best = each;
  }
  printf("best is candidate %lld (%s): %.*s\n", (long long)best.index,
         best.finish_reason, (int)best.text_length, best.text);
  printf("%s\n", chorus_result_record(result, (size_t)best.index));
  chorus_result_free(result);
  chorus_close(engine);
  return 0;
}
