#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""watari's verbs path against perftest, between two lab hosts over soft-RoCE.

Both read the memory of the other host, at the same sizes. Of each, several settings are tried twice, and the best of them
then runs in turn with the other's best; so neither loses for a flag. Two lab hosts share the processors of this machine,
so this compares what the two cost per byte and per read, not what a NIC carries. On a busy machine rates say little; what
the reads cost the two hosts in processor time says more.

  page_read_bw        MiB/s of reads of 64 KiB and of 1 MiB, against ib_read_bw of that size
  page_read_cpu       seconds of processor time of both hosts per GiB of these runs, the start of the programs included
  page_read_lat       median time of one read of 4 KiB, against ib_read_lat
  scattered_4k_rate   reads per second of 4 KiB from random places of 32 MiB, against ib_read_bw -s 4096, which reads one
                      place again and again
  scattered_4k_cpu    ... and their processor time
  vm_verbs_rate       a whole stopped guest of random bytes: RAM / total time, against ib_read_bw of 1 MiB
  vm_verbs_cpu        ... and the processor time of both hosts per GiB, against ib_read_bw's
  vm_verbs_vs_qemu_rdma, vm_cpu_vs_qemu_rdma   the same against QEMU's `rdma:`, the better of pin-all on and off

--cases 64KiB 1MiB lat scattered vm runs a part: each takes two to eight minutes.
"""

import itertools
import os
import signal
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

import wire_vm  # noqa: E402
from figures import interleave, parser, show  # noqa: E402
from harness.guests import build_guest  # noqa: E402
from harness.hosts import Failure, lab, lab_usable  # noqa: E402
from harness.wire import perftest, watari_wire  # noqa: E402

POLL, SLEEP, PAIR, CHAIN, BOTH = (), ("-e",), ("-e", "-q", "2"), ("-e", "-l", "16"), ("-e", "-q", "2", "-l", "16")
BANDWIDTH = (POLL, SLEEP, PAIR, CHAIN, BOTH)
LATENCY = (POLL, SLEEP)
LATENCIES = 1000
PERFTEST_S = 30  # after that it has hung
PATIENCE = 2
TRIES = 2  # of each setting, before the best is chosen
RUN_S = 1.5  # how long one run shall take, about
CHAINS = 32  # two paths, chains of 16
VM_READ = 1 << 20
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


def again(run):
    """The same, anew if it fails: perftest hangs now and then with -e."""
    def patient(setting):
        for _ in range(PATIENCE):
            try:
                return run(setting)
            except Failure as failure:
                print(f"wire: {failure}; again", file=sys.stderr, flush=True)
        return run(setting)
    return patient


def ours(name, hosts, column, size, count, more=()):
    return costed(hosts, lambda setting: watari_wire(
        name, *hosts, ["-s", size, "-n", each(count, setting), *more, *setting])[-1][column])


def theirs(name, hosts, column, size, count):
    return again(costed(hosts, lambda setting: perftest(
        name, *hosts, next(ports), ["-s", size, "-n", each(count, setting), *setting], PERFTEST_S)[column]))


def enough(hosts, size):
    """How many reads take RUN_S, about; whole chains on each path."""
    rate = watari_wire("wt_read_bw", *hosts, ["-s", size, "-D", "1", *SLEEP])[-1]["msg_rate_mpps"] * 1e6
    return max(1, int(rate * RUN_S / CHAINS)) * CHAINS


def best_of(name, run, settings, better):
    """The setting with the best median of some runs each, one of each in turn; says what was found."""
    runs = interleave({setting: lambda setting=setting: run(setting) for setting in settings}, TRIES)
    found = {setting: {of: statistics.median(one[of] for one in runs[setting]) for of in ("value", "cpu")} for setting in settings}
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


def bandwidth(args, hosts, case, size):
    count = enough(hosts, str(size))
    compare(args, case, BANDWIDTH, "ib_read_bw", ours("wt_read_bw", hosts, "bw_average_mib_s", str(size), count),
            theirs("ib_read_bw", hosts, 3, str(size), count), ("page_read_bw", "MiB/s", "higher"), 1, count * size / GIB)


def latency(args, hosts):
    compare(args, "4KiB", LATENCY, "ib_read_lat", ours("wt_read_lat", hosts, "t_typical_us", "4096", LATENCIES),
            theirs("ib_read_lat", hosts, 4, "4096", LATENCIES), ("page_read_lat", "us", "lower"))


def scattered(args, hosts):
    count = enough(hosts, "4096")
    compare(args, "4KiB", BANDWIDTH, "ib_read_bw", ours("wt_read_bw", hosts, "msg_rate_mpps", "4096", count, ("--scattered",)),
            theirs("ib_read_bw", hosts, 4, "4096", count), ("scattered_4k_rate", "1/s", "higher"), 1e6, count * 4096 / GIB)


def whole_vm(args, hosts):
    image, mb = build_guest(), args.mb
    reads = mb * wire_vm.MIB // VM_READ  # as long as the guest's move: shorter runs say more of the moment than of the wire
    perf = theirs("ib_read_bw", hosts, 3, str(VM_READ), reads)
    setting = best_of("vm: ib_read_bw", perf, (SLEEP, PAIR), "higher")
    ours_vm = wire_vm.Watari(hosts, image, mb, args.feed, args.send.split())
    qemus = [wire_vm.Qemu(hosts, image, mb, pin_all) for pin_all in (False, True)] if args.rdma else []
    tried = {qemu: wire_vm.say(qemu.name, qemu.run()) for qemu in qemus}
    best = sorted(tried, key=lambda qemu: -tried[qemu]["rate"])[:1]

    def perftest_run():
        run = perf(setting)
        return {"rate": run["value"], "cpu": run["cpu"] / (reads * VM_READ / GIB)}

    contenders = {one.name: one.run for one in (ours_vm, *best)} | {"ib_read_bw": perftest_run}
    found = interleave({name: lambda name=name, run=run: wire_vm.say(name, run()) for name, run in contenders.items()}, args.runs)

    def say(metric, of, unit, better, baseline):
        show(args, "wire", f"{mb}MiB", metric, unit, better, [run[of] for run in found[ours_vm.name]], baseline,
             [run[of] for run in found[baseline]])

    say("vm_verbs_rate", "rate", "MiB/s", "higher", "ib_read_bw")
    say("vm_verbs_cpu", "cpu", "s/GiB", "lower", "ib_read_bw")
    for qemu in best:
        say("vm_verbs_vs_qemu_rdma", "rate", "MiB/s", "higher", qemu.name)
        say("vm_cpu_vs_qemu_rdma", "cpu", "s/GiB", "lower", qemu.name)
        say("vm_wall_vs_qemu_rdma", "wall", "s", "lower", qemu.name)


CASES = {"64KiB": lambda args, hosts: bandwidth(args, hosts, "64KiB", 65536),
         "1MiB": lambda args, hosts: bandwidth(args, hosts, "1MiB", 1048576),
         "lat": latency, "scattered": scattered, "vm": whole_vm}


def command_line():
    made = parser(__doc__)
    made.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help=", ".join(CASES))
    made.add_argument("--mb", type=int, default=384, help="RAM of the guest of `vm`")
    made.add_argument("--no-feed", dest="feed", action="store_false", help="the source QEMU without libwatari-feed.so")
    made.add_argument("--no-rdma", dest="rdma", action="store_false", help="`vm` without QEMU's rdma:")
    made.add_argument("--send", default="", metavar="OPTIONS", help="for watari send, such as --send='--paths 4'")
    return made.parse_args()


def main():
    args = command_line()
    if reason := lab_usable():
        print(f"wire: the lab cannot run here: {reason}", file=sys.stderr)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so ends the lab
    with lab(2, mem="2560M" if "vm" in args.cases else "1536M") as hosts:
        for case in args.cases:
            CASES[case](args, hosts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
