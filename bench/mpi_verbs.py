# SPDX-License-Identifier: BSD-3-Clause
"""mpi_verbs.py - MPI over btl/watari's verbs in the lab, beside UCX on the same link; for bench_mpi.py.

One rank on each of two hosts; and, in metrics of their own (_one_host), both on one host, by its device all the same, where
less of the time is that of emulated NICs. perftest says what the link carries without MPI (_perftest). soft-RoCE favours
TCP: neither is judged by that.
"""

import itertools
import json
import os
import sys

from figures import interleave, show
from harness.hosts import Failure, lab, lab_usable
from harness.migration import BUILD
from harness.mpi import COORDINATOR
from harness.wire import perftest, program

ITERATIONS, WINDOWS = 2000, 10
LATENCY_RUNS = {"two hosts": 4, "one host": 1}  # for each of those of bandwidth, which take longer and agree better
PATIENCE_S = 240
# The only way in which Open MPI's UCX runs over soft-RoCE.
UCX = ["--mca", "pml", "ucx", "--mca", "osc", "ucx", "--mca", "pml_ucx_tls", "any", "--mca", "pml_ucx_devices", "any",
       "-x", "UCX_NET_DEVICES=rxe0:1", "-x", "UCX_IB_GID_INDEX=0", "-x", "UCX_TLS=rc_verbs,ud_verbs,self"]
ports = itertools.count(19500)


class Ranks:
    """Ways to run a program of two ranks. Without sshd: a shell that is reached by TCP."""

    def __init__(self, first, second):
        self.first, shell = first, os.path.join(first.out_dir, "shell")
        second.start(["busybox", "nc", "-ll", "-p", "2000", "-e", "/bin/sh"], "shell")
        with open(shell, "w", encoding="ascii") as file:
            file.write('#!/bin/sh\nhost=$1\nshift\necho "$*" | busybox nc "$host" 2000\n')
        os.chmod(shell, 0o755)
        self.words = ["--allow-run-as-root", "-n", "2", "--mca", "plm_rsh_agent", shell, "--mca", "oob_tcp_if_include", "eth0",
                      "--mca", "mpi_yield_when_idle", "0", "--host"]
        self.places = {"two hosts": f"{first.ethernet}:1,{second.ethernet}:1", "one host": "localhost:2"}

    def run(self, command, place, name, windows=0):
        process = self.first.start([*command, *self.words, self.places[place], program("wt_mpi_pair"), str(ITERATIONS), str(windows)],
                                   name, env={"XDG_RUNTIME_DIR": self.first.run_dir})
        code = process.wait(PATIENCE_S)
        found = process.find('"latency_us"')
        if code or not found:
            raise Failure(f"{name}: exit code {code}: {process.tail(12)}")
        print(f"mpi: {place}: {name} {found}", file=sys.stderr, flush=True)
        return json.loads(found)


def latency_link(ends):
    """What perftest says, in us."""
    return {"latency_us": perftest("ib_send_lat", *ends, next(ports), ["-s", "8", "-n", "1000"])[4]}


def bandwidth_link(ends):
    return {"bandwidth_mb_s": perftest("ib_write_bw", *ends, next(ports), ["-s", str(1 << 20), "-n", "200"])[3] * 1.048576}


def measure(args):
    if reason := lab_usable():
        sys.exit(f"bench: the lab is needed: {reason}")
    with lab(2, options=["--pin"]) as hosts:  # else single runs differ by more than two
        compare(args, Ranks(*hosts), "two hosts", hosts, "")
    with lab(2) as hosts:
        compare(args, Ranks(*hosts), "one host", (hosts[0], hosts[0]), "_one_host")


def compare(args, ranks, place, ends, kind):
    # Without "verbs" a rank that finds no device would talk over tcp, and nobody would notice. By IPv6, as UCX must.
    ours = [COORDINATOR, "run", "--name", "bench", "--btl", "watari,self", "--mca", "btl_watari_fabrics", "verbs",
            "--mca", "btl_watari_verbs_address", "fd77::/64"]
    for metric, key, unit, better, beside, link, windows, runs in (
            ("latency_verbs", "latency_us", "us", "lower", "ib_send_lat", latency_link, 0, LATENCY_RUNS[place] * args.runs),
            ("bandwidth_verbs", "bandwidth_mb_s", "MB/s", "higher", "ib_write_bw", bandwidth_link, WINDOWS, args.runs)):
        found = interleave({"watari": lambda n=windows: ranks.run(ours, place, "watari", n),
                            "ucx": lambda n=windows: ranks.run(["mpirun", *UCX], place, "ucx", n),
                            "perftest": lambda of=link: of(ends)}, runs)
        watari, ucx, perf = ([run[key] for run in found[who]] for who in ("watari", "ucx", "perftest"))
        show(args, "mpi", place, metric + kind, unit, better, watari, "UCX", ucx)
        show(args, "mpi", place, f"{metric}{kind}_perftest", unit, better, watari, beside, perf)
