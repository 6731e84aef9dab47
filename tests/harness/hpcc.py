# SPDX-License-Identifier: BSD-3-Clause
"""hpcc.py - HPC Challenge, as Debian has it: its input, and every check that it makes of its own results."""

import os
import re

from .mpi import Job

EXAMPLE = "/usr/share/doc/hpcc/examples/_hpccinf.txt"
RANKS = 4  # two rows, two columns
SECTIONS = [*(f"{where}RandomAccess{kind}" for kind in ("", "_LCG") for where in ("MPI", "Star", "Single")), "PTRANS", "StarDGEMM",
            "SingleDGEMM", "StarSTREAM", "SingleSTREAM", "MPIFFT", "StarFFT", "SingleFFT", "LatencyBandwidth", "HPL"]
FFT_ERROR_MAX = 1e-12  # sizes are small: it is about 1e-15


def begin(host, folder, n, name="hpcc", **more):
    """Starts it over btl/watari, with matrices of n rows; folder is seen from here and from the host under one path."""
    os.makedirs(folder, exist_ok=True)
    with open(EXAMPLE, encoding="ascii") as file:
        text = file.read()
    text, found = re.subn(r"^1000( +Ns)$", rf"{n}\1", text, count=1, flags=re.MULTILINE)
    if not found:
        raise OSError(f"{EXAMPLE} is not what it was: it has no size 1000")
    with open(os.path.join(folder, "hpccinf.txt"), "w", encoding="ascii") as file:
        file.write(text)
    return Job(host, ranks=RANKS, program=("-wdir", folder, "hpcc"), name=name, **more)


def output(folder):
    with open(os.path.join(folder, "hpccoutf.txt"), encoding="ascii") as file:
        return file.read()


def all_are(text, what, pattern, right, least):
    """Complaints, if not at least so many lines have the pattern, and its group is right in all of them."""
    found = re.findall(pattern, text, re.MULTILINE)
    return [f"{what}: {found or 'not there'}"] if len(found) < least or not all(right(one) for one in found) else []


def complaints(text):
    """What hpcc says against its results, or has not said for them; [] if all is right."""
    wrong = [f"no {word.lower()} of section {name}" for name in SECTIONS for word in ("Begin", "End")
             if f"{word} of {name} section." not in text]
    wrong += all_are(text, "RandomAccess: table errors", r"^Found \d+ errors in \d+ locations \((\w+)\)", "passed".__eq__, 4)
    wrong += all_are(text, "MPIRandomAccess: errors, of which 1 % may be",
                     r"^MPIRandomAccess(?:_LCG)?_ErrorsFraction=(\S+)", lambda part: float(part) <= 0.01, 2)
    wrong += all_are(text, "nodes with an error", r"^Node\(s\) with error (\d+)", "0".__eq__, 10)
    wrong += all_are(text, "PTRANS", r"^(?:WALL|CPU) .* (\w+) +\S+ +\S+$", "PASSED".__eq__, 10)
    wrong += all_are(text, "residual checks that failed", r"(\d+) tests completed and failed residual checks", "0".__eq__, 2)
    wrong += all_are(text, "tests that were skipped", r"(\d+) tests skipped", "0".__eq__, 2)
    wrong += all_are(text, "STREAM", r"^Solution (\w+)", "Validates".__eq__, 1)
    wrong += all_are(text, "FFT: error", r"^max\(\|x-x0\|\): +(\S+)", lambda error: float(error) < FFT_ERROR_MAX, 2)
    wrong += all_are(text, "HPL: scaled residual", r"^\|\|Ax-b\|\|.*= +(\S+ \.+ \w+)$",
                     lambda said: float(said.split()[0]) < 16 and said.endswith("PASSED"), 1)
    wrong += all_are(text, "latency and bandwidth", r"^(?:(?:Max|Min|Avg)PingPong|(?:Randomly|Naturally)OrderedRing)\w+=(\S+)",
                     lambda figure: float(figure) > 0, 8)
    wrong += all_are(text, "Success", r"^Success=(\d+)$", "1".__eq__, 1)
    return wrong


# One word of the output changed: each must be complained of.
LIES = [("End of MPIFFT", "End of nothing"), ("(passed)", "(failed)"),
        ("MPIRandomAccess_ErrorsFraction=0", "MPIRandomAccess_ErrorsFraction=0.02"),
        ("Node(s) with error 0", "Node(s) with error 1"), ("PASSED ", "FAILED "),
        ("0 tests completed and failed", "1 tests completed and failed"),
        ("0 tests skipped", "1 tests skipped"), ("Solution Validates", "Solution fails"), ("max(|x-x0|): ", "max(|x-x0|): 7777"),
        ("..... PASSED", "..... FAILED"), ("MinPingPongBandwidth_GBytes=", "MinPingPongBandwidth_GBytes=-"), ("Success=1", "Success=0")]
