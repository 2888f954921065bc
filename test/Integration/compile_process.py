#!/usr/bin/env python3
"""The compiler as a process: rows C01, C02, C04 to C07 of the catalogue of bad
inputs, what --save-repro keeps, and command lines that chorus-compile and
chorus-run refuse."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time

from harness import MODEL, Model, Suite, children, contract_line, limit_file_size, must, run

import llama_gguf
import numpy
from safetensors.numpy import save_file

TINY = llama_gguf.Config(layers=1, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301,
                         kind="F32", tied=True, context=128, seed=5)
OLD = b"the old file"
# Fewer kernels: a compile whose code takes a quarter of the time, all else being as ever.
FEW_KERNELS = ["--activations=f32"]


class Folder:
    """A fresh folder with an old output in it; `untouched` checks both."""

    def __init__(self, suite, name):
        self.path = suite.work / name
        self.path.mkdir()
        self.out = self.path / "out.chorus"
        self.out.write_bytes(OLD)

    def untouched(self, case):
        case.equal(self.out.read_bytes(), OLD, "the old output")
        case.equal(sorted(os.listdir(self.path)), ["out.chorus"], "files beside the output")


def command(suite, source, out, *options):
    return [suite.tool("chorus-compile"), str(source), "-o", str(out), "--quiet", *options]


def start(arguments, **keywords):
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **keywords)


def finished(process, timeout=60):
    """A harness Run of a process that was started here."""
    from harness import Run
    done = Run()
    out, err = process.communicate(timeout=timeout)
    done.code, done.out, done.err = process.returncode, out.decode(), err.decode("utf-8", "replace")
    return done


def alive(pids):
    """Those of `pids` that still run (a zombie does not)."""
    out = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                    out.append(pid)
        except OSError:
            pass
    return out


def kill_child(process, case, number, after):
    """Kills what does the work, `after` seconds from when it is there."""
    deadline = time.monotonic() + 10
    below = []
    while not below and process.poll() is None and time.monotonic() < deadline:
        below = [p for p in children(process.pid) if p != process.pid]
        time.sleep(0.002)
    case.require(below, "the compiler runs no child")
    time.sleep(after)
    os.kill(below[0], number)
    contract_line(finished(process), "chorus-compile", {70})


def child_dies(suite):
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL):
        with suite.case(f"C01 compile child gets {number.name}") as case:
            folder = Folder(suite, f"C01-{number.name}")
            kill_child(start(command(suite, MODEL, folder.out)), case, number, after=0.1)
            folder.untouched(case)


def repro(suite, tiny):
    """What --save-repro notes makes the artifact that the compile that died
    would have made: all options count, and files of one name stay apart."""
    folder = suite.work / "it's a folder"
    folder.mkdir()
    verifier, template, head = folder / tiny.name, folder / "judge.jinja", folder / "head.safetensors"
    llama_gguf.write(verifier, dataclasses.replace(TINY, seed=6))
    template.write_text("{{ question }} {{ candidate }}")
    save_file({"token": numpy.array(70), "gain": numpy.array(2, numpy.float32),
               "bias": numpy.array(1, numpy.float32)}, head)
    judge = ["--verifier-template", str(template), "--score", "p(\"y\") / (p(\"y\") + 1)", "--verifier"]
    for name, options in {
            "value head": [str(tiny), "--value-head", str(head), "--order-free", "--allow-nonfinite"],
            "verifier of its own": ["--generator", str(tiny), *judge, str(verifier), "--kv-cache=f32"],
            "the generator as verifier": [str(tiny), *judge, "self", "--reference", "--activations", "f32"],
    }.items():
        with suite.case(f"--save-repro: {name}") as case:
            saved, out = suite.work / f"repro of {name}", suite.work / "repro.chorus"
            compiler = [suite.tool("chorus-compile"), *options, "-o", str(out), "--quiet"]
            kill_child(start([*compiler, "--save-repro", str(saved)]), case, signal.SIGKILL, after=0)
            noted, died = (saved / "command.txt").read_text().splitlines()
            case.require("signal 9" in died, f"the note's end is {died!r}")
            must(run(compiler))
            tools = os.path.dirname(compiler[0])
            must(run(["sh", "-c", noted + " -o again.chorus"], cwd=saved,
                     env={**os.environ, "PATH": tools + ":" + os.environ["PATH"]}))
            case.equal((saved / "again.chorus").read_bytes() == out.read_bytes(), True,
                       f"same artifact by {noted!r}")


def limits(suite):
    with suite.case("C02 time limit") as case:
        folder = Folder(suite, "C02-time")
        case.note = contract_line(run(command(suite, MODEL, folder.out, "--time-limit", "0.3")),
                                  "chorus-compile", {4}, "C02")
        folder.untouched(case)
    with suite.case("C02 memory limit") as case:
        folder = Folder(suite, "C02-memory")
        case.note = contract_line(run(command(suite, MODEL, folder.out, "--max-memory", "1000000")),
                                  "chorus-compile", {4}, "C02")
        folder.untouched(case)


def temporary_folders(suite, tiny):
    """C04: a compiler that needs no temporary folder may ignore TMPDIR."""
    read_only = suite.work / "read only"
    read_only.mkdir(mode=0o500)
    odd = suite.work / "blanks and\nnewline"
    odd.mkdir()
    for name, folder in {"missing": suite.work / "missing", "read-only": read_only,
                         "blanks and a newline in its name": odd, "a device": pathlib.Path("/dev/full")}.items():
        with suite.case(f"C04 temporary folder: {name}") as case:
            target = Folder(suite, f"C04-{name[:6]}")
            done = run(command(suite, tiny, target.out), env={**os.environ, "TMPDIR": str(folder)})
            if done.code == 0:
                case.note = "not needed"
                case.equal(sorted(os.listdir(target.path)), ["out.chorus"], "files beside the output")
            else:
                contract_line(done, "chorus-compile", {5})
                target.untouched(case)
            if folder.is_dir():
                case.equal(os.listdir(folder), [], "files left in the temporary folder")
    # A path on the command line that is missing is a usage error (docs/Running.md).
    for name, folder in {"missing": suite.work / "nowhere", "a file": tiny}.items():
        with suite.case(f"C04 output folder: {name}") as case:
            contract_line(run(command(suite, tiny, folder / "out.chorus")), "chorus-compile", {2})
            case.require(name == "a file" or not folder.exists(), "the folder appeared")
    with suite.case("C04 output folder: read-only") as case:
        # Not even root writes there.
        case.note = contract_line(run(command(suite, tiny, "/sys/out.chorus")), "chorus-compile", {5})


def signals(suite, seconds):
    """C05: the moments are spread over a whole compile."""
    # What starts this script may ignore SIGHUP (nohup), and children inherit it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    expected = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
    for number, code in expected.items():
        with suite.case(f"C05 {number.name} at 8 moments") as case:
            folder = Folder(suite, f"C05-{number.name}")
            hits = 0
            for step in range(8):
                folder.out.write_bytes(OLD)
                process = start(command(suite, MODEL, folder.out, *FEW_KERNELS))
                time.sleep(0.02 + seconds * step / 8)
                tree = children(process.pid)
                process.send_signal(number)
                sent = time.monotonic()
                done = finished(process)
                while alive(tree) and time.monotonic() - sent < 1.5:
                    time.sleep(0.01)
                case.require(time.monotonic() - sent < 1.0, "not gone within 1 s")
                if done.code == 0:
                    continue  # It was done already.
                # Before its own handler stands, the default action ends it: a
                # shell reports the same number.
                case.equal(128 - done.code if done.code < 0 else done.code, code, f"exit code at moment {step}")
                folder.untouched(case)
                hits += 1
            case.require(hits >= 4, f"only {hits} of 8 signals came before the end")
            case.note = f"{hits} hit"


def outputs(suite, tiny):
    good = Model(suite, tiny, "good").path.read_bytes()
    with suite.case("C06 two compiles to one output") as case:
        folder = Folder(suite, "C06-two")
        both = [start(command(suite, tiny, folder.out)) for _ in range(2)]
        done = [finished(p) for p in both]
        codes = sorted(d.code for d in done)
        case.require(codes in ([0, 0], [0, 2]), f"exit codes {codes}")
        case.equal(folder.out.read_bytes() == good, True, "the output is a whole artifact")
        case.equal(sorted(os.listdir(folder.path)), ["out.chorus"], "files beside the output")
    with suite.case("C06 output is a directory") as case:
        (suite.work / "directory").mkdir()
        contract_line(run(command(suite, tiny, suite.work / "directory")), "chorus-compile", {2})
        case.equal(os.listdir(suite.work / "directory"), [], "the directory")
    with suite.case("C06 output is a device") as case:
        contract_line(run(command(suite, tiny, "/dev/null")), "chorus-compile", {2})
        case.require(pathlib.Path("/dev/null").is_char_device(), "/dev/null is no device any more")
    with suite.case("C06 output is a symlink") as case:
        folder = Folder(suite, "C06-link")
        target, link = folder.path / "target", folder.path / "link"
        target.write_bytes(OLD)
        link.symlink_to(target)
        done = run(command(suite, tiny, link))
        if done.code != 0:
            contract_line(done, "chorus-compile", {2})
        case.equal(target.read_bytes(), OLD, "the symlink's target")
    with suite.case("C06 the disk is full") as case:
        folder = Folder(suite, "C06-full")
        # Beyond the object code, which the linker holds in a file in memory.
        limit = limit_file_size(len(good) - 1000)
        contract_line(run(command(suite, tiny, folder.out), preexec=limit), "chorus-compile", {5})
        folder.untouched(case)
    with suite.case("C06 output equals input") as case:
        copy = suite.work / "same.gguf"
        copy.write_bytes(tiny.read_bytes())
        contract_line(run(command(suite, copy, copy)), "chorus-compile", {2})
        case.equal(copy.read_bytes() == tiny.read_bytes(), True, "the input is as it was")


def names(suite, tiny):
    """C07."""
    folder = os.fsencode(suite.work / "names")
    os.mkdir(folder)
    deep = folder
    while len(deep) + 252 < 4000:
        deep += b"/" + b"d" * 250
        os.mkdir(deep)
    cases = {"over 3,700 bytes": deep + b"/m", "not UTF-8": folder + b"/\xff\xfe\x80",
             "newline": folder + b"/new\nline", "escape sequence": folder + b"/\x1b[31mred",
             "blanks and quotes": folder + b"/a 'b' \"c\""}
    data = tiny.read_bytes()
    tool = suite.tool("chorus-compile")
    for name, path in cases.items():
        with suite.case(f"C07 name: {name}") as case:
            source, out = path + b".gguf", path + b".chorus"
            with open(source, "wb") as f:
                f.write(data)
            must(run([tool, source, "-o", out, "--quiet"]))
            must(run([suite.tool("chorus-inspect"), out]))
            with open(source, "wb") as f:
                f.write(data[:20])
            line = contract_line(run([tool, source, "-o", out, "--quiet"]), "chorus-compile", {3}, "G01")
            case.note = f"refusal of {len(line)} bytes"
    with suite.case("C07 name: leading dash") as case:
        with open(folder + b"/-m.gguf", "wb") as f:
            f.write(data)
        must(run([tool, "-o", "x.chorus", "--quiet", "--", "-m.gguf"], cwd=folder))
        must(run([tool, "./-m.gguf", "--quiet"], cwd=folder))
        case.require(os.path.exists(folder + b"/-m.chorus"), "no ./-m.chorus without -o")


def command_lines(suite, tiny, artifact):
    """Every one: exit 2, one line, nothing written."""
    compiler, runner = suite.tool("chorus-compile"), suite.tool("chorus-run")
    prompt = ["--prompt-ids", "5,6,7"]
    too_long = ",".join(["5"] * (TINY.context + 1))
    refused = {
        "compile: no such file": ([compiler, "no-such.gguf"], ["no-such.gguf"]),
        "compile: unknown flag": ([compiler, str(tiny), "--activatoins=f32"], ["--activations"]),
        "compile: unknown value": ([compiler, str(tiny), "--activations=int4"], ["int8", "f32"]),
        "compile: unknown target": ([compiler, str(tiny), "--target=tpu"], ["cpu"]),
        "compile: unknown phase": ([compiler, str(tiny), "--stop-after=soup"], ["graph", "kernel"]),
        "compile: two inputs": ([compiler, str(tiny), str(tiny)], []),
        "run: no such file": ([runner, "no-such.chorus", *prompt], ["no-such.chorus"]),
        "run: unknown flag": ([runner, str(artifact), "--temprature", "1"], ["--temperature"]),
        "run: -n 0": ([runner, str(artifact), *prompt, "-n", "0"], ["-n"]),
        "run: -n -1": ([runner, str(artifact), *prompt, "-n", "-1"], ["-n"]),
        "run: -n x": ([runner, str(artifact), *prompt, "-n", "x"], ["-n"]),
        "run: --top-p 2": ([runner, str(artifact), *prompt, "--top-p", "2"], ["--top-p"]),
        "run: --top-p 0": ([runner, str(artifact), *prompt, "--top-p", "0"], ["--top-p"]),
        "run: --temperature nan": ([runner, str(artifact), *prompt, "--temperature", "nan"], ["--temperature"]),
        "run: --temperature -1": ([runner, str(artifact), *prompt, "--temperature", "-1"], ["--temperature"]),
        "run: --seed 2^64": ([runner, str(artifact), *prompt, "--seed", str(2**64)], ["--seed"]),
        "run: --threads 0": ([runner, str(artifact), *prompt, "--threads", "0"], ["--threads"]),
        "run: --candidate beyond n": ([runner, str(artifact), *prompt, "-n", "4", "--candidate", "4"],
                                      ["--candidate"]),
        "run: --cpu of another kind": ([runner, str(artifact), *prompt, "--cpu", "armv8"], ["x86-64-v3"]),
        "run: prompt longer than the context": ([runner, str(artifact), "--prompt-ids", too_long],
                                                [str(TINY.context)]),
        "run: token id beyond the vocabulary": ([runner, str(artifact), "--prompt-ids", "301"], ["301"]),
        "run: two prompts": ([runner, str(artifact), *prompt, "--prompt", "x"], ["--prompt"]),
        "run: empty stop string": ([runner, str(artifact), *prompt, "--stop", ""], ["--stop"]),
        "run: bias beyond the vocabulary": ([runner, str(artifact), *prompt, "--logit-bias", "301=1"],
                                            ["301"]),
        "run: no such prompt file": ([runner, str(artifact), "--prompt-file", "no-such.txt"], ["no-such.txt"]),
    }
    for name, (arguments, words) in refused.items():
        with suite.case(f"command line: {name}") as case:
            before = sorted(os.listdir(suite.work))
            case.note = contract_line(run(arguments, cwd=suite.work), pathlib.Path(arguments[0]).name, {2},
                                      None, words)
            case.equal(sorted(os.listdir(suite.work)), before, "files")
    for tool in ("chorus-compile", "chorus-run", "chorus-inspect", "chorus-import"):
        with suite.case(f"command line: {tool} alone, --help, --version") as case:
            done = run([suite.tool(tool)])
            case.equal(done.code, 2, "exit code without an argument")
            case.require(done.err and not done.out, "usage belongs on stderr")
            help_text = must(run([suite.tool(tool), "--help"]))
            for word in ("--json-errors", "--quiet", "xit code"):
                case.require(word in help_text.out, f"{word!r} is not in --help")
            must(run([suite.tool(tool), "--version"]))
    with suite.case("command line: --json-errors") as case:
        import json
        done = run([runner, str(artifact), *prompt, "-n", "0", "--json-errors"])
        case.equal(done.code, 2, "exit code")
        error = json.loads(done.err)
        case.equal(error.get("code"), "usage", "code")
    with suite.case("command line: the nearest good ones are accepted") as case:
        for extra in (["-n", "1"], ["--top-p", "1"], ["--temperature", "0"], ["--seed", str(2**64 - 1)],
                      ["--threads", "64"], ["-n", "4", "--candidate", "3"], ["--logit-bias", "300=1"]):
            must(run([runner, str(artifact), *prompt, "--max-tokens", "2", "--quiet", "--json", *extra]))
        longest = ",".join(["5"] * TINY.context)
        must(run([runner, str(artifact), "--prompt-ids", longest, "--echo-logprobs", "1", "--json", "--quiet"]))


def main():
    suite = Suite("compile-process", __doc__)
    suite.parse()
    tiny = suite.work / "tiny.gguf"
    llama_gguf.write(tiny, TINY)
    begin = time.monotonic()
    Model(suite, MODEL, "warm", FEW_KERNELS)
    seconds = time.monotonic() - begin
    child_dies(suite)
    repro(suite, tiny)
    limits(suite)
    temporary_folders(suite, tiny)
    signals(suite, seconds)
    outputs(suite, tiny)
    names(suite, tiny)
    command_lines(suite, tiny, Model(suite, tiny, "tiny").path)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
