"""1,000 candidates against 100: tokens/s in all by pairs, and peak resident
memory where all candidates run at once, which must grow by the same for each
candidate: its own pages, and a row of logits."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402

BAR, MANY, FEW, AT_ONCE = 0.95, 1000, 100, 1024
# A candidate more may cost this much more, or less, among many than among few.
LINEAR = 1.1


def speed(options):
    pairs, figure = [], None
    for i in range(options.pairs):
        pair = []
        for candidates in (MANY, FEW):
            figure = measure.bench(options, options.prompt_tokens, options.generate, candidates)
            pair.append(figure["total_tok_s"])
        pairs.append(pair)
        print(f"pair {i}: {MANY} candidates {pair[0]:.0f} tokens/s, {FEW} candidates {pair[1]:.0f}", flush=True)
    measure.print_limits(figure)
    ratio = measure.Ratio(pairs)
    print(f"{MANY} candidates {ratio.ours:.0f} tokens/s, {FEW} {ratio.theirs:.0f}: {ratio}; at least {BAR}x wanted: "
          f"{'reached' if ratio.median >= BAR else 'missed'}")
    return ratio.median >= BAR


def peak_bytes(options, candidates):
    """VmHWM of a run of all candidates at once that finish them all."""
    prompt = ",".join(str(1000 + 37 * i % 40000) for i in range(options.prompt_tokens))
    with subprocess.Popen([options.build / "bin/chorus-run", options.artifact, "--quiet", "--json", "--prompt-ids",
                           prompt, "-n", str(candidates), "--max-tokens", str(options.generate), "--ignore-eos",
                           "--max-batch", str(AT_ONCE), "--threads", str(options.threads), "--temperature", "0.8"],
                          stdout=subprocess.PIPE) as process:
        records = sum(1 for _ in process.stdout)
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = code
    if code or records != candidates:
        raise SystemExit(f"chorus-run ended with {code} after {records} of {candidates} candidates")
    return used.ru_maxrss * 1024


def memory(options):
    (state,) = measure.inspect(options)["models"][0]["states"]
    peaks = {n: peak_bytes(options, n) for n in (FEW, 300, MANY)}
    for n, peak in peaks.items():
        print(f"{n:5d} candidates at once: {peak / 1e6:.0f} MB, {n * options.generate} own tokens")
    (n0, p0), (n1, p1), (n2, p2) = peaks.items()
    near, far = (p1 - p0) / (n1 - n0), (p2 - p1) / (n2 - n1)
    # A page stands for 32 positions; the last token is never computed.
    own = -(-(options.generate - 1) // state["page_positions"]) * state["page_bytes"]
    linear = 1 / LINEAR <= far / near <= LINEAR
    print(f"one candidate more takes {near / 1e6:.2f} MB from {n0} to {n1} and {far / 1e6:.2f} MB from {n1} to {n2}, its "
          f"own pages {own / 1e6:.2f} MB of it: {'' if linear else 'not '}linear")
    return linear


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--prompt-tokens", type=int, default=256)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--only", choices=["speed", "memory"])
    options = parser.parse_args()
    measure.print_machine(options)
    good = options.only == "memory" or speed(options)
    good &= options.only == "speed" or memory(options)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
