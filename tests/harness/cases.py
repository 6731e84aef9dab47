# SPDX-License-Identifier: BSD-3-Clause
"""cases.py - what programs of cases share: words for expectations, and the main that runs cases by name.

A case is a function case_NAME. It returns if all was well, raises Failure if not, and Skip if it cannot run here.
"""

import os
import signal
import subprocess
import sys
import time
import traceback

from .guests import build_guest
from .hosts import Failure, Host, Stall, lab_usable
from .migration import watari

SMALL = {"mb": 160, "work_mb": 24, "rate": 1000}
HURRY = ["--reconnect-timeout", "2s"]


class Skip(Exception):
    """The case cannot run here."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def has_sabotage():
    with open(os.path.join(os.path.dirname(watari()), "CMakeCache.txt")) as file:
        return "WATARI_SABOTAGE:BOOL=ON" in file.read()


def need_sabotage():
    if not has_sabotage():
        raise Skip("needs a build with -DWATARI_SABOTAGE=ON")


def alive(guest):
    return guest.process.running()


def still_fine(guest):
    """The guest runs, and its memory is right."""
    expect(guest.status() == "running", f"{guest.name} is {guest.status()}, not running")
    guest.wait_reports(2)
    guest.check()


def refused(process, text, timeout_s=60):
    """The command ends with an error that contains the text, in one sentence; answers the sentence."""
    code = process.wait(timeout_s)
    expect(code not in (0, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS), f"exit code {code}: {process.tail()}")
    said = [line for line in process.lines if line.startswith("watari: ")]
    found = [line for line in said if text in line]
    expect(found, f'no word of "{text}": {process.tail()}')
    return found[0]


def recover(host, source, destination, *options):
    """(exit code, what it said) of `watari recover` with the QEMUs that are left"""
    argv = [watari(), "recover", *options]
    if alive(source):
        argv += ["--qmp", source.qmp]
    if alive(destination):
        argv += ["--destination-qmp", destination.qmp]
    return host.call(argv)


def _run(name, function, image, in_lab):
    """The exit code of one case."""
    start = time.monotonic()

    def once():
        return function(image) if in_lab else function(Host(name), image)

    try:
        try:
            once()
        except Stall as stall:
            print(f"  {stall}; the whole case once more", flush=True)
            once()
        print(f"{name}: passed ({time.monotonic() - start:.0f} s)", flush=True)
        return 0
    except Skip as why:
        print(f"{name}: skipped: {why}", flush=True)
        return 77
    except (Failure, OSError, subprocess.SubprocessError):
        traceback.print_exc()
        print(f"{name}: FAILED after {time.monotonic() - start:.0f} s", flush=True)
        return 1
    finally:
        Host.close_all()


def main(names, doc, in_lab=False, image=build_guest):
    """Runs the cases that the command line names, from names (a module's globals()); answers the exit code. Native
    cases are called with (host, image), those of the lab with (image)."""
    cases = {name[5:]: function for name, function in names.items() if name.startswith("case_")}
    wanted = list(cases) if sys.argv[1:] == ["all"] else sys.argv[1:]
    if not wanted or any(name not in cases for name in wanted):
        print(f"{doc}\ncases: {' '.join(cases)}")
        return 2
    if in_lab and (reason := lab_usable()):
        print(f"skipped: {reason}")
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so ends what runs
    made = image()
    codes = [_run(name, cases[name], made, in_lab) for name in wanted]
    return 1 if 1 in codes else max(codes)
