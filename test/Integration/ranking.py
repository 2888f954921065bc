#!/usr/bin/env python3
"""Ranking, beam search and the calculator with a real model: SmolLM2 as
generator, as its own verifier, and as a second model of the same artifact."""

import json
import math
import sys

from harness import MODEL, Model, Suite, contract_line, run

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


def main():
    suite = Suite("ranking", __doc__)
    suite.parse()
    refusals(suite)
    model = verifiers(suite)
    beams(suite, model)
    calculator(suite, model)
    sys.exit(suite.finish())


if __name__ == "__main__":
    main()
