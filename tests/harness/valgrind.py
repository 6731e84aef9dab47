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

CALM = {"mb": 128, "work_mb": 8, "rate": 20}  # of guests: so slow that what is watched keeps up
OPEN = re.compile(r"==\d+== (Open .*)\n==\d+==    (?!<inherited)")  # "Open file descriptor 5: /dev/zero", and where it was opened
SUMMARY = re.compile(r"ERROR SUMMARY: (\d+) errors.*\(suppressed: (\d+)")


def missing():
    """Why it cannot be used here, or None."""
    return None if shutil.which("valgrind") else "valgrind is missing: scripts/setup installs it"


class Valgrind:
    """From now on, each watari of these hosts runs in it."""

    def __init__(self, *hosts, patience=1, more=()):
        self.hosts = hosts
        for host in hosts:
            host.patience = patience
            host.wrap = ["valgrind", "--error-exitcode=99", "--leak-check=full", "--track-fds=yes", "--num-callers=24", "--vgdb=no",
                         f"--suppressions={os.path.join(ROOT, 'tests', 'valgrind.supp')}",
                         f"--log-file={host.out_dir}/valgrind.%p", *more]

    def logs(self):
        return sorted({path for host in self.hosts for path in glob.glob(f"{host.out_dir}/valgrind.*")})

    def check(self, runs):
        """Failure unless so many programs have ended without an error; answers how many errors were suppressed."""
        logs = self.logs()
        if len(logs) != runs:
            raise Failure(f"{len(logs)} programs ran in valgrind, not {runs}")
        return sum(map(suppressed, logs))


def suppressed(path):
    """How many errors of libraries there were; Failure if there was any other."""
    with open(path, errors="replace") as file:
        text = file.read()
    end, left = SUMMARY.search(text), OPEN.findall(text)
    if end and end.group(1) == "0" and not left:
        return int(end.group(2))
    print(text, flush=True)
    raise Failure(f"valgrind: {end.group(1)} errors, open at the end: {left}" if end else "valgrind did not come to its end")
