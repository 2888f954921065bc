#!/usr/bin/env python3
"""Writes the tokenizer segment of a GGUF file, independently of the compiler.

    make_tokenizer_segment.py MODEL.gguf OUT

Needs the package gguf, and flatc with the schema. Tests that must not need the
model read OUT: test/data/tokenizer/smollm2.segment is made from
SmolLM2-135M-Instruct.Q4_1.gguf.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import gguf

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "runtime/schema/tokenizer.fbs"


def main():
    model, out = map(pathlib.Path, sys.argv[1:3])
    reader = gguf.GGUFReader(model)

    def value(key, default=None):
        field = reader.fields.get("tokenizer.ggml." + key)
        return default if field is None else field.contents()

    assert value("model") == "gpt2"
    tokens = value("tokens")
    ids = {token: i for i, token in enumerate(tokens)}
    assert len(ids) == len(tokens)

    text, offsets = b"", [0]
    for token in tokens:
        text += token.encode()
        offsets.append(len(text))
    merges = []
    for merge in value("merges"):
        left, right = merge.split(" ")
        merges += [ids[left], ids[right], ids[left + right]]

    pre = value("pre")
    segment = {
        "pre": pre,
        "text": list(text),
        "offsets": offsets,
        "kinds": value("token_type"),
        "merges": merges,
        "bos_id": value("bos_token_id", -1),
        "eos_id": value("eos_token_id", -1),
        "unk_id": value("unknown_token_id", -1),
        "pad_id": value("padding_token_id", -1),
        "add_bos": value("add_bos_token", pre == "llama-bpe"),
        "add_eos": value("add_eos_token", False),
        "ignore_merges": pre == "llama-bpe",
        "add_space_prefix": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "tokenizer.json"
        source.write_text(json.dumps(segment))
        subprocess.run(["flatc", "--binary", "-o", folder, SCHEMA, source], check=True)
        out.write_bytes((pathlib.Path(folder) / "tokenizer.bin").read_bytes())
    print(f"{out}: {len(tokens)} tokens, {len(merges) // 3} merges, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
