#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""MPI over btl/watari beside Open MPI's own btl/tcp, on this host; how long a quiesce and a resume take; and what being able
to quiesce costs while nothing is quiesced: beside the same component built without that.

Two ranks, a core for each: half round trip of 8 bytes (median), rate of 1 MiB messages in windows of 16. Quiesce
and resume of 4 ranks: one job that talks all the time, one that only computes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

from figures import interleave, options, show

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")
COORDINATOR = os.path.join(BUILD, "watari-mpi")
MESSAGES = os.path.join(BUILD, "tests", "messages")
COMMON = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "core"]


def pair(command, **env):
    said = subprocess.run([*command, *COMMON, "-n", "2", "--mca", "mpi_yield_when_idle", "0", os.path.join(BUILD, "bench", "wt_mpi_pair")],
                          check=True, capture_output=True, text=True, timeout=120, env={**os.environ, **env}).stdout
    return json.loads(said.splitlines()[-1])


def watari_pair(**env):
    return pair([COORDINATOR, "run", "--name", "bench", "--btl", "watari,self", "--mca", "btl_watari_address", "127.0.0.1"], **env)


def fixed_pair():
    return watari_pair(WATARI_MPI_COMPONENTS=os.path.join(BUILD, "bench", "openmpi"))


def tcp_pair():
    return pair(["mpirun", "--mca", "pml", "ob1", "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", "lo"])


def coordinator(word):
    """The figures of one quiesce or resume; None while the job is not there yet."""
    done = subprocess.run([COORDINATOR, word, "bench", "--json"], capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def paused(directory, phases, cycles):
    """[(ms of a quiesce, ms of a resume)] of a job of 4 ranks"""
    until = os.path.join(directory, "until")
    job = subprocess.Popen([COORDINATOR, "run", "--name", "bench", "--btl", "watari,self", "--allow-run-as-root", "--oversubscribe",
                            "-n", "4", "--mca", "btl_watari_address", "127.0.0.1", MESSAGES, "--until", until, "--phases", phases,
                            "--bytes", "100000"], stdout=subprocess.DEVNULL)
    found = []
    deadline = time.monotonic() + 60
    while len(found) < cycles and time.monotonic() < deadline:
        if stopped := coordinator("quiesce"):
            found.append((stopped["ms"], coordinator("resume")["ms"]))
    with open(until, "w", encoding="ascii"):
        pass
    if job.wait(60) or len(found) < cycles:
        sys.exit("bench: the job did not end well")
    os.unlink(until)
    return found


def main():
    args = options(__doc__)
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        found = interleave({"watari": watari_pair, "fixed": fixed_pair, "tcp": tcp_pair}, args.runs)
        for metric, key, unit, better in (("latency_tcp", "latency_us", "us", "lower"), ("bandwidth_tcp", "bandwidth_mb_s", "MB/s", "higher")):
            show(args, "mpi", "native", metric, unit, better, [run[key] for run in found["watari"]], "btl/tcp",
                 [run[key] for run in found["tcp"]])
        for case, key, time_of in (("8 bytes", "latency_us", lambda us: us), ("1 MiB", "bandwidth_mb_s", lambda rate: (1 << 20) / rate)):
            show(args, "mpi", case, "steady_overhead", "us", "lower", [time_of(run[key]) for run in found["watari"]],
                 "cannot quiesce", [time_of(run[key]) for run in found["fixed"]])
        for case, phases in (("talking", "pwc"), ("computing", "s" * 400)):
            times = paused(directory, phases, 4 * args.runs)
            show(args, "mpi", case, "quiesce_ms", "ms", "lower", [run[0] for run in times])
            show(args, "mpi", case, "reattach_ms", "ms", "lower", [run[1] for run in times])


if __name__ == "__main__":
    sys.exit(main())
