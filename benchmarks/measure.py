"""What the benchmarks share: the machine, our figures from chorus-bench, and
how pairs become a ratio."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ROOT / "models/smollm2-135m-instruct-q4_1.gguf"
ARTIFACT = ROOT / "build/demo/smollm2.chorus"


def parser(description):
    out = argparse.ArgumentParser(description=description)
    out.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    out.add_argument("--artifact", type=pathlib.Path, default=ARTIFACT)
    out.add_argument("--model", type=pathlib.Path, default=MODEL, help="the artifact's source, for peers")
    out.add_argument("--threads", type=int, default=os.cpu_count())
    out.add_argument("--pairs", type=int, default=5)
    return out


def cpu():
    """(vendor, family, model, name, flags) of the first CPU."""
    facts = {}
    with open("/proc/cpuinfo") as f:
        for line in f:
            key, _, value = line.partition(":")
            if not key.strip():
                break
            facts[key.strip()] = value.strip()
    return (facts["vendor_id"], int(facts["cpu family"]), int(facts["model"]), facts["model name"],
            set(facts["flags"].split()))


def print_machine(options, **versions):
    vendor, family, model, name, flags = cpu()
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True,
                            text=True).stdout.strip()
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) / 1e6
    version = subprocess.run([options.build / "bin/chorus-run", "--version"], capture_output=True,
                             text=True).stdout.strip().splitlines()
    print(f"machine   {name} ({vendor} family {family} model {model}), {os.cpu_count()} CPUs, {memory:.0f} GB")
    levels = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags]
    print(f"features  {' '.join(levels)}; load {os.getloadavg()[0]:.2f}")
    print(f"commit    {commit}")
    print(f"chorus    {version[0] if version else '?'}; threads {options.threads}")
    for key, value in versions.items():
        print(f"{key:9s} {value}")
    sys.stdout.flush()


def bench(options, prompt, generate, candidates, repeat=1, threads=None, artifact=None, read_buffer=None):
    """One object of chorus-bench."""
    done = subprocess.run(
        [options.build / "bin/chorus-bench", artifact or options.artifact, "--prompt-tokens", str(prompt),
         "--generate", str(generate), "--candidates", str(candidates), "--threads",
         str(threads or options.threads), "--repeat", str(repeat), "--quiet", "--json",
         *(["--read-buffer", str(read_buffer)] if read_buffer else [])], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"chorus-bench ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[0])


def inspect(options, artifact=None):
    """What chorus-inspect says of the artifact."""
    done = subprocess.run([options.build / "bin/chorus-inspect", artifact or options.artifact, "--json"],
                          check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def print_limits(figure):
    limits = ", ".join(f"{k} {v:.0f}" for k, v in figure["limits"].items() if v)
    print(f"limits    {limits} (measured in this run)")


class Ratio:
    """The median of pairs, with its spread."""

    def __init__(self, pairs):
        ratios = sorted(a / b for a, b in pairs)
        self.median, self.least, self.most = statistics.median(ratios), ratios[0], ratios[-1]
        self.ours = statistics.median(a for a, _ in pairs)
        self.theirs = statistics.median(b for _, b in pairs)

    def __str__(self):
        return f"{self.median:.2f}x ({self.least:.2f} to {self.most:.2f})"
