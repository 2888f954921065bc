#!/usr/bin/env python3
"""Writes the small GGUF files of test/Import/GGUF/Inputs with PyPI's gguf.

    make_import_models.py OUT_FOLDER

The values do not matter; the same files come out each time.
"""

import os
import sys

import gguf
import numpy

D, D_FF, HEADS, KV_HEADS, HEAD_DIM, VOCAB, CONTEXT = 64, 96, 4, 2, 16, 32, 128
Q8_0, Q4_0, Q4_1, F16, BF16, F32 = (gguf.GGMLQuantizationType[name]
                                    for name in ("Q8_0", "Q4_0", "Q4_1", "F16", "BF16", "F32"))


def vocabulary():
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [chr(97 + i) for i in range(26)]
    merges = ["a b", "c d", "ab cd"]
    tokens += [merge.replace(" ", "") for merge in merges]
    return tokens, [3] * 3 + [1] * (VOCAB - 3), merges


def write(path, kinds, layers=1, tied=True, rope_factors=False, tokenizer="gpt2", change=lambda tensors: None):
    """`kinds`: the weights' types in turn. `change` may edit the tensors, a
    dictionary of f32 arrays."""
    generator = numpy.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Small")
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(D_FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(50000.0)
    tokens, types, merges = vocabulary()
    writer.add_tokenizer_model(tokenizer)
    if tokenizer == "gpt2":
        writer.add_tokenizer_pre("smollm")
        writer.add_token_merges(merges)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    shapes = {"token_embd.weight": (VOCAB, D)}
    if rope_factors:
        shapes["rope_freqs.weight"] = (HEAD_DIM // 2,)
    for i in range(layers):
        for name, shape in (("attn_norm", (D,)), ("attn_q", (q, D)), ("attn_k", (kv, D)), ("attn_v", (kv, D)),
                            ("attn_output", (D, q)), ("ffn_norm", (D,)), ("ffn_gate", (D_FF, D)),
                            ("ffn_up", (D_FF, D)), ("ffn_down", (D, D_FF))):
            shapes[f"blk.{i}.{name}.weight"] = shape
    shapes["output_norm.weight"] = (D,)
    if not tied:
        shapes["output.weight"] = (VOCAB, D)
    tensors = {name: generator.standard_normal(shape, dtype=numpy.float32) for name, shape in shapes.items()}
    change(tensors)
    matrices = 0
    for name, values in tensors.items():
        kind = F32
        if values.ndim == 2:
            kind = kinds[matrices % len(kinds)]
            matrices += 1
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def put_nan(tensors):
    tensors["blk.0.ffn_up.weight"][5, 3] = numpy.nan


def main():
    def path(name):
        return os.path.join(sys.argv[1], name + ".gguf")

    os.makedirs(sys.argv[1], exist_ok=True)
    write(path("tied"), [Q8_0, Q4_1])
    write(path("untied"), [F16, BF16, Q4_0, Q4_0], layers=2, tied=False, rope_factors=True)
    write(path("sentencepiece"), [Q4_0], tokenizer="llama")
    write(path("nan"), [F32, Q4_0, Q4_0, Q4_0, Q4_0, Q4_0, F16], change=put_nan)
    write(path("missing"), [Q4_0], change=lambda tensors: tensors.pop("blk.0.ffn_up.weight"))


if __name__ == "__main__":
    main()
