#!/usr/bin/env python3
"""Counts what a test runner reported, for scripts/check.

    count_results.py SUITE ctest FOLDER   GoogleTest XML files and ctest.junit
    count_results.py SUITE lit FILE       lit's JSON
    count_results.py SUITE lines FILE     "ok NAME", "FAILED NAME", "skipped NAME"
                                          lines and a closing line that agrees

Prints three numbers: passed, failed, skipped. A skip that test/skips.txt does
not list counts as failed.
"""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]


def ctest_cases(folder):
    """Cases of all GoogleTest binaries; a binary that failed without a failed
    case, or wrote no report, is a case of its own."""
    folder = pathlib.Path(folder)
    junit = ElementTree.parse(folder / "ctest.junit").getroot()
    for binary in junit.iter("testcase"):
        name = binary.get("name")
        broken = binary.find("failure") is not None or binary.get("status") in ("fail", "disabled")
        report = folder / f"{name}.xml"
        if not report.exists():
            yield name, "failed" if broken else "passed"
            continue
        any_failed = False
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            full_name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None:
                any_failed = True
                yield full_name, "failed"
            elif case.get("status") == "notrun" or case.get("result") in ("skipped", "suppressed"):
                yield full_name, "skipped"
            else:
                yield full_name, "passed"
        if broken and not any_failed:
            yield name, "failed"


def lit_cases(report):
    with open(report) as f:
        for case in json.load(f)["tests"]:
            kind = {"PASS": "passed", "XFAIL": "passed", "FLAKYPASS": "failed",
                    "UNSUPPORTED": "skipped", "SKIPPED": "skipped", "EXCLUDED": "skipped"}
            yield case["name"], kind.get(case["code"], "failed")


def line_cases(report):
    words = {"ok": "passed", "FAILED": "failed", "skipped": "skipped"}
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    closing = None
    with open(report, errors="replace") as f:
        for line in f:
            word, _, rest = line.rstrip("\n").partition(" ")
            found = re.fullmatch(r"\S+: (\d+) passed, (\d+) failed, (\d+) skipped", line.rstrip("\n"))
            if found:
                closing = tuple(map(int, found.groups()))
            elif word in words and rest:
                counts[words[word]] += 1
                yield rest.split(": ")[0], words[word]
    if closing != tuple(counts.values()):
        yield f"closing line of {report}", "failed"


def main():
    suite, kind, report = sys.argv[1:]
    cases = {"ctest": ctest_cases, "lit": lit_cases, "lines": line_cases}[kind](report)
    allowed = set()
    with open(ROOT / "test/skips.txt") as f:
        for line in f:
            if not line.startswith("#") and line.strip():
                listed_suite, name, _ = line.split(maxsplit=2)
                allowed.add((listed_suite, name))
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, result in cases:
        if result == "skipped" and (suite, name.split()[0]) not in allowed:
            print(f"check: {suite}: {name} was skipped and is not in test/skips.txt", file=sys.stderr)
            result = "failed"
        counts[result] += 1
    print(*counts.values())


if __name__ == "__main__":
    main()
