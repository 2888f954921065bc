#!/usr/bin/env python3
"""The same bits, whatever runs beside: number of candidates, one candidate
alone, threads, prefill chunks, batch limit, CPU level, shared attention.

After each case stands which kernel shapes its settings reached, as the runs
report it; a shape that none of them reaches fails the test.

A tiny model of mixed tensor types goes through the full matrix; the real model
through a pairwise covering set (a part of it unless --all) and, with --all,
200 random settings. One hash a candidate, over token ids and the bits of the
log-probabilities.
"""

import dataclasses
import hashlib
import itertools
import random
import re
import sys
import textwrap

import numpy

from harness import MODEL, Failed, Model, Suite

import llama_gguf

CPUS = ["x86-64-v3", "x86-64-v4"]
THREADS = [1, 2, 3]
CHUNKS = [1, 7, 64, 512]
TINY = llama_gguf.Config(layers=2, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301,
                         kind="mix", tied=False, context=512, rope_factors=True, seed=20)
# Not a multiple of a page, of a chunk or of a tile; more than two pages.
PROMPT, GENERATED = 75, 12


@dataclasses.dataclass(frozen=True)
class Setting:
    n: int = 8
    candidate: int | None = None  # Only this one of the n.
    threads: int = 2
    chunk: int = 512
    batch: int | None = None
    cpu: str = "x86-64-v3"
    shared: str = "auto"  # Attention.

    def options(self):
        out = ["-n", self.n, "--threads", self.threads, "--prefill-chunk", self.chunk, "--cpu", self.cpu,
               "--shared-attention", self.shared]
        if self.candidate is not None:
            out += ["--candidate", self.candidate]
        if self.batch is not None:
            out += ["--max-batch", self.batch]
        return out

    def describe(self):
        who = f"n={self.n}" if self.candidate is None else f"candidate {self.candidate}"
        return (f"{who} threads={self.threads} chunk={self.chunk} batch={self.batch or 'default'} "
                f"shared={self.shared} {self.cpu}")

    def short(self):
        who = f"n{self.n}" if self.candidate is None else f"k{self.candidate}"
        return f"{who}/t{self.threads}/c{self.chunk}/b{self.batch or ''}/{self.shared}"


# Attention by runs of rows that read the same pages: of sequences that share
# them, of one sequence, one row alone.
ATTENTION = {"attention.shared": "shared", "attention.prefill": "prefill", "attention.single": "unshared"}
SHAPES = ["one row", "few rows", "full tile", "tail", *ATTENTION.values()]


def shapes_of(kernels, largest):
    """Shapes of these kernels; products have tiles of at most `largest` rows."""
    found = {ATTENTION[name] for name in kernels if name in ATTENTION}
    for name in kernels:
        if part := re.match(r"(stream|tile)\..*\.r(\d+)$", name):
            rows = int(part[2])
            if part[1] == "stream":
                found.add("one row" if rows == 1 else "few rows")
            else:
                found.add("full tile" if rows == largest else "tail")
    return [shape for shape in SHAPES if shape in found]


class Checker:
    """Runs settings of one model and prompt and compares their hashes."""

    def __init__(self, model, ids, generated):
        self.model = model
        self.fixed = ["--prompt-ids", ",".join(map(str, ids)), "--max-tokens", generated, "--ignore-eos",
                      "--temperature", 0.8, "--top-p", 0.95, "--seed", 7]
        self.known, self.settings, self.runs = {}, {}, 0
        self.entered = model.path.with_suffix(".kernels")
        self.largest = {code["target"]: max(int(name.rpartition(".r")[2]) for name in code["kernels"]
                                            if name.startswith("tile."))
                        for code in model.description()["models"][0]["codes"]}

    def hashes(self, setting):
        """Candidate to hash; notes which shapes the run reached."""
        out = {}
        records = self.model.records(*self.fixed, *setting.options(), "--kernels", self.entered)
        shapes = shapes_of(self.entered.read_text().split(), self.largest[setting.cpu])
        self.settings.setdefault((setting.cpu, *shapes), []).append(setting)
        for record in records:
            bits = hashlib.sha256(numpy.array(record["token_ids"], numpy.int64).tobytes())
            bits.update(numpy.array(record["logprobs"], numpy.float32).tobytes())
            out[record["candidate"]] = bits.hexdigest()[:16]
        return out

    def check(self, case, setting):
        got = self.hashes(setting)
        self.runs += 1
        expected = range(setting.n) if setting.candidate is None else [setting.candidate]
        case.equal(sorted(got), list(expected), f"candidates of {setting.describe()}")
        for candidate, value in got.items():
            first = self.known.setdefault(candidate, (value, setting))
            case.require(first[0] == value, f"candidate {candidate} of {setting.describe()} has other bits "
                                            f"than of {first[1].describe()}")

    def print_reached(self):
        """Prints which settings reached which shapes; returns (CPU, shape) to number of settings."""
        counts = {}
        print("  settings by shapes reached: n candidates or k alone, threads, chunk, batch")
        for (cpu, *shapes), settings in sorted(self.settings.items()):
            print(f"  {cpu}: {', '.join(shapes)}:")
            print(textwrap.fill(", ".join(setting.short() for setting in settings), width=160,
                                initial_indent="    ", subsequent_indent="    "))
            for shape in shapes:
                counts[cpu, shape] = counts.get((cpu, shape), 0) + len(settings)
        return counts

    def check_reached(self, case):
        """No shape may be missing on any CPU level."""
        counts = self.print_reached()
        for cpu in sorted({setting[0] for setting in self.settings}):
            for shape in SHAPES:
                case.require((cpu, shape) in counts, f"kernel shape '{shape}' of {cpu} was never reached")
        one = "".join(v for v, _ in (self.known[k] for k in sorted(self.known)))
        case.note = (f"{self.runs} settings, hash {hashlib.sha256(one.encode()).hexdigest()[:16]}; reached: "
                     + ", ".join(f"{shape} {sum(n for (_, s), n in counts.items() if s == shape)}" for shape in SHAPES))

    def check_fails(self, case, settings):
        """These settings do not have the same bits, or this test is blind."""
        for setting in settings:
            try:
                self.check(case, setting)
            except Failed as difference:
                case.note = str(difference)
                return
        case.require(False, f"{self.runs} settings have the same bits: the comparison is blind")


