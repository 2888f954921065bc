"""What the integration tests share: the tools of a build, runs of them, and
one line a case.

    suite = Suite("accuracy")
    with suite.case("prompt 0") as case:
        case.require(kl < bar, f"KL {kl} exceeds {bar}")
        case.note = f"KL {kl:.5f}"
    sys.exit(suite.finish())

A case passes if its block ends; a failed requirement or any other exception
fails it and the next case goes on.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test/tools"))

MODEL = ROOT / "models/smollm2-135m-instruct-q4_1.gguf"
# The full golden sets stand beside the repository on some machines.
FULL_GOLDENS = ROOT.parent / "shared/goldens"
# A tool that runs longer than this is stuck.
TIMEOUT_S = 600


class Failed(Exception):
    """A requirement of a case does not hold."""


class Case:
    def __init__(self):
        self.note = ""

    def require(self, condition, message):
        if not condition:
            raise Failed(message)

    def equal(self, got, expected, what):
        if got != expected:
            raise Failed(f"{what}: {got!r}, expected {expected!r}")


class Suite:
    def __init__(self, name, description=""):
        self.name = name
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release",
                            help="build folder whose tools are tested")
        parser.add_argument("--only", metavar="REGEX", help="run the cases whose names match")
        parser.add_argument("--keep", action="store_true", help="keep the working folder")
        self.parser = parser
        self.passed = self.failed = self.skipped = 0
        with open("/proc/cpuinfo") as f:
            self.cpu_flags = set(f.read().split())

    def parse(self):
        """Reads the command line and makes the working folder."""
        self.options = self.parser.parse_args()
        folder = ROOT / "build/integration"
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix=self.name + ".", dir=folder)
        self.work = pathlib.Path(self._folder.name)
        if self.options.keep:
            self._folder._finalizer.detach()
            print(f"working folder: {self.work}")
        return self.options

    def tool(self, name):
        return str(self.options.build.resolve() / "bin" / name)

    def cpu_levels(self):
        """Levels whose code this CPU runs, lowest first, and those whose
        missing instructions chorus-run-amx does in software, slowly."""
        if "avx512_vnni" not in self.cpu_flags:
            self.skip("x86-64-v4", "this CPU lacks AVX512 VNNI")
            return ["x86-64-v3"], []
        amx = ["x86-64-v4-amx"]
        own = "amx_int8" in self.cpu_flags
        return ["x86-64-v3", "x86-64-v4"] + (amx if own else []), [] if own else amx

    def runner(self, options):
        """The chorus-run that can run with these options."""
        emulates = "x86-64-v4-amx" in options and "amx_int8" not in self.cpu_flags
        return self.tool("chorus-run-amx" if emulates else "chorus-run")

    def wants(self, name):
        return not self.options.only or re.search(self.options.only, name)

    @contextlib.contextmanager
    def case(self, name):
        """One case. Use `if suite.wants(name)` before work outside the block."""
        case, start = Case(), time.monotonic()
        try:
            yield case
        except Exception as error:  # Every other exception fails the case too.
            self.failed += 1
            text = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            print(f"FAILED {name}: {text}", flush=True)
            return
        self.passed += 1
        note = f": {case.note}" if case.note else ""
        print(f"ok {name}{note} ({time.monotonic() - start:.1f} s)", flush=True)

    def skip(self, name, reason):
        self.skipped += 1
        print(f"skipped {name}: {reason}", flush=True)

    def finish(self):
        """Prints the closing line; returns the exit code."""
        if not self.options.keep:
            self._folder.cleanup()
        print(f"{self.name}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed or not self.passed else 0


class Run:
    """A finished process: `code` (negative: signal), `out`, `err`, `seconds`,
    `peak_bytes` (see run)."""


def run(command, *, stdin=None, env=None, cwd=None, timeout=TIMEOUT_S, text=True,
        measure_peak=False, preexec=None):
    """Runs a tool to its end. With `measure_peak`, `peak_bytes` is the largest
    VmHWM of the process and its children, sampled until the end."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=out, stderr=err, env=env, cwd=cwd, preexec_fn=preexec)
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(stdin if isinstance(stdin, bytes) else stdin.encode())
                process.stdin.close()
        done, peak = Run(), 0
        try:
            if measure_peak:
                while process.poll() is None:
                    peak = max(peak, peak_of_tree(process.pid))
                    time.sleep(0.002)
                    if time.monotonic() - start > timeout:
                        raise subprocess.TimeoutExpired(command, timeout)
            else:
                process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
        done.code, done.seconds, done.peak_bytes = process.returncode, time.monotonic() - start, peak
        out.seek(0)
        err.seek(0)
        done.out, done.err = out.read(), err.read()
    if text:
        done.out = done.out.decode("utf-8", "replace")
        done.err = done.err.decode("utf-8", "replace")
    return done


