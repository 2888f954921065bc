"""What the same bits cost: how much faster the same model is when its sums may
have any order (chorus-compile --order-free), by pairs.

Freed are the products of few rows, whose f32 sums over blocks of weights are
one chain of additions by the contract and two chains then. Products of many
rows have a tile of independent sums and no wait to free, integer sums have no
order, and attention is bound by its operations; these stay as they are, so
that their pairs show the noise of the machine."""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402

AIM_PERCENT = 10
# Name, prompt, tokens a candidate, candidates, figure of chorus-bench.
CASES = [("100 candidates, in all", 256, 64, 100, "total_tok_s"),
         ("prefill of 512", 512, 2, 1, "prefill_tok_s"),
         ("decode, 1 candidate", 32, 64, 1, "decode_tok_s"),
         ("decode, 4 candidates", 32, 64, 4, "decode_tok_s")]


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--case", type=int, choices=range(len(CASES)), action="append", help="default: all")
    options = parser.parse_args()
    measure.print_machine(options)
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        artifacts = {flag: pathlib.Path(folder) / f"model{flag}.chorus" for flag in ("--order-free", "")}
        for flag, artifact in artifacts.items():
            subprocess.run([options.build / "bin/chorus-compile", options.model, "-o", artifact, "--quiet",
                            *filter(None, [flag])], check=True)
        for name, prompt, generate, candidates, field in (CASES[i] for i in options.case or range(len(CASES))):
            pairs = [[measure.bench(options, prompt, generate, candidates, artifact=artifact)[field]
                      for artifact in artifacts.values()] for _ in range(options.pairs)]
            ratio = measure.Ratio(pairs)
            cost = 100 * (ratio.median - 1)
            missed |= cost > AIM_PERCENT
            print(f"{name}: any order {ratio.ours:.0f} tokens/s, same bits "
                  f"{ratio.theirs:.0f}: cost {cost:+.1f} % ({100 * (ratio.least - 1):+.1f} to "
                  f"{100 * (ratio.most - 1):+.1f}), aim at most {AIM_PERCENT} %", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
