#!/usr/bin/env python3
"""Sizes of files and of memory that the project promises, and equal bytes for
equal input. Times are printed and never asserted."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

from harness import MODEL, Model, Suite, must, run

import gguf

import llama_gguf

MB = 1_000_000
ARTIFACT_FACTOR, ARTIFACT_EXTRA = 1.05, 2 * MB
RUNTIME_TOOL = 3 * MB
COMPILE_PEAK, LARGE_PEAK = 600 * MB, 900 * MB
RUN_FACTOR = 1.3


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        for block in iter(lambda: f.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def compile_peak(suite, case, source, target, idle):
    """Compiles; returns (bytes on top of the idle process, seconds)."""
    done = must(run([suite.tool("chorus-compile"), str(source), "-o", str(target), "--quiet"],
                    measure_peak=True, timeout=1800))
    return done.peak_bytes - idle, done.seconds


def sizes(suite):
    idle = run([suite.tool("chorus-compile"), "--help"], measure_peak=True).peak_bytes
    artifact = suite.work / "smollm2.chorus"
    with suite.case("compile memory of the real model") as case:
        peak, seconds = compile_peak(suite, case, MODEL, artifact, idle)
        case.note = f"{peak / MB:.0f} MB on top of {idle / MB:.0f} MB idle, {seconds:.1f} s"
        case.require(peak <= COMPILE_PEAK, f"peak {peak / MB:.0f} MB, at most {COMPILE_PEAK / MB:.0f}")
    with suite.case("artifact size") as case:
        size, source = artifact.stat().st_size, MODEL.stat().st_size
        case.note = f"{size / MB:.1f} MB from {source / MB:.1f} MB"
        bar = ARTIFACT_FACTOR * source + ARTIFACT_EXTRA
        case.require(size <= bar, f"{size} bytes, at most {bar:.0f}")
    with suite.case("chorus-run stripped") as case:
        stripped = suite.work / "chorus-run"
        subprocess.run(["llvm-strip-22", "-o", stripped, suite.tool("chorus-run")], check=True)
        size = stripped.stat().st_size
        case.note = f"{size / MB:.2f} MB"
        case.require(size <= RUNTIME_TOOL, f"{size} bytes, at most {RUNTIME_TOOL}")
    with suite.case("chorus-run links no compiler") as case:
        libraries = subprocess.run(["ldd", suite.tool("chorus-run")], check=True, capture_output=True,
                                   text=True).stdout
        names = [line.split()[0] for line in libraries.splitlines() if line.split()]
        case.note = " ".join(n.split("/")[-1].split(".so")[0] for n in names)
        bad = [n for n in names if any(w in n.lower() for w in ("llvm", "mlir", "python", "lld"))]
        case.require(not bad, f"links {bad}")
    return idle


def linear_bytes(suite):
    """A panel of 16 rows has the bytes of its rows in the file, so what products
    read has the size of its tensors there: all matrices, save an embedding that
    is no vocabulary product as well."""
    def expected(path):
        tensors = {t.name: int(t.n_bytes) for t in gguf.GGUFReader(path).tensors if len(t.shape) == 2}
        tied = "output.weight" not in tensors
        return sum(size for name, size in tensors.items() if tied or name != "token_embd.weight")

    def found(model):
        return model.description()["models"][0]["facts"]["packed_linear_bytes"]

    for tied in (True, False):
        with suite.case(f"bytes of products, {'tied' if tied else 'untied'} embedding") as case:
            config = llama_gguf.Config(layers=3, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=32, vocab=304,
                                       kind="mix", tied=tied, seed=5)
            source = suite.work / f"products-{tied}.gguf"
            llama_gguf.write(source, config)
            case.equal(found(Model(suite, source)), expected(source), "packed_linear_bytes")


def run_memory(suite):
    model = Model(suite, MODEL, "run-memory")
    prompt, generated, n = list(range(100, 137)), 64, 8
    with suite.case("memory of a run") as case:
        done = must(run([suite.tool("chorus-run"), str(model.path), "--quiet", "--json", "--prompt-ids",
                         ",".join(map(str, prompt)), "-n", str(n), "--max-tokens", str(generated),
                         "--ignore-eos"], measure_peak=True))
        # Pages of 32 positions, keys and values of 30 layers, 3 heads of 64, f16:
        # the prompt's whole pages once, and each candidate's own.
        page = 32 * 30 * 3 * 64 * 2 * 2
        pages = len(prompt) // 32 + n * (-(-(len(prompt) + generated) // 32) - len(prompt) // 32)
        bar = RUN_FACTOR * model.path.stat().st_size + pages * page + n * 49152 * 4
        case.note = f"peak {done.peak_bytes / MB:.0f} MB of {bar / MB:.0f} MB allowed"
        case.require(done.peak_bytes <= bar, f"peak {done.peak_bytes / MB:.0f} MB, at most {bar / MB:.0f} MB")
    with suite.case("cold start") as case:
        samples = []
        for _ in range(5):
            start = time.monotonic()
            process = subprocess.Popen(
                [suite.tool("chorus-run"), str(model.path), "--quiet", "--stream", "--json", "--prompt-ids",
                 ",".join(map(str, prompt)), "--max-tokens", "4", "--ignore-eos"],
                stdout=subprocess.PIPE, text=True)
            line = process.stdout.readline()
            samples.append(time.monotonic() - start)
            process.stdout.read()
            case.equal(process.wait(), 0, "exit code")
            case.require("token_id" in json.loads(line), f"first line is not a token: {line!r}")
        samples.sort()
        case.note = f"first token after {samples[2]:.3f} s (of 5: {samples[0]:.3f} to {samples[-1]:.3f})"


def same_bytes(suite):
    """C09: another directory, locale, time zone, umask, home, environment,
    number of CPUs and address layout give the same file."""
    source = suite.work / "determinism.gguf"
    llama_gguf.write(source, llama_gguf.Config(layers=2, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24,
                                               vocab=301, kind="Q4_1", tied=False, seed=4))
    # Where only text and files differ, few kernels tell as much as all.
    few = ["--activations=f32"]
    first = {(): sha256(Model(suite, source, "first").path), tuple(few): sha256(Model(suite, source, "few", few).path)}
    other = suite.work / "another folder"
    other.mkdir()
    shutil.copy(source, other / "determinism.gguf")
    changes = {
        "another directory and file name": dict(cwd=other, source="determinism.gguf", options=few),
        "locale": dict(env={"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}, options=few),
        "time zone": dict(env={"TZ": "Asia/Kathmandu"}, options=few),
        "home, user and empty environment": dict(env={}, clear=True, options=few),
        "umask 077": dict(umask=0o077, options=few),
        "one CPU": dict(cpus=1),
        "address layout": dict(prefix=["setarch", "-R"]),
    }
    for name, change in changes.items():
        with suite.case(f"C09 {name}") as case:
            target = suite.work / "again.chorus"
            target.unlink(missing_ok=True)
            env = {"PATH": os.environ["PATH"]} if change.get("clear") else {**os.environ, **change.get("env", {})}

            def before():
                if "umask" in change:
                    os.umask(change["umask"])
                if "cpus" in change:
                    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:change["cpus"]])
            must(run([*change.get("prefix", []), suite.tool("chorus-compile"), change.get("source", str(source)),
                      "-o", str(target), "--quiet", *change.get("options", [])],
                     cwd=change.get("cwd"), env=env, preexec=before))
            case.equal(sha256(target), first[tuple(change.get("options", []))], "SHA-256 of the artifact")


def large(suite, idle):
    source, target = suite.work / "large.gguf", suite.work / "large.chorus"
    config = llama_gguf.with_bytes(llama_gguf.SHAPES["smollm2"], 2e9)
    with suite.case(f"compile memory of a 2 GB model ({config.layers} layers)") as case:
        llama_gguf.write_large(source, config)
        peak, seconds = compile_peak(suite, case, source, target, idle)
        case.note = (f"{source.stat().st_size / MB:.0f} MB file, peak {peak / MB:.0f} MB on top of idle, "
                     f"{seconds:.1f} s")
        case.require(peak <= LARGE_PEAK, f"peak {peak / MB:.0f} MB, at most {LARGE_PEAK / MB:.0f}")


def main():
    suite = Suite("memory-and-size", __doc__)
    suite.parser.add_argument("--no-large", action="store_true", help="leave the 2 GB model out")
    options = suite.parse()
    idle = sizes(suite)
    linear_bytes(suite)
    run_memory(suite)
    same_bytes(suite)
    if not options.no_large:
        large(suite, idle)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
