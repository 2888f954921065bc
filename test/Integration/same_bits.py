#!/usr/bin/env python3
"""The same bits, whatever runs beside: one file of requests in every setting of
FACTORS, and single candidates of it alone.

Each prompt has one result for each type of cache: a hash over the token ids
and the bits of the log-probabilities of its candidates. After the settings
stands which kernel shapes they reached, as the runs report it; a shape that
none of them reaches fails the test. Artifacts whose sums are in any order must
fail it.

A tiny model of mixed tensor types goes through a pairwise covering set of all
factors, the real model through a few settings. With --all: the tiny model
through every setting, the real one through a covering set and 200 random
settings. What each setting reached is then written to build/same-bits.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import json
import random
import re
import sys
import textwrap
import time

import numpy

from harness import MODEL, ROOT, Failed, Model, Suite

import llama_gguf

# What may change no bit. `order`: a permutation of the requests in their file;
# the others are options of chorus-run. `cpu` has the levels of the artifact
# that this CPU has.
FACTORS = {
    "max-batch": [1, 2, 3, 7, 16, 64, 256],
    "threads": [1, 2, 3, 4],
    "order": [0, 1, 2, 3, 4],
    "prefill-chunk": [1, 7, 64, 512],
    "prefix-cache": ["on", "off"],
    "shared-attention": ["on", "off", "auto"],
    "late-fork": ["on", "off"],
}
CACHES = ["f16", "f32"]
PROCESSES = 2  # That run at a time.
REPORTS = ROOT / "build/same-bits"

TINY = llama_gguf.Config(layers=2, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301,
                         kind="mix", tied=False, context=512, rope_factors=True, seed=20)

# Attention by runs of rows that read the same pages: of sequences that share
# them, of one sequence, one row alone.
ATTENTION = {"attention.shared": "shared", "attention.prefill": "prefill", "attention.single": "unshared"}
SHAPES = ["one row", "few rows", "full tile", "tail", *ATTENTION.values()]
# Far into a context, partitions of positions are units of work where rows are few.
PARTITIONS = "partitions"
# Across two borders of partitions, the second one while generating.
LONG_PROMPT, LONG_GENERATED = 2 * 1024 - 6, 12


def describe(setting):
    return " ".join(f"{name}={value}" for name, value in setting.items()) or "default settings"


def short(setting):
    return "/".join(str(value) for value in setting.values()) or "default"


def shapes_of(kernels, largest):
    """Shapes of these kernels; products have tiles of at most `largest` rows."""
    found = {ATTENTION[name] for name in kernels if name in ATTENTION}
    for name in kernels:
        if part := re.match(r"(stream|tile|amx)\..*\.r(\d+)$", name):
            rows = int(part[2])
            if part[1] == "stream":
                found.add("one row" if rows == 1 else "few rows")
            else:
                found.add("full tile" if rows == largest else "tail")
    if any(name.endswith(".attention_join") for name in kernels):
        found.add(PARTITIONS)
    return tuple(shape for shape in [*SHAPES, PARTITIONS] if shape in found)


@functools.lru_cache(maxsize=4096)
def hashes_of(line):
    """Candidate to hash of one line of a run's output."""
    answer, out = json.loads(line), {}
    for record in answer["candidates"]:
        bits = hashlib.sha256(numpy.array(record["token_ids"], numpy.int64).tobytes())
        bits.update(numpy.array(record["logprobs"], numpy.float32).tobytes())
        out[answer["id"], record["candidate"]] = bits.hexdigest()[:16]
    return out


