#!/usr/bin/env python3
"""Ranking, beam search and the calculator with a real model: SmolLM2 as
generator, as its own verifier, and as a second model of the same artifact; value
heads whose values follow from log-probabilities."""

import dataclasses
import json
import math
import struct
import sys

import gguf
import numpy

from harness import MODEL, Model, Suite, contract_line, run
import llama_gguf

TEMPLATE = """<|im_start|>user
Question: {{ question }}
Proposed answer: {{ candidate }}
Is it correct? Reply with yes or no.<|im_end|>
<|im_start|>assistant
"""
SCORE = 'p("yes") / (p("yes") + p("no"))'
QUESTION = "What is 17 + 5?"


def verifier_options(suite, verifier, score=SCORE):
    template = suite.work / "judge.jinja"
    template.write_text(TEMPLATE)
    return ["--verifier", str(verifier), "--verifier-template", str(template), "--score", score]


def probabilities(model, text, words):
    """Of the words, single tokens each, after a text with special tokens."""
    done = model.run("--prompt", text, "--parse-special", "--echo-logprobs", 49152, "--json")
    last = json.loads(done.out)["positions"][-1]
    table = dict(zip(last["ids"], last["logprobs"]))
    found = []
    for word in words:
        line = model.run("--tokenize-file", "-", "--json", stdin=json.dumps({"text": word})).out
        (token,) = json.loads(line)["ids"]
        found.append(math.exp(table[token]))
    return found


def verifiers(suite):
    own = Model(suite, MODEL, name="own", options=verifier_options(suite, "self"))
    ask = ["--chat", "--prompt", QUESTION, "-n", 6, "--max-tokens", 30, "--temperature", 0.8,
           "--seed", 3, "--rank", "verifier"]
    with suite.case("the generator as verifier") as case:
        records = own.records(*ask)
        case.equal(len(records), 6, "records")
        case.require(len({record["text"] for record in records}) > 2, "candidates are alike")
        for record in records[:3]:
            text = TEMPLATE.replace("{{ question }}", QUESTION)
            # Jinja drops the newline at a template's end.
            text = text.replace("{{ candidate }}", record["text"])[:-1]
            yes, no = probabilities(own, text, ["yes", "no"])
            got = record["scores"]["verifier"]
            case.require(abs(got - yes / (yes + no)) < 1e-6,
                         f"candidate {record['candidate']}: {got}, expected {yes / (yes + no)}")
        ranked = sorted(records, key=lambda r: r["rank"])
        scores = [record["scores"]["verifier"] for record in ranked]
        case.equal(scores, sorted(scores, reverse=True), "scores by rank")
    with suite.case("a verifier of its own") as case:
        pair = Model(suite, MODEL, name="pair", options=verifier_options(suite, MODEL))
        case.equal(len(pair.description()["models"]), 2, "models")
        # It is the same model: its scores have the same bits.
        for got, expected in zip(pair.records(*ask), own.records(*ask)):
            for each in (got, expected):
                del each["artifact_sha256"]
            case.equal(got, expected, "record")
    return own


def refusals(suite):
    for name, score, words in [
            ("two tokens", 'p(" yes and")', ["2 tokens", "exactly one"]),
            ("no token", 'p("")', ["0 tokens"]),
            ("syntax", 'p("yes" / 2', ["@8"]),
            ("unknown function", 'exp(p("yes"))', ["@0"]),
            ("no probability", "1 + 2", ["has no p("])]:
        with suite.case(f"score with {name}") as case:
            out = suite.work / "refused.chorus"
            done = run([suite.tool("chorus-compile"), str(MODEL), "-o", str(out), "--quiet",
                        *verifier_options(suite, "self", score)])
            contract_line(done, "chorus-compile", {2}, "usage", words)
            case.require(not out.exists(), "an output is there")


