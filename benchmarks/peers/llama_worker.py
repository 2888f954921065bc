"""One measurement of llama.cpp in a process of its own; prints one JSON object.

    llama_worker.py MODEL '{"prompt": 256, "generate": 64, "candidates": 100, ...}'

Fields: prompt, generate, candidates (tokens, tokens, sequences), threads, seed,
flash (flash attention), ubatch, unified (one cache for all sequences), extra
(repacked weight buffers), wave (sequences decoded at once; 0: all).

The prompt is computed once and its cache is shared by all sequences. No
sampling: the tokens are given, which favours the peer.
"""

import ctypes
import json
import random
import sys
import time

import llama_cpp


@llama_cpp.llama_log_callback
def _silent(level, text, user_data):
    pass


class Batch:
    """Tokens for one call of llama_decode."""

    def __init__(self, capacity):
        self.batch = llama_cpp.llama_batch_init(capacity, 0, 1)

    def fill(self, rows):
        """rows: (token, position, sequence, wants logits)."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = logits
        return batch


def main():
    path, task = sys.argv[1], json.loads(sys.argv[2])
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    start = time.perf_counter()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_extra_bufts = task["extra"]
    model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {path}")
    prompt, generate, n = task["prompt"], task["generate"], task["candidates"]
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_seq_max = n
    # One cache holds the prompt once; separate ones hold it n times.
    each = prompt + generate + 1
    parameters.n_ctx = prompt + n * (generate + 1) + 64 if task["unified"] else n * each
    parameters.kv_unified = task["unified"]
    parameters.n_batch = max(prompt, n)
    parameters.n_ubatch = min(task["ubatch"], parameters.n_batch)
    parameters.n_threads = parameters.n_threads_batch = task["threads"]
    parameters.flash_attn_type = (llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if task["flash"]
                                  else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED)
    context = llama_cpp.llama_init_from_model(model, parameters)
    if not context:
        raise SystemExit("llama.cpp cannot make a context")
    loaded = time.perf_counter() - start

    memory = llama_cpp.llama_get_memory(context)
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    tokens = random.Random(task["seed"])
    batch = Batch(max(prompt, n))

    def decode(rows):
        if llama_cpp.llama_decode(context, batch.fill(rows)):
            raise SystemExit("llama_decode failed")
        # Waits for the result, as a sampler would.
        llama_cpp.llama_get_logits_ith(context, -1)

    def draw():
        return tokens.randrange(3, vocab)

    # The first call makes buffers and starts threads: not measured.
    decode([(draw(), 0, 0, True)])
    llama_cpp.llama_memory_clear(memory, True)

    begin = time.perf_counter()
    decode([(draw(), i, 0, i == prompt - 1) for i in range(prompt)])
    first = time.perf_counter()
    for sequence in range(1, n):
        llama_cpp.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
    wave = task["wave"] or n
    for lowest in range(0, n, wave):
        sequences = range(lowest, min(n, lowest + wave))
        for step in range(generate - 1):
            decode([(draw(), prompt + step, sequence, True) for sequence in sequences])
    end = time.perf_counter()
    print(json.dumps({
        "prefill_tok_s": prompt / (first - begin),
        "decode_tok_s": n * (generate - 1) / (end - first) if generate > 1 else None,
        "total_tok_s": n * generate / (end - begin),
        "load_s": loaded,
    }))
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)


if __name__ == "__main__":
    main()
