#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""check.py - the models of docs/model: searched, broken on purpose, and held to the code.

    check.py names         each state of the models is one of the code, and the other way round
    check.py transitions   each step of the models' machines is one of the code's (transitions.pml, transitions.c)
    check.py search        all worlds with few faults: a short search of each model
    check.py search_all    ... with more faults, more destinations, more guests
    check.py cut           a search that was cut short is not taken for a whole one
    check.py bugs          each seeded bug breaks the promise that it should break
    check.py bugs_sample   one of each model

A search counts only if it was whole: each world in full (no hashing), no limit of depth or memory reached. A promise is
a bit of that name in a model, see docs/model/world.pml.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "docs/model"
MEMORY_MIB = 2048
PATIENCE_S = 1500
DEPTH = 1000000

SHORT = [
    ("switchover", ["FAULTS=1", "RECOVERS=1", "WRITES=1"]),
    ("retarget", ["FAULTS=0", "COMMANDS=1"]),
    ("gang", ["FAULTS=1"]),
]
LONG = [
    ("switchover", ["FAULTS=3", "RECOVERS=1", "WRITES=1", "VERIFY=1"]),
    ("switchover", ["FAULTS=2", "SENDS=2", "RECOVERS=1"]),
    ("retarget", ["FAULTS=1"]),
    ("retarget", ["FAULTS=2", "COMMANDS=1", "WRITES=0"]),
    ("retarget", ["FAULTS=0", "PAGES=2"]),
    ("retarget", ["FAULTS=0", "DESTINATIONS=3", "COMMANDS=3"]),
    ("retarget", ["FAULTS=1", "DESTINATIONS=3", "WRITES=0"]),
    ("gang", ["FAULTS=3"]),
    ("gang", ["FAULTS=2", "GUESTS=3"]),
]
# name, model, defines, the promise that it breaks
BUGS = [
    ("BUG_UNANSWERED_COMMIT_ABORTS", "switchover", ["FAULTS=1"], "at_most_one"),
    ("BUG_RUN_BEFORE_COMMIT", "switchover", ["FAULTS=0"], "record_before_run"),
    ("BUG_COMMIT_BEFORE_RECORD", "switchover", ["FAULTS=1"], "record_before_run"),
    ("BUG_LOST_PEER_RUNS", "switchover", ["FAULTS=1"], "at_most_one"),
    ("BUG_LOST_PEER_QUITS", "switchover", ["FAULTS=1"], "exactly_one"),
    ("BUG_QUIT_BEFORE_RUNNING", "switchover", ["FAULTS=0"], "runner_not_ended"),
    ("BUG_FAILED_AFTER_CONT", "switchover", ["FAULTS=1"], "at_most_one"),
    ("BUG_GATE_OPEN", "switchover", ["FAULTS=0", "WRITES=1"], "memory_complete"),
    ("BUG_RECOVER_RUNS_LOADED", "switchover", ["FAULTS=1"], "at_most_one"),
    ("BUG_RECORD_IGNORED", "switchover", ["FAULTS=2", "SENDS=2"], "one_history"),
    ("BUG_NO_DRAIN", "retarget", ["FAULTS=0"], "old_drained"),
    ("BUG_OLD_ANSWER_COUNTS", "retarget", ["FAULTS=1", "DESTINATIONS=3", "WRITES=0"], "old_drained"),
    ("BUG_OLD_NOT_TOLD", "retarget", ["FAULTS=0"], "old_drained"),
    ("BUG_FORMERS_KEEP", "retarget", ["FAULTS=0"], "memory_complete"),
    ("BUG_PENDING_FORGOTTEN", "retarget", ["FAULTS=0"], "memory_complete"),
    ("BUG_ANYBODYS_READY", "retarget", ["FAULTS=1"], "current_let_go"),
    ("BUG_NO_WAY_BACK", "retarget", ["FAULTS=1"], "way_back_used"),
    ("BUG_RETIRED_QUITS", "retarget", ["FAULTS=0"], "guest_moves"),
    ("BUG_AGAIN_UNHEARD", "retarget", ["FAULTS=0"], "former_unloaded"),
    ("BUG_KEPT_QEMU", "retarget", ["FAULTS=0"], "former_unloaded"),
    ("BUG_JOURNAL_AFTER_ORDER", "gang", ["FAULTS=1"], "all_or_nothing"),
    ("BUG_MOVE_EARLY", "gang", ["FAULTS=0"], "all_held_first"),
    ("BUG_BACK_EARLY", "gang", ["FAULTS=0"], "all_moved_first"),
    ("BUG_UNDO_AT_ONCE", "gang", ["FAULTS=1"], "all_or_nothing"),
    ("BUG_RESUME_GOES_BACK", "gang", ["FAULTS=1"], "never_torn"),
    ("BUG_CANCEL_AFTER_COMMIT", "gang", ["FAULTS=1"], "all_or_nothing"),
]
SAMPLE = ("BUG_UNANSWERED_COMMIT_ABORTS", "BUG_PENDING_FORGOTTEN", "BUG_JOURNAL_AFTER_ORDER")


