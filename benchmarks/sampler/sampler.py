"""Microseconds of one thread that sampling takes a row: 100 rows of logits of
the model, by settings. The bars hold on Xeons with AVX-512; elsewhere figures
are printed without one."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import measure  # noqa: E402


def main():
    options = measure.parser(__doc__).parse_args()
    measure.print_machine(options)
    tool = options.build / "bin/sampler-speed"
    with open("/proc/cpuinfo") as f:
        facts = f.read()
    cpus = ["x86-64-v3"] + (["x86-64-v4"] if "avx512_vnni" in facts else [])
    missed = False
    for cpu in cpus:
        bars = cpu == "x86-64-v4" and "GenuineIntel" in facts
        done = subprocess.run([tool, options.artifact, "--cpu", cpu] + (["--bars"] if bars else []))
        if done.returncode not in (0, 1):
            return 2
        missed |= done.returncode == 1
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
