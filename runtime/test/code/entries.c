/*===- entries.c - Code segments for tests -------------------------*- C
-*-===*\
|*
|* Compiled at build time into tiny shared objects. A macro makes one of the
|* variants that the loader must refuse.
|*
\*===----------------------------------------------------------------------===*/

#include "chorus_rt/step_abi.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct {
  const float *x;
  float *y;
  float bias;
} DoubleContext;

static void doubleRange(const void *context, int64_t begin, int64_t end) {
  const DoubleContext *c = context;
  for (int64_t i = begin; i < end; ++i)
    c->y[i] = 2 * c->x[i] + c->bias;
}

/* x [n] f32 -> y [n] f32: 2 * x + the first weight, through the arena. */
EXPORT void chorus_double(const chorus_entry_args *args) {
  int64_t n = args->symbols[0];
  DoubleContext context = {args->inputs[0], (float *)args->arena,
                           *(const float *)args->weights};
  args->api->parallel_for(args->api->self, doubleRange, &context, n, 0);
  float *y = args->outputs[0];
  for (int64_t i = 0; i < n; ++i)
    y[i] = context.y[i];
}

/* A table of pointers, so that the object has relocations. */
static float addOne(float x) { return x + 1; }
static float negate(float x) { return -x; }
static float (*volatile const table[2])(float) = {addOne, negate};

/* a [n, 2] f32, which bool [n] -> out [n, 2] f32: a + 1 or -a by row. */
EXPORT void chorus_select(const chorus_entry_args *args) {
  const float *a = args->inputs[0];
  const uint8_t *which = args->inputs[1];
  float *out = args->outputs[0];
  for (int64_t i = 0; i < args->symbols[0]; ++i)
    for (int64_t j = 0; j < 2; ++j)
      out[2 * i + j] = table[which[i]](a[2 * i + j]);
}

/* Logits that favour the token after the row's: 4 of vocabulary 8. */
EXPORT void chorus_step(const chorus_entry_args *args) {
  const int32_t *tokens = args->inputs[0], *rows = args->inputs[2];
  float *logits = args->outputs[0], *logSumExp = args->outputs[1];
  for (int64_t r = 0; r < args->symbols[1]; ++r) {
    for (int64_t v = 0; v < 8; ++v)
      logits[8 * r + v] = v == (tokens[rows[r]] + 1) % 8 ? 0.0f : -100.0f;
    logSumExp[r] = 0;
  }
}

EXPORT void chorus_sampling_masses(const float *logits, int64_t count,
                                   float max, float inverseTemperature,
                                   uint64_t *masses) {
  for (int64_t i = 0; i < count; ++i)
    masses[i] = logits[i] == max ? (uint64_t)1 << 40 : 0;
}

#ifdef UNDEFINED_SYMBOL
extern float expf(float);
EXPORT float chorus_extra(float x) { return expf(x); }
#endif

#ifdef CONSTRUCTOR
static volatile int started;
__attribute__((constructor)) static void start(void) { started = 1; }
#endif

#ifdef THREAD_LOCAL
static _Thread_local volatile int counter = 1;
EXPORT int chorus_extra(void) { return ++counter; }
#endif
