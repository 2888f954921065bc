"""Scoring of 64 candidates of 128 tokens behind a cached question of 1,024
tokens, as a verifier does it, against the prefill of positions 1,025 to 1,536
of one prompt: tokens/s of either, counted over the tokens behind the question."""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402

BAR = 0.9


def main():
    options = measure.parser(__doc__).parse_args()
    measure.print_machine(options)
    done = subprocess.run([options.build / "bin/scoring-speed", options.artifact, "--threads", str(options.threads),
                           "--pairs", str(options.pairs)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return done.returncode
    limits, *pairs = map(json.loads, done.stdout.splitlines())
    measure.print_limits({"limits": limits})
    ratio = measure.Ratio([(pair["scoring_tok_s"], pair["prefill_tok_s"]) for pair in pairs])
    print(f"scoring {ratio.ours:.0f} tokens/s, prefill {ratio.theirs:.0f}: {ratio}, {len(pairs)} pairs; at least "
          f"{BAR}x wanted: {'reached' if ratio.median >= BAR else 'missed'}")
    return 0 if ratio.median >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
