#!/usr/bin/env python3
"""Random Llama-type models against llama.cpp and against --reference.

Each configuration is written as GGUF; log-probabilities of a random text are
compared with those of llama.cpp on the same values in F32 (its f32 caches, no
flash attention), and with Chorus's own reference. The seed is that of the
commit unless given, and printed.
"""

import subprocess
import sys

import numpy

from harness import ROOT, Model, Suite

import llama_gguf
import llama_oracle

# Two orders of f32 sums differ by about 1e-4 in a log-probability; likely
# tokens by less, since theirs is a difference of similar sums.
ALL, LIKELIEST = 1e-3, 3e-4
# The KL bar of the default activations on the real model. Random weights
# amplify a rounding more from layer to layer than trained ones do, so the
# peer's own rounding of activations, measured on the same file, widens it.
KL, KL_OF_PEER = 0.0055, 2.0
# Positions: more than two pages of 32, and no multiple of them.
LENGTH, REFERENCE_LENGTH = 70, 13
# More than two partitions of attention.
LONG = llama_gguf.Config(layers=2, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301, kind="F32",
                         tied=False, context=2304, seed=21)
LONG_LENGTH = 2100


def kl(p, q):
    """Mean over positions of KL(p || q) of log-probabilities [seq, vocab]."""
    return float((numpy.exp(p) * (p - q)).sum(axis=1).mean())


def require_close(case, got, expected, what):
    difference = numpy.abs(got - expected)
    likeliest = numpy.argsort(-expected, axis=1)[:, :32]
    near = float(numpy.take_along_axis(difference, likeliest, axis=1).max())
    case.require(numpy.isfinite(got).all(), f"{what}: log-probabilities that are not finite")
    case.require(near <= LIKELIEST, f"{what}: {near:.2e} on the 32 likeliest, at most {LIKELIEST:g}")
    case.require(difference.max() <= ALL, f"{what}: {difference.max():.2e}, at most {ALL:g}")
    return f"{what} {difference.max():.1e}"


def check(suite, case, config, label):
    source, twin = suite.work / "model.gguf", suite.work / "twin.gguf"
    llama_gguf.write(source, config, twin)
    ids = numpy.random.default_rng(config.seed).integers(3, config.vocab, LENGTH)
    short = ids[:REFERENCE_LENGTH]
    oracle = llama_oracle.Oracle(twin)
    expected = oracle.log_probabilities(ids)
    oracle.close()

    notes = []
    exact = Model(suite, source, f"{label}-f32", ["--activations=f32", "--kv-cache=f32"])
    got = exact.all_log_probabilities(ids, config.vocab)
    notes.append(require_close(case, got, expected, "llama.cpp"))
    reference = Model(suite, source, f"{label}-reference",
                      ["--reference", "--activations=f32", "--kv-cache=f32"])
    case.equal({e["kind"] for e in reference.description()["models"][0]["entries"]}, {"plain"},
               "kinds of the reference's entries: it recomputes the whole sequence")
    slow = reference.all_log_probabilities(short, config.vocab)
    notes.append(require_close(case, got[:REFERENCE_LENGTH], slow, "reference"))

    peer = llama_oracle.Oracle(source, f32=False)
    bar = max(KL, KL_OF_PEER * kl(expected, peer.log_probabilities(ids)))
    peer.close()
    default = Model(suite, source, f"{label}-default")
    rounded = default.all_log_probabilities(ids, config.vocab)
    loss = kl(expected, rounded)
    case.require(loss <= bar, f"default options: KL {loss:.5f} from llama.cpp in F32, at most {bar:.5f}")
    notes.append(f"KL {loss:.5f} of {bar:.4f}")
    reference = Model(suite, source, f"{label}-reference-default", ["--reference"])
    slow = reference.all_log_probabilities(short, config.vocab)
    loss = kl(slow, rounded[:REFERENCE_LENGTH])
    case.require(loss <= bar, f"default options: KL {loss:.5f} from the reference, at most {bar:.5f}")
    notes.append(f"from reference {loss:.5f}")
    case.note = ", ".join(notes)


def long_text(suite):
    name = f"text of {LONG_LENGTH} tokens"
    if not suite.wants(name):
        return
    source, twin = suite.work / "long.gguf", suite.work / "long-twin.gguf"
    with suite.case(name) as case:
        llama_gguf.write(source, LONG, twin)
        ids = numpy.random.default_rng(LONG.seed).integers(3, LONG.vocab, LONG_LENGTH)
        oracle = llama_oracle.Oracle(twin, context=LONG.context)
        expected = oracle.log_probabilities(ids)
        oracle.close()
        exact = Model(suite, source, "long-f32", ["--activations=f32", "--kv-cache=f32"])
        case.note = require_close(case, exact.all_log_probabilities(ids, LONG.vocab), expected, "llama.cpp")


def main():
    suite = Suite("random-configs", __doc__)
    suite.parser.add_argument("--seed", type=int, help="default: from the commit")
    suite.parser.add_argument("--count", type=int, default=20)
    options = suite.parse()
    seed = options.seed
    if seed is None:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        seed = int(commit.stdout[:8] or "0", 16)
    print(f"seed {seed} ({options.count} configurations; --seed and --only repeat one)", flush=True)
    generator = numpy.random.default_rng(seed)
    for index in range(options.count):
        config = llama_gguf.random_config(generator, index)
        name = f"{index} {config.describe()}"
        if suite.wants(name):
            with suite.case(name) as case:
                check(suite, case, config, str(index))
            for old in suite.work.iterdir():
                old.unlink()
    long_text(suite)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