class Failure(Exception):
    pass


def run(words, place, **more):
    return subprocess.run(words, cwd=place, capture_output=True, text=True, **more)


def copy_models(place):
    for path in list(MODELS.glob("*.pml")) + [pathlib.Path(__file__).with_name("transitions.pml")]:
        shutil.copy(path, place)


def build(place, model, defines, optimise="-O2", memory_mib=MEMORY_MIB):
    """The verifier of a model, in place."""
    copy_models(place)
    done = run(["spin", "-a", *[f"-D{d}" for d in defines], f"{model}.pml"], place)
    if done.returncode or "Error" in done.stdout + done.stderr:
        raise Failure(f"spin refuses {model}.pml: {(done.stdout + done.stderr).strip()}")
    done = run(["gcc", optimise, "-w", "-DSAFETY", "-DNOFAIR", "-DCOLLAPSE", "-DVECTORSZ=2048",
                f"-DMEMLIM={memory_mib}", "-o", "pan", "pan.c"], place)
    if done.returncode:
        raise Failure(f"the verifier of {model}.pml does not compile: {done.stderr.strip()}")


def search(place, depth=DEPTH):
    """What the verifier says."""
    try:
        done = run(["./pan", f"-m{depth}", "-w20", "-n"], place, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise Failure(f"the search is not over after {PATIENCE_S} s") from None
    return done.stdout + done.stderr


def figure(pattern, text):
    found = re.search(pattern, text)
    return float(found.group(1)) if found else float("nan")


def violation(text):
    """The promise that is broken, or what else is wrong; None: nothing."""
    found = re.search(r"pan:\d+: (assertion violated )?(.*?) \(at depth", text)
    return found.group(2).strip("() ") if found else None


def whole(text):
    """Why the search says nothing; None: it was whole."""
    for sign in ("max search depth too small", "out of memory", "reached -DMEMLIM", "hash conflicts: -", "Bit statespace",
                 "Hash-Compact", "Search not completed"):
        if sign in text:
            return sign
    if not re.search(r"errors: 0\b", text) or "Full statespace search" not in text:
        return "it does not say that there is no error"
    return None


def promises(model):
    """Names of the promises that a model looks at."""
    text = (MODELS / f"{model}.pml").read_text()
    return sorted(set(re.findall(r"\bpromise\((\w+),", text)) - {"name"})


def trail(place, model, defines):
    """What happened until the promise was broken."""
    lines = run(["spin", "-t", "-B", "-T", *[f"-D{d}" for d in defines], f"{model}.pml"], place).stdout.splitlines()
    return "\n".join(f"    {line.strip()}" for line in lines[:60] if line.strip())


def named(model, defines):
    return f"{model} {' '.join(defines)}".strip()


def check_search(runs, optimise="-O2"):
    failed = 0
    for model, defines in runs:
        with tempfile.TemporaryDirectory() as place:
            began = time.monotonic()
            build(place, model, defines, optimise)
            text = search(place)
            why = violation(text) or whole(text)
            states, depth = figure(r"([\d.e+]+) states, stored", text), figure(r"depth reached (\d+)", text)
            memory = figure(r"([\d.]+)\s+total actual memory usage", text)
            print(f"{named(model, defines)}: {states:.0f} states, depth {depth:.0f}, {memory:.0f} MiB, "
                  f"{time.monotonic() - began:.1f} s, {'errors: 0' if not why else 'FAILED: ' + why}", flush=True)
            if why:
                failed += 1
                print(trail(place, model, defines))
    for model in sorted({model for model, _ in runs}):
        print(f"promises of {model}: {', '.join(promises(model))}, no invalid end state")
    return failed


def check_cut():
    """A search that meets a limit does not count."""
    failed = 0
    for memory_mib, depth in ((24, DEPTH), (MEMORY_MIB, 60)):
        with tempfile.TemporaryDirectory() as place:
            build(place, "gang", ["FAULTS=3"], "-O0", memory_mib)
            text = search(place, depth)
            why = None if violation(text) else whole(text)
            failed += not why
            print(f"gang FAULTS=3 in {memory_mib} MiB, at most {depth} deep: {why or 'TAKEN FOR A WHOLE SEARCH'}")
    return failed


def check_bugs(bugs, optimise="-O1"):
    failed = 0
    for bug, model, defines, promise in bugs:
        with tempfile.TemporaryDirectory() as place:
            build(place, model, [bug, *defines], optimise)
            found = violation(search(place))
            good = found == promise
            failed += not good
            print(f"{bug} ({model}): {'found, ' + found if good else f'NOT FOUND: {found} instead of {promise}'}", flush=True)
    print(f"{len(bugs) - failed} of {len(bugs)} seeded bugs found")
    return failed


# ---- the code ----

def tool():
    return pathlib.Path(os.environ.get("WATARI_BUILD", ROOT / "build/debug")) / "tests/transitions"


def model_names():
    names = set()
    for path in MODELS.glob("*.pml"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for kind, body in re.findall(r"mtype:(\w+) = \{(.*?)\}", text, flags=re.S):
            if kind in ("source", "destination", "retarget", "gang", "gang_do", "role"):
                names |= set(re.findall(r"\w+", body))
    return names


def code_names():
    done = run([tool(), "--names"], ROOT)
    if done.returncode:
        raise Failure(done.stdout.strip())
    header = (ROOT / "qemu-glue/source_retarget.h").read_text()
    body = re.search(r"enum wt_target_role \{(.*?)\};", header, flags=re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    return set(done.stdout.split()) | {f"target_{n.lower()}" for n in re.findall(r"WT_TARGET_(\w+)", body)}


def check_names():
    model, code = model_names(), code_names()
    for name in sorted(model - code):
        print(f"docs/model has {name}, and the code has not")
    for name in sorted(code - model):
        print(f"the code has {name}, and docs/model has not")
    print(f"{len(code & model)} names alike")
    return len(model ^ code)


def check_transitions(seeds=2):
    with tempfile.TemporaryDirectory() as place:
        copy_models(place)
        for seed in range(1, seeds + 1):
            lines = run(["spin", "-T", "-B", f"-n{seed}", "transitions.pml"], place)
            if lines.returncode or "Error" in lines.stdout:
                raise Failure(f"spin cannot run transitions.pml: {lines.stdout[-300:]}{lines.stderr[-300:]}")
            done = run([tool()], place, input=lines.stdout)
            print(f"seed {seed}: {done.stdout.strip().replace(chr(10), ', ')}")
            if done.returncode:
                return 1
    return 0


CASES = {
    "names": check_names,
    "transitions": check_transitions,
    "search": lambda: check_search(SHORT, "-O0"),
    "search_all": lambda: check_search(LONG),
    "cut": check_cut,
    "bugs": lambda: check_bugs(BUGS),
    "bugs_sample": lambda: check_bugs([bug for bug in BUGS if bug[0] in SAMPLE], "-O0"),
}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        print(__doc__)
        return 2
    if not shutil.which("spin"):
        print("spin is missing: scripts/setup installs it")
        return 77
    try:
        return 1 if CASES[sys.argv[1]]() else 0
    except Failure as why:
        print(f"check: {why}")
        return 1


sys.exit(main())
