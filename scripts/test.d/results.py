#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""results.py - what scripts/test keeps of its parts.

  version       prints the commit, with -dirty behind it if the tree has changes
  count TIER PART JUNIT SECONDS VERSION
                prints one line of counts from what ctest wrote; exit code 1 if the part did not pass. In the tier `full`
                also records the part and writes docs/results/DATE-COMMIT.md, if the tree is still at VERSION
  passed PART   prints the line of the record if this commit passed the part here before, else exit code 1

  1. A record is build/results/COMMIT/PART.json; the table of a commit is made of its records, so running a part
     again replaces its row.
  2. A tree with changes that are not committed has the name COMMIT-dirty, and `passed` never holds for it.
  3. A skip fails a part unless WATARI_ALLOW_SKIP=1, and so does a part in which nothing ran.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORDER = ["style", "unit", "contract", "asan", "tsan", "fuzz-smoke", "integration", "lab", "model", "fuzz", "analysis", "faults",
         "campaign", "soak", "versions", "fresh"]


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()


def version():
    """COMMIT or COMMIT-dirty. Tables of results change nothing that is tested."""
    changed = git("status", "--porcelain", "--", ".", ":!docs/results")
    return git("rev-parse", "--short=10", "HEAD") + ("-dirty" if changed else "")


def machine():
    """What kind of machine this is; nothing that names it."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"^model name\s*: (.*)$", file.read(), re.M)
    with open("/proc/meminfo") as file:
        memory = round(int(re.search(r"MemTotal:\s*(\d+)", file.read())[1]) / (1 << 20))
    release = os.uname().release.split("-")[0]
    return f"{os.cpu_count()} x {model[1] if model else os.uname().machine}, {memory} GiB, Linux {release}"


def reason(output):
    """The line in which a test says why it was skipped."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "skip" in line.lower()), lines[-1] if lines else "no reason given")


def read(path):
    """[name, seconds, passed|failed|skipped, reason] of every test."""
    tests = []
    if not os.path.exists(path):
        return tests
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        status, why = "passed" if case.get("status") == "run" else "failed", ""
        if case.find("skipped") is not None:
            status, why = "skipped", reason(case.findtext("system-out") or "")
        tests.append([case.get("name"), round(float(case.get("time") or 0), 1), status, why])
    return tests


def count(tests, status):
    return sum(test[2] == status for test in tests)


def line(part, record):
    tests = record["tests"]
    return (f"{part:12} {count(tests, 'passed'):3} passed, {count(tests, 'failed')} failed, {count(tests, 'skipped')} skipped, "
            f"{record['seconds']} s")


def folder():
    return ROOT / "build" / "results" / version()


def load(part):
    with open(folder() / f"{part}.json") as file:
        return json.load(file)


def write_table():
    """docs/results/DATE-COMMIT.md, from all records of this commit."""
    records = {part: load(part) for part in ORDER if (folder() / f"{part}.json").exists()}
    rows, notes = [], []
    for part, record in records.items():
        tests = record["tests"]
        rows.append(f"| {part} | {record['date']} | {count(tests, 'passed')} | {count(tests, 'failed')} | "
                    f"{count(tests, 'skipped')} | {record['seconds']} |")
        notes += [f"- `{name}` ({part}): {status}{': ' + why if why else ''}" for name, _, status, why in tests
                  if status != "passed"]
        slow = sorted((test for test in tests if test[1] >= 60), key=lambda test: -test[1])
        if slow:
            notes.append(f"- {part}, tests over a minute: " + ", ".join(f"`{name}` {s:.0f} s" for name, s, _, _ in slow))
    missing = [part for part in ORDER if part not in records]
    if missing:
        notes.append(f"- not run for this commit: {', '.join(missing)}")
    text = [f"<!-- SPDX-License-Identifier: BSD-3-Clause -->\n# scripts/test --full at {version()}\n",
            f"Commit of {git('log', '-1', '--format=%cs')}. Machine: {machine()}.\n",
            "| part | date | passed | failed | skipped | seconds |\n|---|---|---|---|---|---|", *rows]
    out = ROOT / "docs" / "results"
    out.mkdir(exist_ok=True)
    path = out / f"{git('log', '-1', '--format=%cs')}-{version()}.md"
    path.write_text("\n".join(text) + "\n" + ("\n" + "\n".join(notes) + "\n" if notes else ""))
    return path


def cmd_version():
    print(version())
    return 0


def cmd_count(tier, part, path, seconds, built):
    tests = read(path)
    record = {"date": datetime.date.today().isoformat(), "tests": tests, "seconds": int(seconds)}
    allowed = os.environ.get("WATARI_ALLOW_SKIP") == "1" and count(tests, "passed")
    record["passed"] = bool(tests) and not count(tests, "failed") and (not count(tests, "skipped") or bool(allowed))
    print(line(part, record))
    for name, _, status, why in tests:
        if status == "skipped":
            print(f"test: {name} was skipped: {why}", file=sys.stderr)
    if tier == "full" and built != version():
        print(f"test: {part} is not recorded: it was built at {built}, and the tree is at {version()} now", file=sys.stderr)
    elif tier == "full":
        folder().mkdir(parents=True, exist_ok=True)
        (folder() / f"{part}.json").write_text(json.dumps(record))
        print(f"test: the table is {write_table().relative_to(ROOT)}", file=sys.stderr)
    return 0 if record["passed"] else 1


def cmd_passed(part):
    if version().endswith("-dirty") or not (folder() / f"{part}.json").exists() or not load(part)["passed"]:
        return 1
    if count(load(part)["tests"], "skipped") and os.environ.get("WATARI_ALLOW_SKIP") != "1":
        return 1
    print(line(part, load(part)) + " (before)")
    return 0


if __name__ == "__main__":
    sys.exit({"count": cmd_count, "passed": cmd_passed, "version": cmd_version}[sys.argv[1]](*sys.argv[2:]))
