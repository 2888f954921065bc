"""Speed beside one busy process per core, as a share of the quiet speed."""

import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402

BAR = 0.4
WORKLOADS = {"decode, one sequence": (32, 64, 1, "decode_tok_s"),
             "8 candidates x 64, 256-token prompt, in all": (256, 64, 8, "total_tok_s"),
             "prefill of 512 tokens": (512, 2, 1, "prefill_tok_s")}


class Neighbours:
    """One unpinned loop per core, of the same priority, alive until the end."""

    def __enter__(self):
        self.processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"])
                          for _ in range(os.cpu_count())]

    def __exit__(self, *error):
        dead = [p for p in self.processes if p.poll() is not None]
        for process in self.processes:
            process.kill()
            process.wait()
        if dead:
            raise SystemExit("a busy neighbour died during the measurement")


def main():
    parser = measure.parser(__doc__)
    options = parser.parse_args()
    measure.print_machine(options)
    missed = False
    for name, (prompt, generate, n, figure) in WORKLOADS.items():
        pairs = []
        for _ in range(max(5, options.pairs)):
            quiet = measure.bench(options, prompt, generate, n)[figure]
            with Neighbours():
                busy = measure.bench(options, prompt, generate, n)[figure]
            pairs.append((busy, quiet))
        ratio = measure.Ratio(pairs)
        held = ratio.median >= BAR
        missed |= not held
        print(f"{name:46s} quiet {ratio.theirs:8.1f} busy {ratio.ours:8.1f} tokens/s  {ratio}  "
              f"bar {BAR}x: {'held' if held else 'missed'}", flush=True)
    many = 4 * os.cpu_count()
    speed = measure.bench(options, 32, 64, 1, threads=many)["decode_tok_s"]
    print(f"{many} threads on {os.cpu_count()} CPUs, decode: {speed:.1f} tokens/s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
