#!/usr/bin/env python3
"""What happens to a run when its artifact's file changes under it."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time

from harness import Suite, must, run

import llama_gguf

TINY = llama_gguf.Config(layers=1, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301,
                         kind="F32", tied=True, context=512)
PROMPT = "A fox and a hen"
ARGUMENTS = ["--prompt-file", "-", "--max-tokens", "12", "--seed", "3", "--json"]


def compiled(suite, name, seed):
    source, artifact = suite.work / f"{name}.gguf", suite.work / f"{name}.chorus"
    llama_gguf.write(source, dataclasses.replace(TINY, seed=seed))
    must(run([suite.tool("chorus-compile"), str(source), "-o", str(artifact), "--quiet"]))
    return artifact


def waiting_run(suite, artifact):
    """chorus-run with the artifact open, waiting for its prompt."""
    process = subprocess.Popen([suite.tool("chorus-run"), str(artifact), *ARGUMENTS], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    maps = f"/proc/{process.pid}/maps"
    deadline = time.monotonic() + 20
    while str(artifact) not in open(maps).read():
        if time.monotonic() > deadline or process.poll() is not None:
            raise AssertionError("the artifact was not mapped")
        time.sleep(0.01)
    # Mapped comes before verified: wait until it reads its input.
    while "pipe" not in open(f"/proc/{process.pid}/wchan").read():
        if time.monotonic() > deadline:
            raise AssertionError("the prompt was not asked for")
        time.sleep(0.01)
    return process


def main():
    suite = Suite("artifact-faults")
    suite.parse()
    artifact, other = compiled(suite, "first", 1), compiled(suite, "second", 2)
    expected = must(run([suite.tool("chorus-run"), str(artifact), *ARGUMENTS], stdin=PROMPT)).out

    with suite.case("A13 A14 cut while mapped") as case:
        for size in (4096, artifact.stat().st_size // 2):
            cut = suite.work / "cut.chorus"
            shutil.copy(artifact, cut)
            process = waiting_run(suite, cut)
            os.truncate(cut, size)
            out, err = process.communicate(PROMPT, timeout=60)
            # The code is hashed again before it runs; weights are found missing while it runs.
            case.require(process.returncode in (3, 5), f"exit code {process.returncode}: {err!r}")
            case.require(out == "" and err.count("\n") == 1, f"{out!r} {err!r}")
            case.require("A13" in err or "A02" in err, err)

    with suite.case("A13 weights cut while mapped") as case:
        weights = max((s for s in json.loads(must(run([suite.tool("chorus-inspect"), str(artifact), "--json"])).out)
                       ["segments"] if s["kind"] == "weights"), key=lambda s: s["offset"])
        cut = suite.work / "weights.chorus"
        shutil.copy(artifact, cut)
        process = waiting_run(suite, cut)
        os.truncate(cut, weights["offset"])
        out, err = process.communicate(PROMPT, timeout=60)
        case.require(process.returncode == 5, f"exit code {process.returncode}: {err!r}")
        case.require(out == "" and "error A13" in err and err.count("\n") == 1, f"{out!r} {err!r}")

    with suite.case("A18 a hundred processes, a read-only file and folder") as case:
        folder = suite.work / "read-only"
        folder.mkdir()
        shutil.copy(artifact, folder / "m.chorus")
        (folder / "m.chorus").chmod(0o444)
        folder.chmod(0o555)
        many = [subprocess.Popen([suite.tool("chorus-run"), str(folder / "m.chorus"), "--threads", "1", *ARGUMENTS],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(100)]
        for process in many:
            out, err = process.communicate(PROMPT, timeout=120)
            case.require(process.returncode == 0 and out == expected, f"{process.returncode} {err!r}")
        folder.chmod(0o755)

    with suite.case("A19 replaced under the same name") as case:
        place = suite.work / "replaced.chorus"
        shutil.copy(artifact, place)
        process = waiting_run(suite, place)
        shutil.copy(other, suite.work / "new.chorus")
        os.replace(suite.work / "new.chorus", place)
        out, err = process.communicate(PROMPT, timeout=60)
        case.require(process.returncode == 0 and out == expected, f"{process.returncode} {err!r}")
        # The next process has the new one.
        fresh = must(run([suite.tool("chorus-run"), str(place), *ARGUMENTS], stdin=PROMPT))
        case.require(json.loads(fresh.out)["artifact_sha256"] != json.loads(expected)["artifact_sha256"], "the old file")

    sys.exit(suite.finish())


if __name__ == "__main__":
    main()
