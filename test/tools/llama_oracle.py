"""Log-probabilities from llama.cpp, through llama-cpp-python's C functions.

As a float32 oracle: F32 files, f32 caches, flash attention off. (Its F16 and
BF16 products round activations, so files of those types are compared through
their F32 twins.)
"""

import ctypes

import llama_cpp
import numpy


@llama_cpp.llama_log_callback
def _silent(level, text, user_data):
    pass


_log_callback = _silent  # Kept alive: the library holds a pointer to it.
llama_cpp.llama_log_set(_log_callback, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()


class Oracle:
    """A loaded model. `f32`: f32 caches and no flash attention; otherwise the
    peer's own defaults."""

    def __init__(self, path, f32=True, threads=2, context=512):
        parameters = llama_cpp.llama_model_default_params()
        # Its AMX code, chosen through these buffers, crashes on some CPUs.
        parameters.use_extra_bufts = False
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = context
        parameters.n_threads = parameters.n_threads_batch = threads
        if f32:
            parameters.type_k = parameters.type_v = 0  # GGML_TYPE_F32
            parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError(f"llama.cpp cannot make a context for {path}")

    def log_probabilities(self, ids):
        """[seq, vocab] log-probabilities of the next token, in float64."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for i, token in enumerate(ids):
                batch.token[i] = int(token)
                batch.pos[i] = i
                batch.n_seq_id[i] = 1
                batch.seq_id[i][0] = 0
                batch.logits[i] = 1
            if llama_cpp.llama_decode(self.context, batch):
                raise RuntimeError("llama_decode failed")
            logits = numpy.stack([
                numpy.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self.context, i),
                                         shape=(self.vocab_size,)).astype(numpy.float64)
                for i in range(len(ids))])
        finally:
            llama_cpp.llama_batch_free(batch)
        peak = logits.max(axis=1, keepdims=True)
        return logits - peak - numpy.log(numpy.exp(logits - peak).sum(axis=1, keepdims=True))

    def close(self):
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)