class Checker:
    """Runs requests of one artifact in many settings and compares the hashes."""

    def __init__(self, model, requests):
        self.model, self.requests = model, {request["id"]: request for request in requests}
        self.folder = model.path.with_suffix(".runs")
        self.folder.mkdir()
        for order in FACTORS["order"]:
            random.Random(order).shuffle(requests)
            self.input(order).write_text("".join(json.dumps(request) + "\n" for request in requests))
        codes = model.description()["models"][0]["codes"]
        self.largest = {code["target"]: max(int(name.rpartition(".r")[2]) for name in code["kernels"]
                                            if name.startswith(("tile.", "amx."))) for code in codes}
        self.known, self.reached = {}, {}

    def input(self, order):
        return self.folder / f"order{order}.jsonl"

    def run(self, setting):
        """{(prompt, candidate): hash} and the shapes reached. A setting with
        `alone` runs one candidate of one prompt."""
        options = dict(setting)
        entered = self.folder / (short(setting).replace("/", "-") + ".kernels")
        command = ["--kernels", entered, "--ignore-eos"]
        if alone := options.pop("alone", None):
            request, candidate = self.requests[alone[0]], alone[1]
            for name in ("seed", "max_tokens", "temperature", "top_p"):
                command += ["--" + name.replace("_", "-"), request[name]]
            command += ["--prompt-ids", ",".join(map(str, request["prompt_ids"])), "--json", "-n", request["n"],
                        "--candidate", candidate]
        else:
            command += ["--jsonl", self.input(options.pop("order", 0)), "--out", "-"]
        for name, value in options.items():
            command += ["--" + name, value]
        out = self.model.run(*command, text=False).out
        kernels = entered.read_text().split()
        entered.unlink()
        shapes = shapes_of(kernels, self.largest[setting["cpu"]])
        if alone:
            out = json.dumps({"id": alone[0], "candidates": [json.loads(out)]}).encode()
        found = {}
        for line in out.splitlines():
            found |= hashes_of(line)
        return found, shapes

    def check(self, case, settings, progress=None):
        """All of them, two at a time."""
        pool = concurrent.futures.ThreadPoolExecutor(PROCESSES)
        try:
            for setting, (found, shapes) in zip(settings, pool.map(self.run, settings)):
                self.reached.setdefault((setting["cpu"], shapes), []).append(setting)
                expected = ([setting["alone"]] if setting.get("alone") else
                            [(name, k) for name, request in self.requests.items() for k in range(request["n"])])
                case.equal(sorted(found), sorted(expected), f"candidates of {describe(setting)}")
                for candidate, value in found.items():
                    first, where = self.known.setdefault(candidate, (value, setting))
                    case.require(first == value, f"candidate {candidate} with {describe(setting)} has other bits than "
                                                 f"with {describe(where)}")
                if progress:
                    progress(len(settings))
        finally:
            pool.shutdown(cancel_futures=True)
        case.note = f"{len(settings)} settings, one result for each of {len(self.requests)} prompts: {self.hash()}"

    def prompt_hashes(self):
        """Prompt to one hash over its candidates."""
        out = {}
        for name, request in self.requests.items():
            one = "".join(self.known[name, k][0] for k in range(request["n"]))
            out[name] = hashlib.sha256(one.encode()).hexdigest()[:16]
        return out

    def hash(self):
        return hashlib.sha256("".join(self.prompt_hashes().values()).encode()).hexdigest()[:16]

    def print_reached(self, report=None):
        """Prints which settings reached which shapes, or writes it to `report`.
        Returns (CPU, shape) to number of settings."""
        lines, counts = [], {}
        for (cpu, shapes), settings in sorted(self.reached.items()):
            lines.append(f"  {cpu}: {len(settings)} settings: {', '.join(shapes)}" + ("" if report else ":"))
            if not report:
                lines.append(textwrap.fill(", ".join(map(short, settings)), width=160, initial_indent="    ",
                                           subsequent_indent="    ", break_on_hyphens=False))
            for shape in shapes:
                counts[cpu, shape] = counts.get((cpu, shape), 0) + len(settings)
        print(f"  settings by shapes reached, as {'/'.join(FACTORS)}/cpu", *lines, sep="\n", flush=True)
        if report:
            REPORTS.mkdir(parents=True, exist_ok=True)
            with open(REPORTS / report, "w") as f:
                f.writelines(f"{name} {value}\n" for name, value in self.prompt_hashes().items())
                f.writelines(f"{describe(setting)}: {', '.join(shapes)}\n"
                             for (_, shapes), settings in self.reached.items() for setting in settings)
            print(f"  each of them: {REPORTS / report}", flush=True)
        return counts

    def check_reached(self, case, report=None):
        """No shape may be missing on any CPU level."""
        counts = self.print_reached(report)
        for cpu in sorted({cpu for cpu, _ in self.reached}):
            for shape in SHAPES:
                case.require((cpu, shape) in counts, f"kernel shape '{shape}' of {cpu} was never reached")
        case.note = ", ".join(f"{shape} {sum(n for (_, s), n in counts.items() if s == shape)}" for shape in SHAPES)

    def check_fails(self, case, settings):
        """These settings do not have the same bits, or this test is blind."""
        try:
            self.check(case, settings)
        except Failed as difference:
            case.note = str(difference)
            return
        case.require(False, f"{len(settings)} settings have the same bits: the comparison is blind")