def beam_search(model, ids, beams, length, alpha):
    """The definition, over distributions of whole texts."""
    alive, finished = [(0.0, [])], []
    penalty = lambda count: ((5 + count) / 6) ** alpha
    for step in range(1, length + 1):
        extensions = []
        for number, (total, tokens) in enumerate(alive):
            next_ids, next_values = model.log_probabilities(ids + tokens, 2 * beams)
            for token, value in zip(next_ids[-1].tolist(), next_values[-1].tolist()):
                extensions.append((-(total + value), number, token))
        following = []
        for negative, number, token in sorted(extensions)[:2 * beams]:
            tokens = alive[number][1] + [token]
            if token in (0, 2) or step == length:
                finished.append((-negative / penalty(step), tokens))
            elif len(following) < beams:
                following.append((-negative, tokens))
        finished = sorted(finished, key=lambda item: -item[0])[:beams]
        alive = following
        if len(finished) == beams and alive and alive[0][0] / penalty(length) <= finished[-1][0]:
            break
    return finished


def beams(suite, model):
    with suite.case("beam search by its definition") as case:
        prompt = "The capital of France"
        ids = json.loads(model.run("--tokenize-file", "-", "--json",
                                   stdin=json.dumps({"text": prompt})).out)["ids"]
        records = model.records("--prompt", prompt, "--beams", 3, "--max-tokens", 5,
                                "--length-penalty", 0.6)
        expected = beam_search(model, ids, 3, 5, 0.6)
        case.equal([record["token_ids"] for record in records], [tokens for _, tokens in expected],
                   "tokens")
        for record, (score, _) in zip(records, expected):
            case.require(abs(record["scores"]["beam"] - score) < 1e-5,
                         f"score {record['scores']['beam']}, expected {score}")


def calculator(suite, model):
    with suite.case("calculator writes into the text") as case:
        prompt = "".join(f"{who} has {a} {of} of {b} {what}. {pronoun} has {a}*{b}="
                         f"<<{a}*{b}={a * b}>>{a * b} {what}.\n"
                         for who, pronoun, a, of, b, what in [
                             ("Tom", "He", 3, "boxes", 4, "pens"),
                             ("Sue", "She", 5, "bags", 21, "nuts"),
                             ("Joe", "He", 8, "rows", 15, "trees")])
        prompt += "Ann has 70 boxes of 89 pens. She has 70*89="
        options = ["--prompt", prompt, "-n", 8, "--max-tokens", 24, "--temperature", 0.5,
                   "--seed", 1]
        helped = model.records(*options, "--tool", "calculator")
        plain = model.records(*options)
        question = "<<70*89="
        asked = [i for i, record in enumerate(plain) if record["text"].startswith(question)]
        case.note = f"{len(asked)} of {len(plain)} candidates ask"
        case.require(asked, "no candidate asks")
        for i, record in enumerate(helped):
            if i in asked:
                case.require(record["text"].startswith(question + "6230>>"), repr(record["text"]))
            elif "<<" not in plain[i]["text"]:
                case.equal(record["token_ids"], plain[i]["token_ids"], "of one that does not ask")


def write_safetensors(path, tensors):
    """`tensors`: name to (dtype, array)."""
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def f32(value):
    return "F32", numpy.array(value, numpy.float32)


def embedding_rows(path, ids):
    """Rows of a GGUF file's embedding, which is its output, too."""
    (tensor,) = [t for t in gguf.GGUFReader(path).tensors if t.name == "token_embd.weight"]
    return [gguf.quants.dequantize(tensor.data[i:i + 1], tensor.tensor_type).reshape(-1) for i in ids]


def after_each_token(model, record, vocab):
    """Log-probabilities [tokens, vocab] after each token of a candidate."""
    ids = record["prompt_ids"] + record["token_ids"]
    return model.all_log_probabilities(ids, vocab)[-len(record["token_ids"]):].astype(numpy.float64)


# How far a value may be from log-probabilities: f32 of numbers around 20.
NEAR = 2e-4
SETTINGS = [["--max-batch", 1, "--threads", 1, "--late-fork", "off", "--prefix-cache", "off"],
            ["--max-batch", 3, "--threads", 2, "--prefill-chunk", 7, "--cpu", "x86-64-v3"]]


