# SPDX-License-Identifier: BSD-3-Clause
"""valgrind.py - runs what a case starts of watari under valgrind, and judges what valgrind found.

An error is a use of memory that is not there or was never written, memory that nobody can free any more, and a descriptor
that is still open at the end. What is of libraries alone is left out by tests/valgrind.supp, each with its reason.
"""

import glob
import os
import re
import shutil

from .hosts import ROOT, Failure
from .migration import BUILD

WATCHED = os.path.join(BUILD, "tests", "libwatched.so")
CALM = {"mb": 128, "work_mb": 8, "rate": 20}  # of guests: so slow that what is watched keeps up
OPEN = re.compile(r"==\d+== (Open .*)\n((?:==\d+==  .*\n)*)")  # "Open file descriptor 5: /dev/zero", and where it was opened
KEPT = re.compile(r"<inherited|verbs_open_device .*\n.*librdmacm")  # librdmacm opens each device once
SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors.*\(suppressed: (\d+)")


def missing():
    """Why it cannot be used here, or None."""
    if not shutil.which("valgrind"):
        return "valgrind is missing: scripts/setup installs it"
    return None if os.path.exists(WATCHED) else f"there is no {WATCHED}: it is built where verbs and valgrind's headers are"


class Valgrind:
    """From now on, each watari of these hosts runs in it, with a clock that is slower and a harness that is as many times
    more patient."""

    def __init__(self, *hosts, slower=10):
        self.hosts = hosts
        for host in hosts:
            host.patience = slower
            host.wrap = ["env", f"LD_PRELOAD={WATCHED}", f"WATARI_CLOCK_SLOWER={slower}", "valgrind",
                         "--error-exitcode=99", "--leak-check=full", "--track-fds=yes", "--num-callers=24", "--vgdb=no",
                         f"--suppressions={os.path.join(ROOT, 'tests', 'valgrind.supp')}",
                         f"--log-file={host.out_dir}/valgrind.%p"]

    def logs(self):
        return sorted({path for host in self.hosts for path in glob.glob(f"{host.out_dir}/valgrind.*")})

    def check(self, runs):
        """Failure unless so many programs have ended without an error; answers how many errors were suppressed. Before what
        they said is looked at: an error makes them end with a code of valgrind's."""
        logs = self.logs()
        if len(logs) != runs:
            raise Failure(f"{len(logs)} programs ran in valgrind, not {runs}")
        return sum(map(suppressed, logs))


def suppressed(path):
    """How many errors of libraries there were; Failure if there was any other."""
    with open(path, errors="replace") as file:
        text = file.read()
    end, left = SUMMARY.search(text), [what for what, where in OPEN.findall(text) if not KEPT.search(where)]
    if end and end.group(1) == "0" and not left:
        return int(end.group(2))
    print(text, flush=True)
    raise Failure(f"valgrind: {end.group(1)} errors, open at the end: {left}" if end else "valgrind did not come to its end")
