#!/usr/bin/env python3
"""Writes test/data/safetensors/mixed.safetensors with the package safetensors:
several element types, an empty tensor, a scalar, metadata and names that need
escapes. Chorus must read it, and write the same bytes from the same tensors.
Needs numpy, safetensors. Run from the repository's root."""

import numpy as np
from safetensors.numpy import save_file

save_file(
    {
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "half": np.array([1.0, -2.0, 65504.0], dtype=np.float16),
        "ids": np.array([[-1], [1 << 40]], dtype=np.int64),
        "bytes": np.array([1, 2, 255], dtype=np.uint8),
        "mask": np.array([True, False, True]),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "scalar": np.array(0.5, dtype=np.float64),
        'na"me\\ \u00e9\n': np.array([7], dtype=np.int16),
    },
    "test/data/safetensors/mixed.safetensors",
    metadata={"format": "np"},
)
