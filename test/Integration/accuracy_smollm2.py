#!/usr/bin/env python3
"""Accuracy of the real model against a float32 oracle (transformers on the
dequantised weights), whose 32 likeliest tokens per position are stored."""

import sys

import numpy
from safetensors.numpy import load_file

from harness import FULL_GOLDENS, MODEL, ROOT, Model, Suite

import llama_oracle

KL_BAR, TOP1_BAR, F32_BAR, MARGIN = 0.0055, 0.95, 1e-3, 0.01
# So many of our likeliest tokens that the oracle's 32 are among them; where
# they are not, all are asked for.
ECHO, VOCAB = 4096, 49152


def listed(model, ids, wanted, *options):
    """Our log-probabilities of the tokens `wanted` [seq, 32] and our likeliest
    token [seq]."""
    for k in (ECHO, VOCAB):
        got_ids, got = model.log_probabilities(ids, k, *options)
        out = numpy.full(wanted.shape, numpy.nan)
        for i, row in enumerate(wanted):
            place = {int(t): j for j, t in enumerate(got_ids[i])}
            for j, token in enumerate(row):
                if int(token) in place:
                    out[i, j] = got[i, place[int(token)]]
        if not numpy.isnan(out).any():
            return out, got_ids[:, 0]
    raise AssertionError("--echo-logprobs with the whole vocabulary left a token out")


def bucketed_kl(p, q):
    """KL per position over the listed tokens and one bucket for the rest."""
    p, q = p.astype(numpy.float64), q.astype(numpy.float64)
    rest_p = numpy.clip(1 - numpy.exp(p).sum(axis=1), 1e-12, None)
    rest_q = numpy.clip(1 - numpy.exp(q).sum(axis=1), 1e-12, None)
    return (numpy.exp(p) * (p - q)).sum(axis=1) + rest_p * numpy.log(rest_p / rest_q)


def main():
    suite = Suite("accuracy-smollm2", __doc__)
    suite.parse()
    folder = FULL_GOLDENS / "smollm2" if FULL_GOLDENS.exists() else ROOT / "test/data/smollm2"
    prompts = {f.stem: load_file(f) for f in sorted(folder.glob("*.safetensors"))}

    default = Model(suite, MODEL, "default")
    losses, peer_losses, agreed, positions = [], [], 0, 0
    peer = llama_oracle.Oracle(MODEL, f32=False)
    for name, golden in prompts.items():
        with suite.case(f"default activations, {name}") as case:
            got, first = listed(default, golden["prompt_ids"], golden["top_ids"])
            loss = bucketed_kl(golden["top_logprobs"], got)
            theirs = numpy.take_along_axis(peer.log_probabilities(golden["prompt_ids"]),
                                           golden["top_ids"].astype(numpy.int64), axis=1)
            losses.append(loss)
            peer_losses.append(bucketed_kl(golden["top_logprobs"], theirs))
            agreed += int((first == golden["top_ids"][:, 0]).sum())
            positions += len(first)
            case.note = f"KL {loss.mean():.5f}, llama.cpp {peer_losses[-1].mean():.5f}"
    peer.close()
    with suite.case("default activations, all positions") as case:
        case.equal(len(losses), len(prompts), "prompts compared")
        loss, theirs = numpy.concatenate(losses).mean(), numpy.concatenate(peer_losses).mean()
        case.note = (f"{positions} positions: KL {loss:.6f} (bar {KL_BAR}), llama.cpp {theirs:.6f}, "
                     f"top-1 agreement {agreed / positions:.3f}")
        case.require(loss <= KL_BAR, f"KL {loss:.5f}, at most {KL_BAR}")
        case.require(loss <= theirs, f"KL {loss:.6f}, above llama.cpp's {theirs:.6f}")
        case.require(agreed >= TOP1_BAR * positions,
                     f"top-1 agreement {agreed / positions:.3f}, at least {TOP1_BAR}")

    exact = Model(suite, MODEL, "f32", ["--activations=f32", "--kv-cache=f32"])
    for name, golden in prompts.items():
        with suite.case(f"f32 activations and cache, {name}") as case:
            got, _ = listed(exact, golden["prompt_ids"], golden["top_ids"])
            worst = float(numpy.abs(got - golden["top_logprobs"]).max())
            case.require(worst <= F32_BAR, f"log-probabilities differ by {worst:.2e}, at most {F32_BAR:g}")
            count = len(golden["greedy_ids"])
            record = exact.records("--prompt-ids", ",".join(map(str, golden["prompt_ids"])),
                                   "--temperature", 0, "--max-tokens", count, "--ignore-eos")[0]
            unsure = numpy.flatnonzero(golden["greedy_margin"] < MARGIN)
            sure = int(unsure[0]) if len(unsure) else count
            case.equal(record["token_ids"][:sure], golden["greedy_ids"][:sure].tolist(), "greedy tokens")
            case.note = f"largest difference {worst:.1e}, {sure} greedy tokens equal"

    with suite.case("echo has the bits of generation") as case:
        golden = next(iter(prompts.values()))
        prompt = golden["prompt_ids"].tolist()
        record = default.records("--prompt-ids", ",".join(map(str, prompt)), "--max-tokens", 24,
                                 "--ignore-eos", "--seed", 3)[0]
        ids, values = default.log_probabilities(prompt + record["token_ids"][:-1], VOCAB)
        for i, (token, value) in enumerate(zip(record["token_ids"], record["logprobs"])):
            row = len(prompt) - 1 + i
            echoed = values[row][ids[row] == token][0]
            case.equal(echoed.tobytes(), numpy.float32(value).tobytes(), f"bits of generated token {i}")
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
