#!/usr/bin/env python3
"""Writes a model that is attention and as little else as possible.

    model.py FOLDER HEADS KV_HEADS HEAD_DIM

A token's embedding is its query, key and value; the logits are a few columns of
the attention's output.
"""

import pathlib
import sys

import gguf
import numpy

VOCAB = 64
CONTEXT = 32768


def write(folder, heads, kv_heads, head_dim):
    """Returns the path of the .mlir file; its weights stand beside it."""
    query, shared = heads * head_dim, kv_heads * head_dim
    width = query + 2 * shared
    generator = numpy.random.default_rng(heads * 1000 + head_dim)
    writer = gguf.GGUFWriter(folder / "attention.gguf", "llama")
    rows = generator.standard_normal((VOCAB, width)).astype(numpy.float32)
    rows[:, :query] *= 1.5
    writer.add_tensor("embedding", rows)
    writer.add_tensor("output", generator.standard_normal((VOCAB, query)).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    def columns(first, count):
        return (f"tensor.extract_slice %x[0, 0, {first}] [%b, %s, {count}] [1, 1, 1] : "
                f"tensor<?x?x{width}xf32> to tensor<?x?x{count}xf32>")

    path = folder / "attention.mlir"
    path.write_text(f"""\
func.func @main(%tokens: tensor<?x?xi32> {{transformer.name = "tokens"}}) -> (tensor<?x?x{VOCAB}xf32> {{transformer.name = "logits"}}) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %b = tensor.dim %tokens, %c0 : tensor<?x?xi32>
  %s = tensor.dim %tokens, %c1 : tensor<?x?xi32>
  %e = transformer.parameter "attention.gguf" ["embedding"] : tensor<{VOCAB}x{width}xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<{VOCAB}x{width}xf32> -> tensor<?x?x{width}xf32>
  %u = {columns(0, query)}
  %t = {columns(query, shared)}
  %v = {columns(query + shared, shared)}
  %r = transformer.rotary_table theta = 1.0e+05 : tensor<{CONTEXT}x{head_dim // 2}x2xf32>
  %q = transformer.rotary halves %u, %r head_dim = {head_dim} : tensor<?x?x{query}xf32>, tensor<{CONTEXT}x{head_dim // 2}x2xf32>
  %k = transformer.rotary halves %t, %r head_dim = {head_dim} : tensor<?x?x{shared}xf32>, tensor<{CONTEXT}x{head_dim // 2}x2xf32>
  %o = transformer.attention causal %q, %k, %v heads = {heads} kv_heads = {kv_heads} scale = {head_dim ** -0.5:e} : tensor<?x?x{query}xf32>, tensor<?x?x{shared}xf32>
  %w = transformer.parameter "attention.gguf" ["output"] : tensor<{VOCAB}x{query}xf32>
  %y = transformer.linear %o, %w : (tensor<?x?x{query}xf32>, tensor<{VOCAB}x{query}xf32>) -> tensor<?x?x{VOCAB}xf32>
  return %y : tensor<?x?x{VOCAB}xf32>
}}
""")
    return path


if __name__ == "__main__":
    print(write(pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:5])))
