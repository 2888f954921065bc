/*===- step_abi.h - How the runtime calls compiled code -----------*- C -*-===*\
|*
|* The whole contract between a compiled entry and the runtime. Structs begin
|* with their size in bytes, so that fields can be appended; a callee reads only
|* fields that lie inside the size it was given.
|*
|* Nothing here allocates, blocks or calls back except through
|* chorus_runtime_api. Entries are reentrant: all state is in the arguments.
|*
\*===----------------------------------------------------------------------===*/

#ifndef CHORUS_RT_STEP_ABI_H
#define CHORUS_RT_STEP_ABI_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when a compiled entry could no longer run with an older runtime. */
#define CHORUS_STEP_ABI_VERSION 2

/* Positions held by one page of a paged key-value cache. */
#define CHORUS_PAGE_POSITIONS 32

/* Alignment in bytes of the arena, the weights and the page pool. */
#define CHORUS_BUFFER_ALIGNMENT 64

/* Work of a parallel loop: handles the indices [begin, end). `context` is
 * shared by all calls of the loop and lives until the loop returns. */
typedef void (*chorus_parallel_body)(const void *context, int64_t begin,
                                     int64_t end);

/* What compiled code may call. */
typedef struct chorus_runtime_api {
  uint64_t size;
  void *self; /* First argument of every function below. */
  /* Calls `body` on disjoint ranges that together cover [0, count) and returns
   * when all are done. Which thread takes which range is not defined, so a
   * result must not depend on it. Loops do not nest. `kernel` says which of the
   * code's kernels (Code.kernels of the artifact) the loop is, for profiles;
   * code of ABI 1 passes no such argument. */
  void (*parallel_for)(void *self, chorus_parallel_body body,
                       const void *context, int64_t count, int64_t kernel);
  /* How far ahead of a stream of weights to prefetch, in bytes; 0 on CPUs whose
   * own prefetchers do better. Changes speed only. */
  int64_t prefetch_bytes;
  /* One byte for each of the code's kernels. The code sets a kernel's byte to 1
   * when it enters it and clears none. */
  uint8_t *entered;
  /* Threads that share a loop, at least 1. Changes speed only. */
  int64_t threads;
} chorus_runtime_api;

/* A paged key-value cache as one call sees it.
 *
 * Page p starts at pool + p * page_bytes (page_bytes is in the artifact's
 * State). Inside a page, for each layer, for each kv head: keys
 * [2][head_dim][16], of positions 0..15 and 16..31, then values
 * [32][head_dim rounded up to 16], in the cache's element type; lanes beyond
 * head_dim are zero. All slots are finite. */
typedef struct chorus_paged_state {
  uint64_t size;
  uint8_t *pool;
  /* One page table for each of the T rows: page ids of positions 0..31,
   * 32..63, ... up to the row's own position. Rows of one sequence point to the
   * same table, stand next to each other and have rising positions. */
  const int32_t *const *row_pages;
  /* Rows of different sequences whose tables name the same page are worked on
   * together where at least so many stand next to each other: 0 for the number
   * from which the code finds it worthwhile, INT64_MAX for never. Changes speed
   * only. */
  int64_t sharing_rows;
} chorus_paged_state;

/* Arguments of an entry. Order of inputs, outputs, states and symbols is that
 * of the artifact's Entry. All arrays are dense and row-major. */
typedef struct chorus_entry_args {
  uint64_t size;
  const uint8_t *weights; /* The packed weights segment. */
  uint8_t *arena;         /* Scratch; Entry.arena says how many bytes. */
  const int64_t *symbols; /* Values of the symbolic dimensions. */
  const void *const *inputs;
  void *const *outputs;
  const chorus_paged_state *states;
  const chorus_runtime_api *api;
} chorus_entry_args;

/* An entry. The runtime has checked every shape and size before the call. */
typedef void (*chorus_entry_fn)(const chorus_entry_args *args);

/* The step entry of a language model has
 *   symbols  T (rows of the batch), R (rows whose logits are wanted)
 *   inputs   tokens [T] i32, positions [T] i32, output_rows [R] i32
 *   outputs  logits [R, vocab] f32, log_sum_exp [R] f32, and with a linear
 *            value head value [R, 1] f32
 *   states   one paged cache
 * log_sum_exp is the natural logarithm of the sum of exp(logits) of a row,
 * value the product of the head's weight with its last hidden state. */

/* Symbol "chorus_sampling_masses" of every code segment. masses[i] =
 * floor(exp((logits[i] - max) * inverse_temperature) * 2^40), i < count.
 * `max`: the largest of the logits. A logit of -inf has mass 0. */
typedef void (*chorus_sampling_masses_fn)(const float *logits, int64_t count,
                                          float max, float inverse_temperature,
                                          uint64_t *masses);

/* Columns of a row whose masses are summed together. */
#define CHORUS_SAMPLING_BLOCK 1024

/* Symbol "chorus_sampling_sums", which code of older compilers lacks: sums[i] =
 * sum of the masses (above) of the columns of block i, the last of which may be
 * short. */
typedef void (*chorus_sampling_sums_fn)(const float *logits, int64_t count,
                                        float max, float inverse_temperature,
                                        uint64_t *sums);

/* Symbols "chorus_exp" and "chorus_log", which code of older compilers lacks:
 * result[i] = exp(x[i]) or log(x[i]), i < count, to about 2^-52 of the result.
 * exp is 0 below -708 and infinite above 709; the x of log are positive and
 * normal. */
typedef void (*chorus_map_fn)(const double *x, int64_t count, double *result);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* CHORUS_RT_STEP_ABI_H */
