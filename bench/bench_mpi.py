#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""MPI over btl/watari beside Open MPI's own btl/tcp, on this host; how long a quiesce and a resume take; and what being able
to quiesce costs while nothing is quiesced: beside the same component built without that.

Two ranks, a core for each: half round trip of 8 bytes (median), rate of 1 MiB messages in windows of 16. Quiesce
and resume, by the number of connections: of jobs that talk all the time, and of jobs that compute.

The same two figures over verbs, between two lab hosts, beside UCX on the same link, and perftest's: latency_verbs, bandwidth_verbs.

--cases native verbs runs a part.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

import mpi_verbs  # noqa: E402
from figures import interleave, parser, show  # noqa: E402

BUILD = os.path.join(ROOT, "build", "release")
COORDINATOR = os.path.join(BUILD, "watari-mpi")
MESSAGES = os.path.join(BUILD, "tests", "messages")
RANKS = (2, 4, 8)  # 1, 6 and 28 connections
NATIVE_RUNS = 10  # for each run asked for: single ones differ by a third, and the margins are 2 and 5 %
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
    """What it says of one order, as JSON lines; [] while the job is not there yet."""
    done = subprocess.run([COORDINATOR, word, "bench", "--json"], capture_output=True, text=True, timeout=60, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []


def connections():
    """How many there are in the job."""
    return sum(rank["paths"] for rank in coordinator("status")) // 2


def paused(directory, ranks, phases, cycles):
    """[(ms of a quiesce, ms of a resume)] of a job whose ranks are all connected with each other"""
    until = os.path.join(directory, "until")
    job = subprocess.Popen([COORDINATOR, "run", "--name", "bench", "--btl", "watari,self", "--allow-run-as-root", "--oversubscribe",
                            "-n", str(ranks), "--mca", "btl_watari_address", "127.0.0.1", MESSAGES, "--until", until,
                            "--phases", phases, "--bytes", "100000"], stdout=subprocess.DEVNULL)
    found = []
    deadline = time.monotonic() + 60
    while connections() < ranks * (ranks - 1) // 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    while len(found) < cycles and time.monotonic() < deadline:
        if stopped := coordinator("quiesce"):
            found.append((stopped[-1]["ms"], coordinator("resume")[-1]["ms"]))
    with open(until, "w", encoding="ascii"):
        pass
    if job.wait(60) or len(found) < cycles:
        sys.exit(f"bench: the job of {ranks} ranks did not end well, after {len(found)} quiesces")
    os.unlink(until)
    return found


def native(args):
    with tempfile.TemporaryDirectory() as directory:
        os.environ["XDG_RUNTIME_DIR"] = directory
        found = interleave({"watari": watari_pair, "fixed": fixed_pair, "tcp": tcp_pair}, NATIVE_RUNS * args.runs)
        for metric, key, unit, better in (("latency_tcp", "latency_us", "us", "lower"), ("bandwidth_tcp", "bandwidth_mb_s", "MB/s", "higher")):
            show(args, "mpi", "native", metric, unit, better, [run[key] for run in found["watari"]], "btl/tcp",
                 [run[key] for run in found["tcp"]])
        for case, key, time_of in (("8 bytes", "latency_us", lambda us: us), ("1 MiB", "bandwidth_mb_s", lambda rate: (1 << 20) / rate)):
            show(args, "mpi", case, "steady_overhead", "us", "lower", [time_of(run[key]) for run in found["watari"]],
                 "cannot quiesce", [time_of(run[key]) for run in found["fixed"]])
        for ranks in RANKS:
            for case, phases in (("talking", "pwc"), ("computing", "p" + "s" * 400)):
                times = paused(directory, ranks, phases, 4 * args.runs)
                named = f"{case}, {ranks * (ranks - 1) // 2}"
                show(args, "mpi", named, "quiesce_ms", "ms", "lower", [run[0] for run in times])
                show(args, "mpi", named, "reattach_ms", "ms", "lower", [run[1] for run in times])


def main():
    made = parser(__doc__)
    made.add_argument("--cases", nargs="+", choices=["native", "verbs"], default=["native", "verbs"])
    args = made.parse_args()
    if "native" in args.cases:
        native(args)
    if "verbs" in args.cases:
        mpi_verbs.measure(args)


if __name__ == "__main__":
    sys.exit(main())