def pairwise(factors, generator):
    """Settings such that every pair of values of two factors occurs."""
    names = list(factors)
    missing = {(a, x, b, y) for a, b in itertools.combinations(names, 2)
               for x in factors[a] for y in factors[b]}
    out = []
    while missing:
        best, covered = None, set()
        for _ in range(40):
            a, x, b, y = generator.choice(sorted(missing, key=repr))
            row = {k: generator.choice(v) for k, v in factors.items()} | {a: x, b: y}
            pairs = {(p, row[p], q, row[q]) for p, q in itertools.combinations(names, 2)} & missing
            if len(pairs) > len(covered):
                best, covered = row, pairs
        missing -= covered
        out.append(best)
    return out


def random_settings(count, factors, generator):
    return [{k: generator.choice(v) for k, v in factors.items()} for _ in range(count)]


def as_setting(row):
    candidate = {"all": None, "first": 0, "last": row["n"] - 1}[row["who"]]
    return Setting(row["n"], candidate, row["threads"], row["chunk"], row["batch"], row["cpu"], row["shared"])


def tiny_model(suite, cpus):
    source = suite.work / "tiny.gguf"
    llama_gguf.write(source, TINY)
    ids = numpy.random.default_rng(1).integers(3, TINY.vocab, PROMPT).tolist()
    checker = Checker(Model(suite, source, "tiny"), ids, GENERATED)
    who = [(8, None), (1, None), (2, None), (3, None), (8, 0), (8, 5)]
    for cpu, threads in itertools.product(cpus, THREADS):
        with suite.case(f"tiny model, full matrix, {cpu}, {threads} threads") as case:
            for (n, candidate), chunk, batch in itertools.product(who, CHUNKS, [None, 1, 3]):
                several = n > 1 and candidate is None and batch != 1
                for shared in ["auto", "off"] if several else ["auto"]:
                    checker.check(case, Setting(n, candidate, threads, chunk, batch, cpu, shared))
    with suite.case("tiny model, kernel shapes") as case:
        checker.check_reached(case)
    for cpu in cpus:
        with suite.case(f"tiny model, sums in any order are seen, {cpu}") as case:
            model = Model(suite, source, "tiny-order-free", ["--order-free"])
            case.require(model.description()["numeric_profile"].endswith(";order=free"),
                         "the profile does not say that the order is free")
            Checker(model, ids, GENERATED).check_fails(case, [Setting(n, cpu=cpu) for n in (8, 1, 2)])


def real_model(suite, cpus, everything, seed):
    from safetensors.numpy import load_file
    from harness import ROOT
    model = Model(suite, MODEL, "smollm2")
    factors = {"n": [1, 2, 8, 33] if everything else [1, 2, 8], "who": ["all", "first", "last"],
               "threads": THREADS, "chunk": CHUNKS, "batch": [None, 1, 5, 16], "cpu": cpus,
               "shared": ["auto", "on", "off"]}
    generator = random.Random(seed)
    rows = pairwise(factors, generator)
    if everything:
        rows += random_settings(max(0, 40 - len(rows)), factors, generator)
    else:
        rows = rows[:8]
    prompts = ["prompt0", "prompt1", "prompt3"] if everything else ["prompt1"]
    for name in prompts:
        ids = load_file(ROOT / f"test/data/smollm2/{name}.safetensors")["prompt_ids"].tolist()
        checker = Checker(model, ids, GENERATED)
        with suite.case(f"real model, {len(rows)} settings of a pairwise set, {name}") as case:
            # Two settings differ in all factors from the start.
            checker.check(case, Setting(n=8, cpu=cpus[-1]))
            checker.check(case, Setting(n=1, threads=1, chunk=7, cpu=cpus[0]))
            for row in rows:
                checker.check(case, as_setting(row))
            case.note = f"{checker.runs} settings"
        if everything:
            with suite.case(f"real model, 200 random settings, {name}") as case:
                for row in random_settings(200, factors, generator):
                    checker.check(case, as_setting(row))
            with suite.case(f"real model, kernel shapes, {name}") as case:
                # A prompt of a few tokens has no full tile.
                if len(ids) >= 32:
                    checker.check_reached(case)
        else:
            checker.print_reached()


def main():
    suite = Suite("same-bits", __doc__)
    suite.parser.add_argument("--all", action="store_true", help="the whole set on the real model")
    suite.parser.add_argument("--seed", type=int, default=9, help="of the real model's settings")
    options = suite.parse()
    print(f"seed {options.seed}", flush=True)
    with open("/proc/cpuinfo") as f:
        cpus = CPUS if "avx512_vnni" in f.read() else CPUS[:1]
    if len(cpus) == 1:
        suite.skip("x86-64-v4", "this CPU lacks AVX512 VNNI")
    tiny_model(suite, cpus)
    real_model(suite, cpus, options.all, options.seed)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
