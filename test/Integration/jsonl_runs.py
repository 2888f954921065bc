#!/usr/bin/env python3
"""Runs of many requests: chorus-run --jsonl IN --out OUT.

Rows J01 to J10 and W01 to W15 of the catalogue of bad inputs and faults, and
the promise behind them: whatever ends a run, the same command goes on, and the
output has the bytes of an undisturbed run.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from harness import Failed, Model, Run, Suite, contract_line, limit_file_size, must, run

import llama_gguf

TINY = llama_gguf.Config(layers=1, d_model=96, d_ff=160, heads=4, kv_heads=2, head_dim=24, vocab=301,
                         kind="F32", tied=True, context=512, seed=5)
SAMPLING = ["--temperature", "0.8", "--seed", "7", "-n", "3", "--ignore-eos"]


def write_lines(path, items):
    """Objects as JSON, bytes as they are."""
    with open(path, "wb") as f:
        for item in items:
            f.write(item if isinstance(item, bytes) else json.dumps(item).encode())
            f.write(b"\n")
    return path


def questions(count, tokens=lambda i: 4 + i % 5):
    return [{"id": f"q{i}", "prompt": f"question {i}", "max_tokens": tokens(i)} for i in range(count)]


class Job:
    """One input, one output in a fresh folder, and the command for them."""

    def __init__(self, suite, model, name, items, options=SAMPLING):
        self.suite, self.model = suite, model
        self.folder = suite.work / name
        self.folder.mkdir()
        self.input = suite.work / f"{name}.jsonl"
        write_lines(self.input, items)
        self.out = self.folder / "out.jsonl"
        self.journal = self.folder / "out.jsonl.journal"
        self.options = list(options)

    def command(self, *more):
        """With `more`; its options take the place of those that the job has."""
        options = list(self.options)
        for option in more:
            if option.startswith("-") and option in options:
                at = options.index(option)
                del options[at:at + 2]
        return [self.suite.tool("chorus-run"), str(self.model.path), "--jsonl", str(self.input),
                "--out", str(self.out), *options, *more]

    def run(self, *more, **keywords):
        return run(self.command(*more), **keywords)

    def start(self, *more):
        return subprocess.Popen(self.command(*more), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def with_fault(self, plan, *more):
        library = self.suite.options.build.resolve() / "bin/libChorusFileFaults.so"
        return self.run(*more, env={**os.environ, "LD_PRELOAD": str(library), "CHORUS_FILE_FAULT": plan})

    def reference(self, code=0):
        """The output of an undisturbed run."""
        must(self.run(), code)
        data = self.out.read_bytes()
        self.out.unlink()
        return data

    def finish(self, case, expected, code=0):
        """Goes on, and compares; the folder is empty then."""
        done = must(self.run(), code)
        case.require(self.out.read_bytes() == expected, "the output differs from an undisturbed run's")
        case.equal(os.listdir(self.folder), ["out.jsonl"], "files beside the output")
        self.out.unlink()
        return done

    def lines(self):
        return [json.loads(line) for line in self.out.read_text().splitlines()]


def records_in(journal):
    """Requests that a mark confirms, by the format that Journal.h gives."""
    try:
        data = journal.read_bytes()
    except FileNotFoundError:
        return 0
    at, waiting, confirmed = 16, 0, 0
    while at + 40 <= len(data):
        tag, _, _, _, size = struct.unpack_from("<4sIqqQ", data, at)
        at += 40 + (size + 7) // 8 * 8
        if at > len(data):
            break
        waiting += tag == b"CHJR"
        if tag == b"CHJM":
            confirmed, waiting = confirmed + waiting, 0
    return confirmed


def requests_in(journal):
    """Records of each request that stands whole in the journal, confirmed or
    not: what Journal.h keeps is text, whose first three lines are not theirs."""
    data = journal.read_bytes() if journal.exists() else b""
    at, found = 16, []
    while at + 40 <= len(data):
        tag, _, _, _, size = struct.unpack_from("<4sIqqQ", data, at)
        end = at + 40 + (size + 7) // 8 * 8
        if end > len(data):
            break
        if tag == b"CHJR":
            lines = data[at + 40:at + 40 + size].decode().splitlines()[3:]
            found.append([json.loads(line.split(" ", 1)[1]) for line in lines])
        at = end
    return found


def finished(process, timeout=60):
    done = Run()
    out, err = process.communicate(timeout=timeout)
    done.code, done.out, done.err = process.returncode, out.decode(), err.decode("utf-8", "replace")
    return done


def wait_for_records(process, journal, count=1):
    """Until the journal has some; fails if the process ends before."""
    while records_in(journal) < count:
        if process.poll() is not None:
            raise Failed(f"the run ended with {process.returncode} too early")
        time.sleep(0.002)


def outputs(suite, model):
    """Shapes and order; a request of a file is what the flags would give."""
    items = [{"id": "a", "prompt": "first", "n": 2, "seed": 3, "temperature": 0.5, "stop": ["zq"]},
             b"",
             {"prompt": "no id"},
             {"id": "ids", "prompt_ids": [5, 6, 7], "max_tokens": 30, "top_k": 5, "allowed": list(range(9, 40))},
             {"id": "talk", "messages": [{"role": "user", "content": "hello"}], "n": 1,
              "logit_bias": {"20": 2.5}, "min_tokens": 2}]
    job = Job(suite, model, "outputs", items, ["--max-tokens", "9"])
    with suite.case("jsonl: one line a request, in order") as case:
        must(job.run())
        lines = job.lines()
        case.equal([line["id"] for line in lines], ["a", "3", "ids", "talk"], "ids")
        case.equal([len(line["candidates"]) for line in lines], [2, 1, 1, 1], "candidates")
        case.equal(len(lines[2]["candidates"][0]["token_ids"]), 30, "tokens")
        case.require(set(lines[2]["candidates"][0]["token_ids"]) <= set(range(9, 40)), "a token that was not allowed")
        for line in lines:
            for i, record in enumerate(line["candidates"]):
                case.equal((record["request"], record["candidate"]), (line["id"], i), "record")
    with suite.case("jsonl: the same candidates as without a file") as case:
        alone = model.records("--prompt", "first", "-n", 2, "--seed", 3, "--temperature", 0.5, "--stop", "zq",
                              "--max-tokens", 9)
        for one, of_file in zip(alone, job.lines()[0]["candidates"], strict=True):
            case.equal({**one, "request": "a"}, of_file, "record")
    with suite.case("jsonl: one line a candidate") as case:
        by_request = job.lines()
        job.out.unlink()
        must(job.run("--records", "candidate"))
        case.equal(job.lines(), [record for line in by_request for record in line["candidates"]], "records")
        job.out.unlink()
    with suite.case("jsonl: rank and top") as case:
        must(job.run("--top", "1", "--rank", "mean-logprob"))
        case.equal([[record["rank"] for record in line["candidates"]] for line in job.lines()], [[1]] * 4, "ranks")
        job.out.unlink()
    with suite.case("jsonl: settings that change no bit") as case:
        expected = job.reference()
        for setting in (["--threads", "1"], ["--max-batch", "1"], ["--prefill-chunk", "3"], ["--max-batch", "2"]):
            must(job.run(*setting))
            case.equal(job.out.read_bytes(), expected, f"output with {setting}")
            job.out.unlink()
    with suite.case("jsonl: stdin and stdout") as case:
        command = [suite.tool("chorus-run"), str(model.path), "--jsonl", "-", "--out", "-", *job.options]
        done = must(run(command, stdin=job.input.read_bytes(), text=False))
        case.require(done.out == expected, "stdout differs from the file")
        done = must(run([*command[:3], "-", "--out", str(job.out), *job.options], stdin=job.input.read_bytes()))
        case.equal(job.out.read_bytes(), expected, "output of stdin")
        case.equal(os.listdir(job.folder), ["out.jsonl"], "files beside the output")
        job.out.unlink()
    with suite.case("jsonl: progress with rate and time left") as case:
        requests, done = 600, None
        while not done or done.seconds < 2.2:  # Lines come once a second.
            slow = Job(suite, model, f"progress-{requests}", questions(requests, lambda i: 60),
                       [*SAMPLING, "--max-batch", "4"])
            done = must(slow.run("--progress", "plain"))
            requests *= 3
        case.require(re.search(r"\d+ of \d+ requests, \d+ tokens/s, [\d.]+ s left", done.err),
                     f"no progress in {done.err[-200:]!r}")
        case.note = done.err.splitlines()[-1]
    with suite.case("jsonl: options that do not go together") as case:
        for wrong in (["--prompt", "x"], ["--stream"], ["--candidate", "1"]):
            contract_line(job.run(*wrong), "chorus-run", {2}, "usage")
        base = [suite.tool("chorus-run"), str(model.path)]
        contract_line(run([*base, "--jsonl", str(job.input)]), "chorus-run", {2}, "usage", ["--out"])
        contract_line(run([*base, "--prompt", "x", "--strict"]), "chorus-run", {2}, "usage", ["--jsonl"])
        contract_line(run([*base, "--jsonl", "/nonexistent", "--out", str(job.out)]), "chorus-run", {2}, "usage")


def bad_lines(suite, model):
    """Rows J01 to J07: a record of its own, the others finish."""
    good = {"id": "good", "prompt": "fine", "max_tokens": 3}
    long_line = b'{"id":"long","prompt":"' + b"x" * (16 << 20) + b'"}'
    longest = b'{"id":"longest","prompt":"p"}' + b" " * ((16 << 20) - 29)
    rows = {
        # row: (bad line, id of its record, part of the message, nearest valid line)
        "J01 broken line": (b'{"prompt":"p"', "2", "column 14", b'{"prompt":"p"}'),
        "J02 line over 16 MiB": (long_line, "2", "longer than 16777216 bytes", longest),
        "J03 id of 1 MiB": ({"id": "i" * (1 << 20), "prompt": "p"}, "2", "allowed are 1 to 1024",
                            {"id": "i" * 1024, "prompt": "p"}),
        "J04 duplicate key": (b'{"id":"x","n":1,"n":1,"prompt":"p"}', "x", "n: stands twice",
                              b'{"id":"x","n":1,"prompt":"p"}'),
        "J04 unknown field": ({"id": "x", "prompt": "p", "temprature": 1}, "x", "unknown field",
                              {"id": "x", "prompt": "p", "temperature": 1}),
        "J04 wrong type": ({"id": "x", "prompt": ["p"]}, "x", "is an array, needed is a string",
                           {"id": "x", "prompt": "p"}),
        "J04 messages of a wrong shape": ({"id": "x", "messages": [{"role": "user"}]}, "x", "content",
                                          {"id": "x", "messages": [{"role": "user", "content": ""}]}),
        "J04 messages with a number out of range": (
            b'{"id":"x","messages":[{"role":"user","content":"","k":1e999}]}', "x", "a number is out of range",
            b'{"id":"x","messages":[{"role":"user","content":"","k":1e99}]}'),
        "J05 temperature -1": ({"prompt": "p", "temperature": -1}, "2", "temperature: is -1, allowed is 0 or",
                               {"prompt": "p", "temperature": 0}),
        "J05 temperature NaN": (b'{"prompt":"p","temperature":NaN}', "2", "temperature: is nan, allowed is 0 or",
                                b'{"prompt":"p","temperature":0.001}'),
        "J05 temperature 1e308": (b'{"prompt":"p","temperature":1e308}', "2", "temperature: is 1e+308, allowed",
                                  b'{"prompt":"p","temperature":1e3}'),
        "J05 top_p 0": ({"prompt": "p", "top_p": 0}, "2", "top_p: is 0, allowed", {"prompt": "p", "top_p": 1e-9}),
        "J05 top_p 2": ({"prompt": "p", "top_p": 2}, "2", "top_p: is 2, allowed", {"prompt": "p", "top_p": 1}),
        "J05 n 10^9": ({"prompt": "p", "n": 10**9}, "2", "n: is 1000000000, allowed is 1 to 65536",
                       {"prompt": "p", "n": 200}),
        "J05 max_tokens 2^63": ({"prompt": "p", "max_tokens": 2**63}, "2", "max_tokens: is 9223372036854775808",
                                {"prompt": "p", "max_tokens": 2**63 - 1, "stop": ["a", "e", "\n", "q"]}),
        "J05 max_tokens -1": ({"prompt": "p", "max_tokens": -1}, "2", "max_tokens: is -1, allowed is 1 to",
                              {"prompt": "p", "max_tokens": 1}),
        "J05 seed 2^64": ({"prompt": "p", "seed": 2**64}, "2", "seed: is 18446744073709551616, allowed is 0 to",
                          {"prompt": "p", "seed": 2**64 - 1}),
        "J06 prompt over the context": ({"id": "x", "prompt_ids": [5] * 513}, "x",
                                        "the prompt has 513 tokens, allowed are 1 to 512",
                                        {"id": "x", "prompt_ids": [5] * 512}),
        "J06 empty prompt": ({"id": "x", "prompt": ""}, "x", "the prompt has 0 tokens", {"id": "x", "prompt": "a"}),
        "J07 10,000 stop strings": ({"prompt": "p", "stop": ["a"] * 10000}, "2", "has 10000 strings",
                                    {"prompt": "p", "stop": ["a"] * 1024}),
        "J07 empty stop string": ({"prompt": "p", "stop": [""]}, "2", "empty string", {"prompt": "p", "stop": ["a"]}),
        "J07 bias past the logits": ({"prompt": "p", "logit_bias": {"301": 1}}, "2", "allowed is 0 to 300",
                                     {"prompt": "p", "logit_bias": {"300": 1}}),
        "J07 allowed past the logits": ({"prompt": "p", "allowed": [301]}, "2", "allowed is 0 to 300",
                                        {"prompt": "p", "allowed": [300]}),
        "N02 no token allowed": ({"prompt": "p", "allowed": []}, "2", "every token would be masked",
                                 {"prompt": "p", "allowed": [0]}),
        "T09 lone surrogate": (b'{"id":"x","prompt":"\\ud800"}', "x", "lone surrogate",
                               b'{"id":"x","prompt":"\\ud83d\\ude00"}'),
    }
    options = ["--max-tokens", "3"]
    for number, (name, (bad, key, message, valid)) in enumerate(rows.items()):
        if not suite.wants(name):
            continue
        with suite.case(name) as case:
            job = Job(suite, model, f"bad-{number}", [good, bad, {**good, "id": "good 2"}], options)
            line = contract_line(job.run("--quiet"), "chorus-run", {1}, name.split()[0], [f"{job.input}:2:"])
            first, failed, last = job.lines()
            case.equal(failed["id"], key, "id")
            case.equal(failed["candidates"], [], "candidates")
            case.equal(failed["error"]["code"], name.split()[0], "code")
            case.require(message in failed["error"]["message"], failed["error"]["message"][:300])
            case.require(len(failed["error"]["message"]) < 300, "a long message")
            for one in (first, last):
                case.equal(len(one["candidates"][0]["token_ids"]), 3, "tokens of a good request")
            job.out.unlink()
            # One line a candidate: under its own key too.
            must(job.run("--records", "candidate"), 1)
            case.equal([item["request"] for item in job.lines()], ["good", key, "good 2"], "keys")
            case.equal(job.lines()[1]["finish_reason"], "error", "finish_reason")
            job.out.unlink()
            # --strict refuses before any work.
            refused = job.run("--quiet", "--strict")
            contract_line(refused, "chorus-run", {3}, name.split()[0], [f"{job.input}:2"])
            case.equal(os.listdir(job.folder), [], "files beside the output")
            write_lines(job.input, [good, valid, {**good, "id": "good 2"}])
            must(job.run("--strict"))
            case.equal(len(job.lines()), 3, "lines")
            case.note = line[12:140]


def bad_files(suite, model):
    """Rows J02, J03 and J08 to J10: the file as a whole."""
    with suite.case("J02 last line without an end, blank lines, CRLF") as case:
        job = Job(suite, model, "line-ends", questions(3))
        expected = job.reference()
        text = job.input.read_bytes()
        for data in (text[:-1], text.replace(b"\n", b"\r\n"), text + b"\n \t\n\r\n"):
            job.input.write_bytes(data)
            job.finish(case, expected)
        job.input.write_bytes(b"")
        must(job.run())
        case.equal(job.out.read_bytes(), b"", "output of an empty input")
    with suite.case("J02 byte order mark") as case:
        job.out.unlink()
        job.input.write_bytes(b"\xef\xbb\xbf" + text)
        contract_line(job.run(), "chorus-run", {3}, "J02", ["byte order mark"])
        case.equal(os.listdir(job.folder), [], "files beside the output")
    with suite.case("J03 duplicate id") as case:
        write_lines(job.input, [*questions(5), {"id": "q3", "prompt": "again"}])
        contract_line(job.run(), "chorus-run", {3}, "J03", [":6:", "'q3'", "line 4"])
        case.equal(os.listdir(job.folder), [], "files beside the output")
    with suite.case("J08 directory, FIFO, device") as case:
        fifo = suite.work / "fifo"
        os.mkfifo(fifo)
        for path in (suite.work, fifo, "/dev/null"):
            done = run([suite.tool("chorus-run"), str(model.path), "--jsonl", str(path), "--out", str(job.out)],
                       timeout=20)
            contract_line(done, "chorus-run", {3}, "J08")
    with suite.case("J08 input changed during the run") as case:
        for how in ("cut", "grown"):
            changing = Job(suite, model, f"changing-{how}", questions(300, lambda i: 40))
            process = changing.start("--max-batch", "2")
            wait_for_records(process, changing.journal)
            if how == "cut":
                os.truncate(changing.input, 20000)
            else:
                with open(changing.input, "a") as f:
                    f.write('{"id":"late","prompt":"x"}\n')
            contract_line(finished(process), "chorus-run", {3}, "J08", ["has changed"])
            case.require(records_in(changing.journal) > 0, "the journal is gone")
    with suite.case("J08 input replaced during the run") as case:
        replaced = Job(suite, model, "replaced", questions(100, lambda i: 30))
        expected = replaced.reference()
        process = replaced.start("--max-batch", "2")
        wait_for_records(process, replaced.journal)
        os.replace(write_lines(suite.work / "other.jsonl", questions(3)), replaced.input)
        must(finished(process))
        case.require(replaced.out.read_bytes() == expected, "the output differs")
    with suite.case("J10 output is the input or the model") as case:
        for path in (job.input, model.path):
            before = path.read_bytes()
            link = job.folder / "link.jsonl"
            link.unlink(missing_ok=True)
            os.link(path, link)
            for out in (path, link):
                done = run([suite.tool("chorus-run"), str(model.path), "--jsonl", str(job.input), "--out", str(out)])
                contract_line(done, "chorus-run", {2}, "J10")
            case.require(path.read_bytes() == before, f"{path} has changed")
            link.unlink()
        case.equal(os.listdir(job.folder), [], "files beside the output")
    with suite.case("J10 output of another job") as case:
        write_lines(job.input, questions(3))
        for foreign in (b"a text\n", b'{"id":"q0"}\n'):
            job.out.write_bytes(foreign)
            contract_line(job.run(), "chorus-run", {2}, "J10")
            case.equal(job.out.read_bytes(), foreign, "the other output")
        job.out.unlink()
        must(job.run())
        mine = job.out.read_bytes()
        for other in (["--seed", "8"], ["--temperature", "0.7"], ["--records", "candidate"]):
            contract_line(job.run(*other), "chorus-run", {2}, "J10")
            case.equal(job.out.read_bytes(), mine, "the other output")
        # The same job again gives the same.
        must(job.run())
        case.equal(job.out.read_bytes(), mine, "the output")


def memory(suite, model):
    """J09: through reading, journal and output; requests that are refused take
    no time in the engine."""
    with suite.case("J09 a million lines in the memory of ten thousand") as case:
        peaks = []
        for count in (10_000, 1_000_000):
            job = Job(suite, model, f"lines-{count}", [{"prompt": "p", "max_tokens": 1}])
            with open(job.input, "a") as f:
                for i in range(count - 1):
                    f.write(f'{{"id":"{i * 7919 % 1000003:08}","prompt":5}}\n')
            done = run(job.command("--quiet"), measure_peak=True)
            contract_line(done, "chorus-run", {1}, "J04")
            with open(job.out, "rb") as f:
                case.equal(sum(1 for _ in f), count, "lines")
            peaks.append(done.peak_bytes)
            case.note += f"{count} lines: {done.peak_bytes / 2**20:.1f} MiB, {done.seconds:.1f} s; "
            shutil.rmtree(job.folder)
            job.input.unlink()
        # Full buffers of two sorters, no more.
        case.require(peaks[1] - peaks[0] < 12 << 20, f"memory grows: {peaks}")


def kills(suite, model, count, seed, records):
    """W01: kill -9 at random times; `records` as in --records."""
    generator = random.Random(seed)
    # As many requests as take 1 to 2 seconds here and now.
    requests, seconds = 100, 0
    while seconds < 1.2:
        job = Job(suite, model, f"kills-{records}-{requests}", questions(requests, lambda i: 5 + i * 7 % 40),
                  [*SAMPLING, "--max-batch", "8", "--records", records])
        start = time.monotonic()
        expected = job.reference()
        seconds = time.monotonic() - start
        if seconds < 1.2:
            requests = int(requests * min(4, 1.5 / seconds)) + 1
    with suite.case(f"W01 kill -9 at {count} random times, --records {records}") as case:
        caught = recorded = done = 0
        while done < count:
            process = job.start()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(generator.uniform(0, seconds))
            if process.poll() is not None:  # It was faster than the kill.
                must(finished(process))
                case.require(job.out.read_bytes() == expected, f"seed {seed}: the output differs")
                job.out.unlink()
                continue
            process.kill()
            process.communicate()
            done += 1
            kept = records_in(job.journal)
            caught += job.journal.exists() and not job.out.exists()
            recorded += kept > 0
            if job.out.exists():
                case.require(job.out.read_bytes() == expected, f"seed {seed}: the output differs")
            if generator.random() < 0.4:
                note = job.finish(case, expected).err
                if kept > 0:
                    case.require(f"goes on after {kept} finished records" in note, f"{kept} in the journal; {note!r}")
        if job.journal.exists() or job.out.exists():
            job.finish(case, expected)
        case.note = (f"seed {seed}, {requests} requests in {seconds:.2f} s, {caught} of {count} kills found "
                     f"a journal begun and unfinished ({100 * caught / count:.0f} %), {recorded} with records")
        case.require(caught >= 0.8 * count, case.note)


def calls(suite, model):
    """Rows W01 and W03 to W05 at the n-th call on files."""
    job = Job(suite, model, "calls", questions(4))
    expected = job.reference()
    for fault in ("any:kill", "pwrite:torn"):
        with suite.case(f"W01 {fault} at every call") as case:
            n = left = 0
            while True:
                done = job.with_fault(f"{fault}@{n}")
                if done.code == 0:
                    break
                case.equal(done.code, -signal.SIGKILL, "exit code")
                left += job.journal.exists()
                job.finish(case, expected)
                n += 1
            case.require(job.out.read_bytes() == expected, "the output differs")
            job.out.unlink()
            case.note = f"{n} calls, {left} left a journal"
            case.require(n >= 5 and left >= 2, case.note)
    faults = {"pwrite:ENOSPC": "W03", "pwrite:EDQUOT": "W03", "pwrite:EFBIG": "W03", "pwrite:EIO": "W04",
              "fsync:EIO": "W04", "fdatasync:EIO": "W04"}
    for fault, code in faults.items():
        with suite.case(f"{code} {fault} at every call") as case:
            n = 0
            while True:
                done = job.with_fault(f"{fault}@{n}", "--quiet")
                if done.code == 0:
                    break
                contract_line(done, "chorus-run", {5}, code)
                case.require(not job.out.exists() or job.out.read_bytes() == expected, "a wrong output")
                job.finish(case, expected)
                n += 1
            job.out.unlink()
            case.note = f"{n} calls"
            case.require(n >= 2, case.note)
    for fault in ("pwrite:short", "pwrite:EINTR", "pwrite:EAGAIN", "pread:EINTR"):
        with suite.case(f"W05 {fault}") as case:
            for n in range(8):
                must(job.with_fault(f"{fault}@{n}"))
                case.require(job.out.read_bytes() == expected, "the output differs")
                job.out.unlink()
    with suite.case("W03 file size limit") as case:
        # The code of the artifact must fit, which is loaded by way of a file.
        large = Job(suite, model, "large", questions(80, lambda i: 300))
        expected = large.reference()
        sizes = [600_000, len(expected) // 2, len(expected) - 1000]
        for size in sizes:
            done = large.run("--quiet", preexec=limit_file_size(size))
            contract_line(done, "chorus-run", {5}, "W03")
            case.equal(os.listdir(large.folder), ["out.jsonl.journal"], "files")
        large.finish(case, expected)
        case.note = f"limits {sizes}, output {len(expected)}"


def not_finite(suite):
    """N01: a token after which a layer of the model gives NaN."""
    import dataclasses
    import gguf
    source, bad = suite.work / "four.gguf", 150
    llama_gguf.write(source, dataclasses.replace(TINY, layers=4, tied=False))
    good = questions(3)
    expected = Job(suite, Model(suite, source), "finite", good).reference().splitlines()
    # (tensor, row, where); a row of the embedding is of one token only.
    for tensor, row, where in (("token_embd.weight", bad, "first in the keys and values of layer 0"),
                               ("blk.1.attn_v.weight", 3, "first in the keys and values of layer 1"),
                               ("blk.2.ffn_down.weight", 3, "first in the keys and values of layer 3"),
                               ("blk.3.ffn_down.weight", 3, "behind the keys and values of layer 3, the last")):
        with suite.case(f"N01 NaN from {tensor}") as case:
            poisoned = suite.work / f"{tensor}.gguf"
            shutil.copy(source, poisoned)
            reader = gguf.GGUFReader(poisoned, "r+")
            next(t for t in reader.tensors if t.name == tensor).data[row] = float("nan")
            reader.data.flush()
            model = Model(suite, poisoned, options=["--allow-nonfinite"])
            job = Job(suite, model, f"nan-{tensor}", [good[0], {"id": "bad", "prompt_ids": [100, 101, bad]}, *good[1:]])
            contract_line(job.run("--quiet"), "chorus-run", {1}, "N01")
            others = job.lines()
            for record in others.pop(1)["candidates"]:
                case.equal((record["finish_reason"], record["token_ids"]), ("error", []), "result")
                case.equal(record["error"]["code"], "N01", "code")
                case.require("position 3: " in record["error"]["message"], record["error"]["message"])
                case.require(record["error"]["message"].endswith(where), record["error"]["message"])
            if tensor == "token_embd.weight":
                for one, of_good in zip(others, map(json.loads, expected), strict=True):
                    for record, wanted in zip(one["candidates"], of_good["candidates"], strict=True):
                        case.equal((record["token_ids"], record["logprobs"]),
                                   (wanted["token_ids"], wanted["logprobs"]), "another request")


def scores(suite, source):
    """W15: whatever ends a run, a record has a candidate and its score."""
    head = suite.work / "head.safetensors"
    header = b'{"token":{"dtype":"I64","shape":[],"data_offsets":[0,8]},' \
             b'"gain":{"dtype":"F32","shape":[],"data_offsets":[8,12]},' \
             b'"bias":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}'
    head.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<qff", 9, 1, 0))
    model = Model(suite, source, "scored", ["--value-head", str(head)])
    job = Job(suite, model, "scores", questions(4), [*SAMPLING, "--rank", "verifier"])
    expected = job.reference()
    with suite.case("W15 a candidate and its score are one record") as case:
        n = whole = 0
        while True:
            done = job.with_fault(f"pwrite:{('kill', 'torn')[n % 2]}@{n // 2}")
            if done.code == 0:
                break
            for records in requests_in(job.journal):
                case.equal(len(records), 3, "candidates")
                for record in records:
                    case.require(record["token_ids"] and record["scores"]["value"] is not None, str(record))
                whole += 1
            job.finish(case, expected)
            n += 1
        case.note = f"{n} kills, {whole} whole requests left behind"
        case.require(n >= 4 and whole >= 4, case.note)


def file_systems(suite, source):
    """W11: what a tool writes on the way to an output stands beside it."""
    shared = pathlib.Path("/dev/shm")
    with suite.case("W11 outputs on another file system than all else") as case, \
            tempfile.TemporaryDirectory(prefix="chorus-", dir=shared) as name:
        folder, elsewhere = pathlib.Path(name), suite.work / "elsewhere"
        elsewhere.mkdir()
        case.require(folder.stat().st_dev != elsewhere.stat().st_dev, f"{shared} is no file system of its own")
        keywords = {"cwd": elsewhere, "env": {**os.environ, "TMPDIR": str(elsewhere)}}
        artifact = folder / "far.chorus"
        must(run([suite.tool("chorus-compile"), str(source), "-o", str(artifact), "--quiet"], **keywords))
        requests = write_lines(elsewhere / "in.jsonl", questions(4))
        command = [suite.tool("chorus-run"), str(artifact), "--jsonl", str(requests), "--out",
                   str(folder / "out.jsonl"), "--quiet", *SAMPLING]
        # What stands there at the moment of the rename.
        library = suite.options.build.resolve() / "bin/libChorusFileFaults.so"
        faulty = {"cwd": elsewhere, "env": {**keywords["env"], "LD_PRELOAD": str(library),
                                            "CHORUS_FILE_FAULT": "renameat:kill@0"}}
        case.equal(run(command, **faulty).code, -signal.SIGKILL, "exit code")
        case.equal(sorted(os.listdir(folder)), [".out.jsonl.partial", "far.chorus", "out.jsonl.journal"],
                   "on the way")
        must(run(command, **keywords))
        case.equal(sorted(os.listdir(folder)), ["far.chorus", "out.jsonl"], "at the end")
        case.equal(os.listdir(elsewhere), ["in.jsonl"], "elsewhere")


def journals(suite, model):
    """Rows W06 to W09 and W14: what a dead run left."""
    job = Job(suite, model, "journals", questions(6), [*SAMPLING, "--max-batch", "2"])
    expected = job.reference()
    # All requests are in the journal, the output is not there yet.
    job.with_fault("renameat:kill@0")
    whole = job.journal.read_bytes()
    with suite.case("W14 left-over files of a dead run") as case:
        case.equal(sorted(os.listdir(job.folder)), [".out.jsonl.partial", "out.jsonl.journal"], "left over")
        case.equal(records_in(job.journal), 6, "records")
        (job.folder / ".out.jsonl.scratch").write_bytes(b"of a run that reads stdin")
        job.finish(case, expected)
    generator = random.Random(20)
    with suite.case("W06 torn tail") as case:
        for cut in sorted(generator.sample(range(1, len(whole)), 25)):
            job.journal.write_bytes(whole[:-cut])
            done = job.finish(case, expected)
            case.require(done.err.count("cut off") <= 1, f"said twice: {done.err!r}")
        job.journal.write_bytes(whole + b"half a record")
        done = job.finish(case, expected)
        case.equal(done.err.count("13 bytes at the end were not complete and are cut off"), 1, "notes")
    with suite.case("W07 bit flips") as case:
        refused = 0
        for _ in range(25):
            at = generator.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[at] ^= 1 << generator.randrange(8)
            job.journal.write_bytes(flipped)
            done = job.run("--quiet")
            if done.code == 3:
                refused += 1
                line = contract_line(done, "chorus-run", {3}, "W07", [".journal @"])
                case.require(int(line.split("@")[1].split(":")[0]) <= at, f"flipped at {at}: {line}")
                case.equal(job.journal.read_bytes(), bytes(flipped), "the journal")
                if "salvage" not in line:
                    continue  # The header or the fingerprint.
                done = job.run("--salvage")
                case.require("damaged places" in done.err, done.err)
            must(done)
            case.require(job.out.read_bytes() == expected, f"flipped at {at}: the output differs")
            job.out.unlink()
        case.note = f"{refused} of 25 refused"
        case.require(refused >= 15, case.note)
        job.journal.unlink(missing_ok=True)
    with suite.case("W09 other artifact, prompts or parameters") as case:
        job.journal.write_bytes(whole)
        other = Model(suite, suite.work / "other.gguf", "other")
        line = contract_line(run([suite.tool("chorus-run"), str(other.path), *job.command()[2:]]), "chorus-run", {2},
                             "W09", ["artifact was"])
        text = job.input.read_bytes()
        job.input.write_bytes(text.replace(b"question 3", b"question x"))
        contract_line(job.run(), "chorus-run", {2}, "W09", ["input was"])
        job.input.write_bytes(text)
        for flags, words in {("--seed", "8"): "seed was 7, is 8", ("--temperature", "0.7"): "temperature was 0.8, is 0.7",
                             ("-n", "4"): "n was 3, is 4", ("--stop", "x"): "stop was [], is", ("--chat",): "chat was",
                             ("--records", "candidate"): "records was request", ("--context", "500"): "context was 512",
                             ("--rank", "mean-logprob"): "rank was absent"}.items():
            contract_line(job.run(*flags), "chorus-run", {2}, "W09", [words])
        case.equal(job.journal.read_bytes(), whole, "the journal")
        # Nothing that changes no bit.
        must(job.run("--threads", "1", "--max-batch", "1", "--prefill-chunk", "5", "--cpu", "x86-64-v3"))
        case.require(job.out.read_bytes() == expected, "the output differs")
        job.out.unlink()
        case.note = line[12:]
    with suite.case("a file that is no journal is left alone") as case:
        job.journal.write_bytes(b"a text of somebody")
        contract_line(job.run(), "chorus-run", {2}, "usage", ["no journal"])
        case.equal(job.journal.read_bytes(), b"a text of somebody", "the file")
        job.journal.unlink()


def running(suite, model):
    """Rows W08, W10, W12 and W13: faults while it runs."""
    job = Job(suite, model, "running", questions(400, lambda i: 60), [*SAMPLING, "--max-batch", "4"])
    expected = job.reference()
    with suite.case("W08 two runs on one output") as case:
        process = job.start()
        wait_for_records(process, job.journal)
        contract_line(job.run(), "chorus-run", {2}, "W08", [f"process {process.pid}"])
        process.terminate()
        finished(process)
        job.finish(case, expected)
    for number, code in {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}.items():
        with suite.case(f"W13 {number.name} ends cleanly and says how to go on") as case:
            # What starts this script may ignore SIGHUP, and children inherit it.
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            process = job.start("--quiet")
            wait_for_records(process, job.journal, 5)
            process.send_signal(number)
            begin = time.monotonic()
            line = contract_line(finished(process), "chorus-run", {code}, "cancelled",
                                 ["of 400 requests are finished, the same command goes on"])
            case.require(time.monotonic() - begin < 5, "it took long")
            told, kept = int(line.split(";")[1].split()[0]), records_in(job.journal)
            case.equal(told, kept, "requests in the journal")
            job.finish(case, expected)
            case.note = line[12:]
    with suite.case("W13 candidates of a long request are kept one by one") as case:
        long = Job(suite, model, "long", [{"id": "long", "prompt": "p", "n": 200, "max_tokens": 480}],
                   ["--temperature", "1", "--records", "candidate", "--max-batch", "3"])
        whole = long.reference()
        process = long.start("--quiet")
        wait_for_records(process, long.journal, 10)
        process.terminate()
        case.equal(finished(process).code, 143, "exit code")
        kept = records_in(long.journal)
        case.require(10 <= kept < 200, f"{kept} candidates kept")
        done = long.finish(case, whole)
        case.require(f"goes on after {kept} finished records" in done.err, done.err)
        case.note = f"{kept} of 200 kept"
    with suite.case("N12 a clock that goes backwards, another time zone") as case:
        library = suite.options.build.resolve() / "bin/libChorusBackwardClock.so"
        clock = {**os.environ, "LD_PRELOAD": str(library)}
        told = must(run(["date", "+%Y"], env=clock)).out
        case.require(int(told) < 1990, f"the clock is not the test's: {told}")
        must(job.run(env={**clock, "TZ": "Pacific/Kiritimati"}))
        case.require(job.out.read_bytes() == expected, "the output differs")
        job.out.unlink()
    with suite.case("W13 a second signal ends at once") as case:
        process = job.start("--quiet")
        wait_for_records(process, job.journal)
        for _ in range(2):
            process.terminate()
        case.equal(finished(process).code, 143, "exit code")
        job.finish(case, expected)
    with suite.case("W13 signal while stdin is read") as case:
        process = subprocess.Popen([suite.tool("chorus-run"), str(model.path), "--jsonl", "-", "--out", str(job.out)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b'{"prompt":"p"}\n')
        process.stdin.flush()
        while not job.journal.exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(0.05)
        process.terminate()
        begin = time.monotonic()
        code = process.wait(10)
        process.communicate()
        case.equal(code, 143, "exit code")
        case.equal(os.listdir(job.folder), [], "files beside the output")
    with suite.case("W10 folder renamed during the run") as case:
        process = job.start("--quiet")
        wait_for_records(process, job.journal)
        moved = job.folder.with_name("moved")
        job.folder.rename(moved)
        contract_line(finished(process), "chorus-run", {5}, "W10")
        moved.rename(job.folder)
        case.require(records_in(job.journal) > 0, "the journal is gone")
        job.finish(case, expected)
    with suite.case("W10 folder removed during the run") as case:
        process = job.start("--quiet")
        wait_for_records(process, job.journal)
        shutil.rmtree(job.folder)
        contract_line(finished(process), "chorus-run", {5}, "W10")
        job.folder.mkdir()
        job.finish(case, expected)
    with suite.case("W10 folder read-only at the end") as case:
        small = Job(suite, model, "read-only", questions(4))
        small_expected = small.reference()
        for call in ("renameat:EROFS@0", "openat:EROFS@3+"):
            contract_line(small.with_fault(call, "--quiet"), "chorus-run", {5})
            case.equal(records_in(small.journal), 4, f"records after {call}")
            small.finish(case, small_expected)
    with suite.case("W12 reader of stdout gone") as case:
        command = [*job.command()[:5], "-", *job.options]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(100)
        process.stdout.close()
        err = process.stderr.read().decode()
        case.equal(process.wait(60), 5, "exit code")
        case.require("error W12: stdout" in err, err)
    with suite.case("W12 a closed stdout is not needed with a file") as case:
        done = run(["sh", "-c", 'exec "$@" >&-', "sh", *job.command()])
        case.equal(done.code, 0, "exit code")
        case.require(job.out.read_bytes() == expected, "the output differs")


def main():
    suite = Suite("jsonl-runs", __doc__)
    suite.parser.add_argument("--kills", type=int, default=30, help="random kills")
    suite.parser.add_argument("--kills-only", action="store_true")
    suite.parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="of the kills' times")
    options = suite.parse()
    tiny = suite.work / "tiny.gguf"
    llama_gguf.write(tiny, TINY)
    model = Model(suite, tiny, "tiny")
    if not options.kills_only:
        import dataclasses
        llama_gguf.write(suite.work / "other.gguf", dataclasses.replace(TINY, seed=6))
        outputs(suite, model)
        bad_lines(suite, model)
        bad_files(suite, model)
        memory(suite, model)
        calls(suite, model)
        not_finite(suite)
        scores(suite, tiny)
        file_systems(suite, tiny)
        journals(suite, model)
        running(suite, model)
    candidates = options.kills // 3
    kills(suite, model, options.kills - candidates, options.seed, "request")
    kills(suite, model, candidates, options.seed, "candidate")
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
