"""What more candidates buy: 20 short questions of arithmetic, answered once,
by a vote of 32 and by the best of 32 as the model itself judges them. The last
part of scripts/demo; prints whatever comes out."""

import argparse
import json
import math
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
LAST_NUMBER = r"(?s)(-?\d[\d,]*)(?!.*\d)"


def interval(right, of):
    """95 % confidence interval of a proportion (Wilson, 1927)."""
    z, share = 1.96, right / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return centre - half, centre + half


def run(options, name, candidates, rank):
    out = options.folder / f"arithmetic-{name}.jsonl"
    out.unlink(missing_ok=True)
    start = time.monotonic()
    subprocess.run([options.build / "bin/chorus-run", options.folder / "judged.chorus", "--jsonl",
                    HERE / "demo-questions.jsonl", "--out", out, "-n", str(candidates), "--max-tokens", "24",
                    "--temperature", "0.7", "--seed", "1", "--rank", rank, "--answer-pattern", LAST_NUMBER],
                   check=True)
    seconds = time.monotonic() - start
    with open(out) as lines:
        return [json.loads(line) for line in lines], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build/release")
    parser.add_argument("--folder", type=pathlib.Path, default=HERE.parent / "build/demo",
                        help="where judged.chorus is and the records go")
    options = parser.parse_args()
    with open(HERE / "demo-questions.jsonl") as lines:
        answers = {question["id"]: question["answer"] for question in map(json.loads, lines)}
    print(f"{'20 questions of arithmetic':34s} {'right':>5s}  {'95 % interval':13s} {'tokens/s':>8s} {'seconds':>7s}")
    for words, name, candidates, rank in (("one candidate", "one", 1, "mean-logprob"),
                                          ("32 candidates, vote", "vote", 32, "vote"),
                                          ("32 candidates, the model as judge", "judge", 32, "verifier")):
        requests, seconds = run(options, name, candidates, rank)
        right = tokens = 0
        for request in requests:
            best = min(request["candidates"], key=lambda candidate: candidate["rank"])
            right += best["answer"] == answers[request["id"]]
            tokens += sum(len(candidate["token_ids"]) for candidate in request["candidates"])
        low, high = interval(right, len(requests))
        print(f"{words:34s} {right:5d}  {100 * low:3.0f} to {100 * high:3.0f} % {tokens / seconds:8.0f} {seconds:7.1f}")


if __name__ == "__main__":
    main()