def linear_head(suite, name, source, vocab, options=()):
    """With the difference of two rows of the vocabulary's own matrix for a
    weight, the value is the difference of two log-probabilities."""
    with suite.case(f"linear value head of {name}") as case:
        a, b = embedding_rows(source, [70, 111])
        head = write_safetensors(suite.work / f"{name}-linear.safetensors",
                                 {"weight": f32(a - b), "bias": f32(0.75)})
        model = Model(suite, source, name=f"{name}-linear",
                      options=["--value-head", str(head), *options])
        case.equal(model.description()["value_head"],
                   {"token": None, "gain": 1.0, "bias": 0.75}, "value head")
        ask = ["--prompt-ids", ",".join(map(str, range(60, 130))), "-n", 6, "--max-tokens", 40,
               "--temperature", 0.9, "--seed", 5, "--rank", "verifier"]
        records = model.records(*ask)
        largest = 0
        for record in records:
            table = after_each_token(model, record, vocab)
            expected = table[:, 70] - table[:, 111] + 0.75
            got = numpy.array(record["values"])
            case.equal(got.shape, expected.shape, "values")
            largest = max(largest, numpy.abs(got - expected).max())
            # The same f32, printed as one and as a double.
            case.equal(numpy.float32(record["scores"]["value"]), numpy.float32(record["values"][-1]), "score")
        case.require(largest < NEAR, f"off by {largest}")
        ranked = [r["scores"]["value"] for r in sorted(records, key=lambda r: r["rank"])]
        case.equal(ranked, sorted(ranked, reverse=True), "scores by rank")
        case.require(len(set(ranked)) > 3, "candidates are alike")
        case.note = f"off by {largest:.1e}"
        for setting in SETTINGS:
            case.equal(model.records(*ask, *setting), records, f"with {setting}")
        # The head changes nothing else.
        plain = Model(suite, source, name=f"{name}-plain", options=options)
        for record, other in zip(records, plain.records(*ask[:-2])):
            for key in ("token_ids", "logprobs"):
                case.equal(record[key], other[key], key)
    return model, records


def logit_head(suite, name, source, vocab):
    with suite.case(f"value head of one logit of {name}") as case:
        values = []
        for token in (70, 111):
            head = write_safetensors(
                suite.work / f"{name}-{token}.safetensors",
                {"token": ("I64", numpy.array(token)), "gain": f32(-2), "bias": f32(0.5)})
            model = Model(suite, source, name=f"{name}-{token}",
                          options=["--value-head", str(head)])
            case.equal(model.description()["value_head"],
                       {"token": token, "gain": -2.0, "bias": 0.5}, "value head")
            values.append(model.records("--prompt-ids", "60,61,62", "-n", 4, "--max-tokens", 30,
                                        "--rank", "verifier"))
        for one, other in zip(*values):
            case.equal(one["token_ids"], other["token_ids"], "tokens")
            table = after_each_token(model, one, vocab)
            got = numpy.array(one["values"]) - numpy.array(other["values"])
            off = numpy.abs(got + 2 * (table[:, 70] - table[:, 111])).max()
            case.require(off < NEAR, f"off by {off}")


