/*===- toy_model.c - A language model of hashes --------------------*- C
-*-===*\
|*
|* Code segment of the artifact with which the tools are tested. A row writes a
|* hash of its token and position to its page; its logits are hashes over what
|* stands in the pages up to its position, so that a wrong table, copy or
|* position changes all that follows. chorus_main is the same model without
|* cache.
|*
\*===----------------------------------------------------------------------===*/

#include "chorus_rt/step_abi.h"

#include "toy_model.h"

#define EXPORT __attribute__((visibility("default")))

static uint64_t mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9u;
  x ^= x >> 27;
  x *= 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

static uint64_t slot(int32_t token, int32_t position) {
  return mix((uint64_t)(uint32_t)token << 32 | (uint32_t)position);
}

/* exp(x) for x <= 5, by its series after division by 1024. */
static double exponential(double x) {
  if (x < -700)
    return 0;
  double y = x / 1024, e = 1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4)));
  for (int i = 0; i < 10; ++i)
    e *= e;
  return e;
}

/* log(x), by Newton's method. */
static double logarithm(double x) {
  double log = 6;
  for (int i = 0; i < 50; ++i)
    log += x * exponential(-log) - 1;
  return log;
}

static void logitsOf(uint64_t history, float *logits, float *logSumExp) {
  double sum = 0;
  for (int i = 0; i < TOY_VOCAB; ++i) {
    uint64_t bits = mix(history + (uint64_t)i * 0x9E37);
    logits[i] = (float)(bits >> 40) * 0x1p-24f * 8 - 4;
    /* Controls are rare. */
    if (i >= TOY_FIRST_CONTROL)
      logits[i] -= 4;
    sum += exponential(logits[i]);
  }
  *logSumExp = (float)logarithm(sum);
}

typedef struct {
  const chorus_entry_args *args;
  uint64_t *histories;
} StepContext;

static uint64_t *pageOf(const chorus_entry_args *args, int64_t row,
                        int32_t position) {
  const chorus_paged_state *state = args->states;
  return (uint64_t *)(state->pool +
                      (uint64_t)state->row_pages[row][position / 32] *
                          TOY_PAGE_BYTES);
}

static void histories(const void *context, int64_t begin, int64_t end) {
  const StepContext *c = context;
  const int32_t *positions = c->args->inputs[1];
  for (int64_t r = begin; r < end; ++r) {
    uint64_t history = 0;
    for (int32_t p = 0; p <= positions[r]; ++p)
      history = mix(history ^ pageOf(c->args, r, p)[p % 32]);
    c->histories[r] = history;
  }
}

EXPORT void chorus_step(const chorus_entry_args *args) {
  const int32_t *tokens = args->inputs[0], *positions = args->inputs[1];
  const int32_t *rows = args->inputs[2];
  float *logits = args->outputs[0], *logSumExp = args->outputs[1];
  for (int64_t r = 0; r < args->symbols[0]; ++r)
    pageOf(args, r, positions[r])[positions[r] % 32] =
        slot(tokens[r], positions[r]);
  StepContext context = {args, (uint64_t *)args->arena};
  args->api->parallel_for(args->api->self, histories, &context,
                          args->symbols[0], 0);
  for (int64_t i = 0; i < args->symbols[1]; ++i)
    logitsOf(context.histories[rows[i]], logits + i * TOY_VOCAB, logSumExp + i);
}

EXPORT void chorus_main(const chorus_entry_args *args) {
  const int32_t *tokens = args->inputs[0];
  float *logits = args->outputs[0], *logSumExp = args->outputs[1];
  uint64_t history = 0;
  for (int64_t p = 0; p < args->symbols[0]; ++p) {
    history = mix(history ^ slot(tokens[p], (int32_t)p));
    logitsOf(history, logits + p * TOY_VOCAB, logSumExp + p);
  }
}

EXPORT void chorus_sampling_masses(const float *logits, int64_t count,
                                   float max, float inverse_temperature,
                                   uint64_t *masses) {
  for (int64_t i = 0; i < count; ++i)
    masses[i] = (uint64_t)(exponential((double)(logits[i] - max) *
                                       inverse_temperature) *
                           0x1p40);
}

EXPORT void chorus_exp(const double *x, int64_t count, double *result) {
  for (int64_t i = 0; i < count; ++i)
    result[i] = exponential(x[i]);
}

EXPORT void chorus_log(const double *x, int64_t count, double *result) {
  for (int64_t i = 0; i < count; ++i)
    result[i] = logarithm(x[i]);
}
