#!/usr/bin/env python3
"""Writes test/data/dequantize/blocks.safetensors: random blocks of each tensor
type that Chorus supports, and the f32 values that the Python package gguf makes
of them. Needs numpy, gguf, safetensors. Run from the repository's root."""

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

SEED = 20240917
BLOCKS = 96
HALF_SPECIALS = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00]
# Offsets of the halves inside a block.
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2]}


def finite_halves(rng, count):
    """Random halves without NaN and infinity; the first are edge cases."""
    bits = rng.integers(0, 1 << 16, count, dtype=np.uint16)
    bits = np.where(bits & 0x7C00 == 0x7C00, bits & 0x83FF, bits).astype(np.uint16)
    bits[: len(HALF_SPECIALS)] = HALF_SPECIALS
    return bits


def blocks_of(rng, kind):
    block_bytes = GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (BLOCKS, block_bytes), dtype=np.uint8)
    for at in HALVES[kind.name]:
        halves = finite_halves(rng, BLOCKS)
        if at == 2:  # Meet each special scale with an ordinary minimum too.
            halves = np.roll(halves, 3)
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(BLOCKS, 2)
    return blocks.reshape(-1)


def main():
    rng = np.random.default_rng(SEED)
    tensors = {}
    for kind in (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1):
        tensors[kind.name + ".blocks"] = blocks_of(rng, kind)
    tensors["F16.blocks"] = finite_halves(rng, 2048).view(np.uint8)
    bf16 = rng.integers(0, 1 << 16, 2048, dtype=np.uint16)
    tensors["BF16.blocks"] = np.where(bf16 & 0x7F80 == 0x7F80, 0x3F80, bf16).astype(np.uint16).view(np.uint8)
    f32 = rng.integers(0, 1 << 32, 512, dtype=np.uint32)
    tensors["F32.blocks"] = np.where(f32 & 0x7F800000 == 0x7F800000, 1, f32).astype(np.uint32).view(np.uint8)
    for name in list(tensors):
        kind = GGMLQuantizationType[name.removesuffix(".blocks")]
        values = dequantize(tensors[name].reshape(1, -1), kind)
        tensors[kind.name + ".values"] = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    save_file(tensors, "test/data/dequantize/blocks.safetensors")


if __name__ == "__main__":
    main()