def value_heads(suite):
    config = llama_gguf.Config(layers=2, d_model=72, d_ff=104, heads=3, kv_heads=1, head_dim=24,
                               vocab=391, kind="F32", tied=True, seed=11)
    source = suite.work / "tied.gguf"
    llama_gguf.write(source, config)
    model, records = linear_head(suite, "tied", source, config.vocab)
    # Blocks whose products round nothing.
    blocks = suite.work / "blocks.gguf"
    llama_gguf.write(blocks, dataclasses.replace(config, d_model=96, d_ff=128, heads=4, kind="Q4_1"))
    linear_head(suite, "blocks", blocks, config.vocab, ["--activations=f32"])
    logit_head(suite, "tied", source, config.vocab)
    with suite.case("linear value head by reference") as case:
        reference = Model(suite, source, name="reference",
                          options=["--reference", "--value-head",
                                   str(suite.work / "tied-linear.safetensors")])
        record = records[0]
        ids = record["prompt_ids"] + record["token_ids"][:4]
        ask = ["--prompt-ids", ",".join(map(str, ids)), "--max-tokens", 3, "--temperature", 0,
               "--rank", "verifier"]
        (slow,), (fast,) = reference.records(*ask), model.records(*ask)
        case.equal(slow["token_ids"], fast["token_ids"], "tokens")
        off = numpy.abs(numpy.array(slow["values"]) - numpy.array(fast["values"])).max()
        case.require(off < 1e-3, f"off by {off}")
        case.note = f"off by {off:.1e}"
        (entry,) = reference.description()["models"][0]["entries"]
        case.equal([tensor["name"] for tensor in entry["outputs"]], ["logits", "log_sum_exp", "value"],
                   "outputs")
        case.equal(entry["index_bounds"], [{"input": "tokens", "below": config.vocab}], "index bounds")
        case.equal([bound["at_most"] for bound in entry["size_bounds"]], [config.context], "size bounds")
    with suite.case("votes that a value head weighs") as case:
        lines = [{"prompt_ids": [60 + i], "n": 12, "seed": i} for i in range(3)]
        given = suite.work / "lines.jsonl"
        given.write_text("".join(json.dumps(line) + "\n" for line in lines))
        # Of one token each, so that some are alike; exit 1: negative weights.
        done = run([suite.tool("chorus-run"), str(model.path), "--quiet", "--jsonl", str(given),
                    "--out", str(suite.work / "out.jsonl"), "--rank", "weighted-vote",
                    "--max-tokens", "1", "--temperature", "0.3", "--answer-pattern", "."])
        case.require(done.code in (0, 1), done.err)
        weighed = negative = 0
        for line in (suite.work / "out.jsonl").read_text().splitlines():
            result = json.loads(line)
            weights = {}
            for record in result["candidates"]:
                value = record["values"][-1]
                negative += value < 0
                score = record["scores"]["value"]
                case.require(score is None if value < 0 else numpy.float32(score) == numpy.float32(value),
                             f"score {score} of value {value}")
                case.equal(record.get("error", {}).get("code"), "N08" if value < 0 else None, "error")
                if record["answer"] is not None and value >= 0:
                    weights[record["answer"]] = weights.get(record["answer"], 0) + value
            for vote in result["votes"]:
                case.require(abs(vote["weight"] - weights.get(vote["answer"], 0)) < 1e-6, str(vote))
                weighed += vote["weight"] > 0
        case.require(weighed and negative, f"{weighed} weighed, {negative} negative")
    with suite.case("value heads that are refused") as case:
        bad = write_safetensors(suite.work / "bad.safetensors",
                                {"weight": f32([1.0] * 71), "bias": f32(0)})
        compile_ = [suite.tool("chorus-compile"), str(source), "-o", str(suite.work / "no.chorus"),
                    "--quiet", "--value-head", str(bad)]
        contract_line(run(compile_), "chorus-compile", {3}, "G22", ["'weight'", "[71]", "[72]"])
        done = run([*compile_, *verifier_options(suite, "self")])
        contract_line(done, "chorus-compile", {2}, "usage", ["--value-head"])
        case.require(not (suite.work / "no.chorus").exists(), "an output is there")
        done = run([suite.tool("chorus-run"), str(model.path), "--prompt-ids", "60", "--rank",
                    "verifier", "--judges", "3"])
        contract_line(done, "chorus-run", {2}, "usage", ["--judges"])


def main():
    suite = Suite("ranking", __doc__)
    suite.parse()
    value_heads(suite)
    refusals(suite)
    model = verifiers(suite)
    beams(suite, model)
    calculator(suite, model)
    sys.exit(suite.finish())


if __name__ == "__main__":
    main()
