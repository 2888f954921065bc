#!/usr/bin/env python3
"""Attention over shared pages has the bits of each sequence alone.

Random trees of sequences: common beginnings of any length, also within a page,
decode rows and chunks of several rows, in the order of the tree or in any, a
third of them across one or two borders of partitions.
Each runs with shared attention off, as the code chooses, and on, and its
logits equal those of its sequences in steps of their own over copies of the
pages, as a whole and in chunks; code of all CPU levels and any number of
threads, with partitions as units or not, give one hash.
"""

import re
import sys

from harness import ROOT, Model, Suite, run

sys.path.insert(0, str(ROOT / "benchmarks/attention"))
import model  # noqa: E402

# Heads, kv heads, head_dim, cache: groups of 1 to more than a block of 48 query
# head rows holds, channels that are no multiple of a vector.
SHAPES = [(9, 3, 64, "f16"), (4, 4, 16, "f16"), (5, 1, 24, "f16"), (14, 2, 128, "f16"),
          (56, 1, 16, "f16"), (6, 3, 64, "f32"), (7, 1, 80, "f32")]
TREES = 40


def main():
    suite = Suite("shared-attention", __doc__)
    suite.parser.add_argument("--seed", type=int, default=10, help="of the trees")
    options = suite.parse()
    print(f"seed {options.seed}", flush=True)
    cpus, _ = suite.cpu_levels()
    for heads, kv_heads, head_dim, cache in SHAPES:
        name = f"{heads}/{kv_heads} heads of {head_dim}, {cache} cache"
        if not suite.wants(name):
            continue
        with suite.case(name) as case:
            source = model.write(suite.work, heads, kv_heads, head_dim)
            artifact = Model(suite, source, f"attention-{heads}-{head_dim}-{cache}", [f"--kv-cache={cache}"])
            hashes = {}
            for cpu in cpus:
                for threads in (1, 2, 3):
                    done = run([suite.tool("attention-step"), "check", str(artifact.path), "--cpu", cpu, "--threads",
                                str(threads), "--cases", str(TREES), "--seed", str(options.seed)])
                    case.require(done.code == 0, f"{cpu}, {threads} threads: {done.out.strip()} {done.err.strip()}")
                    found = re.search(r"spread in (\d+) runs, 0 differences, hash ([0-9a-f]{16})", done.out)
                    hashes.setdefault(found[2], f"{cpu}, {threads} threads")
                    # A row has fewer units than two a thread.
                    few = kv_heads < 2 * threads
                    case.require((int(found[1]) > 0) == few, f"{cpu}, {threads} threads: {done.out.strip()}")
            case.equal(len(hashes), 1, f"hashes of {' and '.join(hashes.values())}")
            case.note = f"{TREES} trees, hash {next(iter(hashes))}"
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
