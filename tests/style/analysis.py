#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""analysis.py - static analysis of the product's code: no finding is allowed.

    analysis.py tidy|cppcheck|gcc [FILE...]

tidy: clang-tidy with the checks of .clang-tidy. cppcheck: warnings and errors. gcc: -fanalyzer. WATARI_BUILD is a build directory
with compile_commands.json, whose flags are used. WATARI_JOBS says how many files are looked at at a time, otherwise as many as
there are processors. A finding that is wrong is suppressed where it is, with the reason beside it:
NOLINT (tidy), cppcheck-suppress, `#pragma GCC diagnostic` (gcc).
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("transport", "qemu-glue", "mpi-coord", "bench")

# A null pointer of malloc and the like is no finding of the others either; what is wrong in gcc 12 besides:
GCC = [
    "-fanalyzer",
    "-Wno-error",
    "-Wno-analyzer-too-complex",
    # It does not know that wt_error_set answers what it was given, negative: every path that fails "goes on".
    "-Wno-analyzer-malloc-leak",
    "-Wno-analyzer-use-of-uninitialized-value",
    # Of descriptors that are kept in a structure of the caller's.
    "-Wno-analyzer-file-leak",
]
CPPCHECK = [
    "--enable=warning,portability",
    "--inline-suppr",
    "--quiet",
    "--std=c11",
    "--error-exitcode=1",
    "--template={file}:{line}: {severity}: {message} [{id}]",
    "--suppress=missingIncludeSystem",
    "-DOPAL_MAJOR_VERSION=4",
    # GNU C, as the code says.
    "--suppress=arithOperationsOnVoidPointer",
    # It is not a compiler: what it cannot read gcc and clang do.
    "--suppress=internalAstError",
    f"--library={ROOT}/tests/style/cppcheck.cfg",
]
TOOLS = {"tidy": "clang-tidy", "cppcheck": "cppcheck", "gcc": "gcc"}


def commands():
    """The file of each compile command of the product, once."""
    found = {}
    for entry in json.loads((pathlib.Path(os.environ["WATARI_BUILD"]) / "compile_commands.json").read_text()):
        file = os.path.relpath(entry["file"], ROOT)
        if file.split("/")[0] in FOLDERS and "/fuzz_" not in entry["command"]:
            found.setdefault(file, entry)
    return found


def flags(entry):
    """What of the command says how the file is to be read."""
    words = iter(shlex.split(entry["command"]))
    kept = []
    for word in words:
        if word == "-isystem":
            kept += [word, next(words)]
        elif re.match(r"-[DIO]|-std|-f(?!sanitize|profile|coverage)", word):
            kept.append(word)
    return kept


def command(tool, file, entry):
    if tool == "tidy":
        return ["clang-tidy", "--quiet", "--extra-arg=-DWATARI_ANALYSIS", "-p", os.environ["WATARI_BUILD"], file]
    if tool == "gcc":
        return ["gcc", *flags(entry), *GCC, "-DWATARI_ANALYSIS", "-c", "-o", "/dev/null", file]
    return ["cppcheck", *CPPCHECK, *[word for word in flags(entry) if word.startswith(("-D", "-I"))], file]


def findings(tool, file, entry):
    done = subprocess.run(command(tool, file, entry), cwd=ROOT, capture_output=True, text=True)
    text = done.stdout if tool == "tidy" else done.stderr
    lines = [line for line in text.splitlines() if re.search(r": (warning|error|portability): ", line)]
    if done.returncode and not lines:
        lines = [f"{file}: {tool} has failed: {done.stderr[-400:]}"]
    return [line.replace(f"{ROOT}/", "") for line in lines]


def main():
    tool, chosen = sys.argv[1], sys.argv[2:]
    if not shutil.which(TOOLS[tool]):
        print(f"{TOOLS[tool]} is missing: scripts/setup installs it")
        return 77
    files = {file: entry for file, entry in commands().items() if not chosen or file in chosen}
    bad, began = {}, time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("WATARI_JOBS") or os.cpu_count())) as pool:
        for lines in pool.map(lambda item: findings(tool, *item), sorted(files.items())):
            for line in lines:
                if line not in bad:  # of a header: once
                    print(line, flush=True)
                bad[line] = True
    print(f"{tool}: {len(files)} files, {len(bad)} findings, in {time.monotonic() - began:.0f} s")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
