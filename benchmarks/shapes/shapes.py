"""Not only for one model: a generated model of 1.1 billion parameters (22
layers, width 2,048, 32 heads of 64 on 4 kv heads; Q4_1, the vocabulary's two
matrices Q8_0) against SmolLM2, both as shares of the machine's limits."""

import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402

sys.path.insert(0, str(measure.ROOT / "test/tools"))

import llama_gguf  # noqa: E402

BAR = 0.9
# What is run for a share: prompt, generated tokens, candidates.
WORK = {"prefill_int8": (512, 1, 1), "decode_read": (32, 32, 1), "total_int8": (256, 64, 100)}


def compiled(options):
    """The generated model, made once."""
    folder = measure.ROOT / "build/shapes"
    folder.mkdir(parents=True, exist_ok=True)
    source, artifact = folder / "1.1b.gguf", folder / "1.1b.chorus"
    if not source.exists():
        llama_gguf.write_large(source, llama_gguf.SHAPES["1.1b"])
    subprocess.run([options.build / "bin/chorus-compile", source, "-o", artifact, "--quiet"], check=True)
    return artifact


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--share", choices=WORK, action="append", help="only this share; may be repeated")
    parser.add_argument("--generate", type=int, help="another number of tokens for total_int8")
    options = parser.parse_args()
    other = compiled(options)
    measure.print_machine(options, shape=f"1.1b: {llama_gguf.SHAPES['1.1b'].describe()}, "
                                         f"{other.stat().st_size / 1e6:.0f} MB")
    reached = True
    for share in options.share or WORK:
        prompt, generate, candidates = WORK[share]
        if share == "total_int8" and options.generate:
            generate = options.generate
        pairs, shares = [], []
        for _ in range(options.pairs):
            theirs = measure.bench(options, prompt, generate, candidates)
            ours = measure.bench(options, prompt, generate, candidates, artifact=other)
            pairs.append((ours["share"][share], theirs["share"][share]))
            shares.append(ours)
        ratio = measure.Ratio(pairs)
        speed = {"prefill_int8": "prefill_tok_s", "decode_read": "decode_tok_s", "total_int8": "total_tok_s"}[share]
        print(f"{share:12s} prompt {prompt}, {candidates} x {generate}: {100 * ratio.ours:.1f} % of the limit "
              f"({statistics.median(figure[speed] for figure in shares):.1f} tokens/s), SmolLM2 "
              f"{100 * ratio.theirs:.1f} %: {ratio}; at least {BAR} needed: "
              f"{'reached' if ratio.median >= BAR else 'missed'}", flush=True)
        reached = reached and ratio.median >= BAR
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
