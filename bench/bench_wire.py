#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""watari's verbs path against perftest, between two lab hosts over soft-RoCE.

Both read the memory of the other host, at the same sizes. Of each, several settings are tried once, and the best of them
then runs in turn with the other's best; so neither loses for a flag. Two lab hosts share the processors of this machine,
so this compares what the two cost per byte and per read, not what a NIC carries. On a busy machine rates say little; what
the reads cost the two hosts in processor time says more.

  page_read_bw        MiB/s of reads of 64 KiB and of 1 MiB, against ib_read_bw of that size
  page_read_cpu       seconds of processor time of both hosts per GiB of these runs, the start of the programs included
  page_read_lat       median time of one read of 4 KiB, against ib_read_lat
  scattered_4k_rate   reads per second of 4 KiB from random places of 32 MiB, against ib_read_bw -s 4096, which reads one
                      place again and again
  scattered_4k_cpu    ... and their processor time
"""

import itertools
import os
import signal
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import interleave, options, show  # noqa: E402
from harness.hosts import lab, lab_usable  # noqa: E402
from harness.wire import perftest, watari_wire  # noqa: E402

POLL, SLEEP, PAIR, CHAIN, BOTH = (), ("-e",), ("-e", "-q", "2"), ("-e", "-l", "16"), ("-e", "-q", "2", "-l", "16")
BANDWIDTH = (POLL, SLEEP, PAIR, CHAIN, BOTH)
LATENCY = (POLL, SLEEP)
LATENCIES = 1000
RUN_S = 1.5  # how long one run shall take, about
CHAINS = 32  # two paths, chains of 16
GIB = 1 << 30
ports = itertools.count(19000)


def each(count, setting):
    """How many reads on each path, of all that are asked for."""
    return str(count // int(setting[setting.index("-q") + 1]) if "-q" in setting else count)


def costed(hosts, run):
    """run(setting), and the processor time of the hosts meanwhile."""
    def both(setting):
        before = sum(host.cpu_seconds() for host in hosts)
        return {"value": run(setting), "cpu": sum(host.cpu_seconds() for host in hosts) - before}
    return both


def ours(name, hosts, column, size, count, more=()):
    return costed(hosts, lambda setting: watari_wire(
        name, *hosts, ["-s", size, "-n", each(count, setting), *more, *setting])[-1][column])


def theirs(name, hosts, column, size, count):
    return costed(hosts, lambda setting: perftest(
        name, *hosts, next(ports), ["-s", size, "-n", each(count, setting), *setting])[column])


def enough(hosts, size):
    """How many reads take RUN_S, about; whole chains on each path."""
    rate = watari_wire("wt_read_bw", *hosts, ["-s", size, "-D", "1", *SLEEP])[-1]["msg_rate_mpps"] * 1e6
    return max(1, int(rate * RUN_S / CHAINS)) * CHAINS


def best_of(name, run, settings, better):
    """The setting with the best of one run each; says what was found."""
    found = {setting: run(setting) for setting in settings}
    print(f"wire: {name}: " + ", ".join(f"{' '.join(setting) or 'poll'} {one['value']:.6g} ({one['cpu']:.1f} s)"
                                        for setting, one in found.items()), file=sys.stderr, flush=True)
    return (min if better == "lower" else max)(found, key=lambda setting: found[setting]["value"])


def compare(args, case, settings, baseline, mine, peer, metric, scale=1, gib=None):
    """metric: (name, unit, better). mine and peer are functions of a setting. gib: what each run moves."""
    name, unit, better = metric
    my_setting = best_of(f"{name} {case}: watari", mine, settings, better)
    its_setting = best_of(f"{name} {case}: {baseline}", peer, settings, better)
    found = interleave({"mine": lambda: mine(my_setting), "peer": lambda: peer(its_setting)}, args.runs)
    baseline = " ".join([baseline, *its_setting])

    def say(what, of, in_unit, good, factor):
        ours_found, its_found = ([run[of] * factor for run in found[who]] for who in ("mine", "peer"))
        show(args, "wire", case, what, in_unit, good, ours_found, baseline, its_found)

    say(name, "value", unit, better, scale)
    if gib:
        say(name.rsplit("_", 1)[0] + "_cpu", "cpu", "s/GiB", "lower", 1 / gib)


def measure(args, hosts):
    for case, size in (("64KiB", 65536), ("1MiB", 1048576)):
        count = enough(hosts, str(size))
        compare(args, case, BANDWIDTH, "ib_read_bw", ours("wt_read_bw", hosts, "bw_average_mib_s", str(size), count),
                theirs("ib_read_bw", hosts, 3, str(size), count), ("page_read_bw", "MiB/s", "higher"), 1, count * size / GIB)
    compare(args, "4KiB", LATENCY, "ib_read_lat", ours("wt_read_lat", hosts, "t_typical_us", "4096", LATENCIES),
            theirs("ib_read_lat", hosts, 4, "4096", LATENCIES), ("page_read_lat", "us", "lower"))
    count = enough(hosts, "4096")
    compare(args, "4KiB", BANDWIDTH, "ib_read_bw", ours("wt_read_bw", hosts, "msg_rate_mpps", "4096", count, ("--scattered",)),
            theirs("ib_read_bw", hosts, 4, "4096", count), ("scattered_4k_rate", "1/s", "higher"), 1e6, count * 4096 / GIB)


def main():
    args = options(__doc__, runs=5)
    if reason := lab_usable():
        print(f"wire: the lab cannot run here: {reason}", file=sys.stderr)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so ends the lab
    with lab(2) as hosts:
        measure(args, hosts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