def pairwise(factors, generator):
    """Settings such that every pair of values of two factors occurs."""
    names = list(factors)
    missing = {(a, x, b, y) for a, b in itertools.combinations(names, 2)
               for x in factors[a] for y in factors[b]}
    out = []
    while missing:
        best, covered = None, set()
        listed = sorted(missing, key=repr)
        for _ in range(40):
            a, x, b, y = generator.choice(listed)
            row = {k: generator.choice(v) for k, v in factors.items()} | {a: x, b: y}
            pairs = {(p, row[p], q, row[q]) for p, q in itertools.combinations(names, 2)} & missing
            if len(pairs) > len(covered):
                best, covered = row, pairs
        missing -= covered
        out.append(best)
    return out


def every(factors):
    return [dict(zip(factors, values)) for values in itertools.product(*factors.values())]


def random_settings(count, factors, generator):
    return [{k: generator.choice(v) for k, v in factors.items()} for _ in range(count)]


def tiny_requests():
    """50 prompts of a tree: most share one to two pages with others. More than
    256 candidates, some of which part late or never."""
    generator = numpy.random.default_rng(1)
    beginnings = [generator.integers(3, TINY.vocab, length).tolist() for length in (0, 33, 64, 57)]
    out = []
    for i in range(50):
        tail = generator.integers(3, TINY.vocab, 1 + i % 13).tolist()
        out.append({"id": f"p{i}", "prompt_ids": beginnings[i % 4] + tail, "n": [1, 2, 3, 5, 16][i % 5],
                    "max_tokens": 3 + i % 5, "seed": i, "temperature": [0.8, 0.2, 1.2, 0][i // 5 % 4],
                    "top_p": [1, 0.9][i % 2]})
    return out


def real_requests():
    """The six golden prompts, and two that begin as one of them does."""
    from safetensors.numpy import load_file
    ids = [load_file(ROOT / f"test/data/smollm2/prompt{i}.safetensors")["prompt_ids"].tolist() for i in range(6)]
    ids += [ids[1] + ids[5], ids[1] + ids[4]]
    return [{"id": f"prompt{i}", "prompt_ids": prompt, "n": [1, 3, 2, 8, 1, 2, 3, 2][i], "max_tokens": 6, "seed": i,
             "temperature": [0.8, 0.4, 0][i % 3], "top_p": 0.95} for i, prompt in enumerate(ids)]


def without(factors, *names):
    return {name: values for name, values in factors.items() if name not in names}


def progress_printer(total):
    """Prints a line a minute: settings done and minutes left."""
    start, done, last = time.monotonic(), 0, time.monotonic()

    def step(_):
        nonlocal done, last
        done += 1
        if time.monotonic() - last > 60:
            last = time.monotonic()
            print(f"  {done} of {total} settings, {(last - start) * (total - done) / done / 60:.0f} min left", flush=True)
    return step


def tiny_model(suite, options, levels, emulated):
    source = suite.work / "tiny.gguf"
    llama_gguf.write(source, TINY)
    models = {cache: Model(suite, source, f"tiny-{cache}", ["--kv-cache", cache]) for cache in CACHES}
    factors = FACTORS | {"cpu": levels}
    generator = random.Random(options.seed)
    rest = without(factors, "cpu", "threads")
    progress = progress_printer(len(CACHES) * len(every(factors)))
    for cache, model in models.items():
        checker = Checker(model, tiny_requests())
        with suite.case(f"tiny model, {cache} cache, pairwise set of all factors") as case:
            checker.check(case, pairwise(factors, generator))
        with suite.case(f"tiny model, {cache} cache, one candidate alone") as case:
            alone = without(factors, "order", "max-batch") | {"alone": [("p4", 0), ("p4", 15), ("p14", 7), ("p33", 4)]}
            checker.check(case, pairwise(alone, generator))
        if options.all:
            for cpu, threads in itertools.product(levels, FACTORS["threads"]):
                with suite.case(f"tiny model, {cache} cache, full matrix, {cpu}, {threads} threads") as case:
                    checker.check(case, every(rest | {"threads": [threads], "cpu": [cpu]}), progress)
        for cpu in emulated:
            with suite.case(f"tiny model, {cache} cache, {cpu} emulated") as case:
                # A few settings: each takes its time.
                checker.check(case, pairwise(factors | {"cpu": [cpu], "threads": [2]}, generator)[:8])
        with suite.case(f"tiny model, {cache} cache, kernel shapes") as case:
            checker.check_reached(case, f"tiny-{cache}.txt" if options.all else None)
    for cpu in [*levels, *emulated]:
        with suite.case(f"tiny model, sums in any order are seen, {cpu}") as case:
            model = Model(suite, source, f"tiny-order-free-{cpu}", ["--order-free"])
            case.require(model.description()["numeric_profile"].endswith(";order=free"),
                         "the profile does not say that the order is free")
            Checker(model, tiny_requests()).check_fails(case, pairwise(factors | {"cpu": [cpu]}, generator))


def long_prompts(suite, options, levels):
    source = suite.work / "long.gguf"
    llama_gguf.write(source, dataclasses.replace(TINY, context=4096))
    ids = numpy.random.default_rng(2).integers(3, TINY.vocab, LONG_PROMPT).tolist()
    requests = [{"id": name, "prompt_ids": ids[skipped:], "n": n, "max_tokens": LONG_GENERATED, "seed": n,
                 "temperature": 0.8} for name, skipped, n in (("one", 0, 1), ("eight", 1, 8))]
    model = Model(suite, source, "long")
    factors = {"threads": [1, 2, 3], "prefill-chunk": [100, 512, 4096], "shared-attention": ["auto", "off"],
               "prefix-cache": ["on", "off"], "late-fork": ["on", "off"], "max-batch": [1, 256],
               "cpu": levels}
    with suite.case("long prompts") as case:
        checker = Checker(model, requests)
        checker.check(case, every(factors) if options.all else pairwise(factors, random.Random(options.seed)))
        spread = sum(len(settings) for (_, shapes), settings in checker.reached.items() if PARTITIONS in shapes)
        case.require(spread > 0, "partitions were units of their own in no setting")
        case.note += f"; partitions were units of their own in {spread}"


def real_model(suite, options, levels):
    generator = random.Random(options.seed)
    for cache in CACHES:
        model = Model(suite, MODEL, f"smollm2-{cache}", ["--kv-cache", cache])
        factors = FACTORS | {"cpu": levels}
        checker = Checker(model, real_requests())
        rows = pairwise(factors, generator)
        if options.all:
            rows += random_settings(max(0, 40 - len(rows)), factors, generator)
        else:
            rows = rows[:8]
        with suite.case(f"real model, {cache} cache, {len(rows)} settings of a pairwise set") as case:
            checker.check(case, rows)
        if options.all:
            with suite.case(f"real model, {cache} cache, 200 random settings") as case:
                checker.check(case, random_settings(200, factors, generator))
            print(*(f"  {name} {value}" for name, value in checker.prompt_hashes().items()), sep="\n")
            with suite.case(f"real model, {cache} cache, kernel shapes") as case:
                checker.check_reached(case, f"smollm2-{cache}.txt")
        else:
            checker.print_reached()


def main():
    suite = Suite("same-bits", __doc__)
    suite.parser.add_argument("--all", action="store_true", help="every setting, and the whole set on the real model")
    suite.parser.add_argument("--seed", type=int, default=9, help="of covering sets and random settings")
    suite.parser.add_argument("--model", choices=["tiny", "real", "both"], default="both")
    options = suite.parse()
    print(f"seed {options.seed}", flush=True)
    levels, emulated = suite.cpu_levels()
    if options.model != "real":
        tiny_model(suite, options, levels, emulated)
        long_prompts(suite, options, levels)
    if options.model != "tiny":
        real_model(suite, options, levels)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