def children(pid):
    """Process ids of `pid` and all below it."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        found.append(current)
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{thread}/children") as f:
                    waiting += map(int, f.read().split())
    return found


def peak_of_tree(pid):
    """Largest VmHWM in bytes of a process and its children now."""
    peak = 0
    for each in children(pid):
        with contextlib.suppress(OSError):
            with open(f"/proc/{each}/status") as f:
                for line in f:
                    if line.startswith("VmHWM:"):
                        peak = max(peak, int(line.split()[1]) * 1024)
    return peak


def must(done, code=0):
    """The run, if it ended with `code`; else the case fails with its message."""
    if done.code != code:
        raise Failed(f"exit code {done.code}, expected {code}; stderr: {done.err.strip()[-400:]!r}")
    return done


def contract_line(done, program, codes, error_code=None, words=()):
    """Checks a refusal: an allowed exit code, nothing on stdout, one line of
    at most 512 bytes that names program, code and each of `words`."""
    lines = done.err.splitlines()
    if done.code not in codes:
        raise Failed(f"exit code {done.code}, expected one of {sorted(codes)}; stderr: {done.err[-400:]!r}")
    if done.out:
        raise Failed(f"output on stdout beside an error: {done.out[:100]!r}")
    if len(lines) != 1:
        raise Failed(f"{len(lines)} lines on stderr, expected one: {done.err[:600]!r}")
    line = lines[0]
    if len(line.encode()) > 512:
        raise Failed(f"line of {len(line.encode())} bytes, at most 512 allowed")
    if any(ord(c) < 32 or ord(c) == 127 for c in line):
        raise Failed(f"control bytes in {line!r}")
    found = re.match(r"([\w-]+): error (\w+): ", line)
    if not found or found.group(1) not in (program, "chorus"):
        raise Failed(f"not of the form '{program}: error CODE: ...': {line!r}")
    if error_code and found.group(2) != error_code:
        raise Failed(f"error code {found.group(2)}, expected {error_code}: {line!r}")
    for word in words:
        if word not in line:
            raise Failed(f"{word!r} is not in {line!r}")
    return line


class Model:
    """An artifact made by chorus-compile, and runs of it."""

    def __init__(self, suite, source, name=None, options=()):
        self.suite = suite
        self.source = pathlib.Path(source)
        self.path = suite.work / f"{name or self.source.stem}.chorus"
        self.compiled = must(run([suite.tool("chorus-compile"), str(source), "-o", str(self.path),
                                  "--quiet", *options]))

    def run(self, *options, **keywords):
        return must(run([self.suite.runner(options), str(self.path), "--quiet",
                         *map(str, options)], **keywords))

    def description(self):
        """What chorus-inspect says of it."""
        done = must(run([self.suite.tool("chorus-inspect"), str(self.path), "--json"]))
        return json.loads(done.out)

    def records(self, *options):
        """The records of one prompt, one a candidate."""
        return [json.loads(line) for line in self.run(*options, "--json").out.splitlines()]

    def log_probabilities(self, ids, k, *options):
        """ids [seq, k], log-probabilities [seq, k] of the next token after each
        prompt token, likeliest first."""
        import numpy
        done = self.run("--prompt-ids", ",".join(map(str, ids)), "--echo-logprobs", k, "--json",
                        *options)
        positions = json.loads(done.out)["positions"]
        return (numpy.array([p["ids"] for p in positions]),
                numpy.array([p["logprobs"] for p in positions], numpy.float32))

    def all_log_probabilities(self, ids, vocab, *options):
        """Log-probabilities [seq, vocab] by token id."""
        import numpy
        order, values = self.log_probabilities(ids, vocab, *options)
        table = numpy.empty_like(values)
        numpy.put_along_axis(table, order, values, axis=1)
        return table


def limit_file_size(size_bytes):
    """A preexec function: writes beyond `size_bytes` fail, as on a full disk."""
    import signal

    def apply():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))
    return apply
