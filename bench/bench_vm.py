#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""a whole VM over tcp, against QEMU's own migration with its best setting.

Two hosts of this machine, in network namespaces joined by a switch; QEMU 10.0 without KVM. All times are those of QEMU's own
events, of one clock; all contenders have the same memory, two files in huge pages of a tmpfs (--small-pages: a memfd for each run), which
exists at the destination before (nobody pays for its first touch), no limit on bandwidth, 300 ms limit on downtime, and
return-path. TCP's congestion control is reno, which any namespace may choose: others (bbr) pace what is sent, as if there were
a network to be spared, and cost everybody two or three times as much here. Runs are interleaved, and whose turn is first changes.

  total_time        a stopped guest, RAM full of random bytes: to the completion at both ends, from the start of `watari send`,
                    of QEMU from the first event of its migration; the destinations wait
  cpu_seconds       the same runs: user and system time of all QEMUs and relays of both ends, until they have ended or are
                    through. What interrupts of the network take lands on who is interrupted, and in the kernel's own threads,
                    which are nobody's: it is not counted
  limit_time,       as many bytes between two processes that do nothing else (tcp_limit.py), beside the same of QEMU's: what
  limit_cpu         is left if a migration cost nothing but that
  downtime_idle     a guest that runs and writes little: from STOP at the source to RESUME at the destination, without
                    commit_ms, which is what it costs to know that the source has let go (QEMU has nothing like it)
  downtime_dirty    the same with a guest that writes as fast as it can here
  guest_gap         beside these two: the longest time between two lines of the guest's console around the switchover
  convergence_rate  --convergence only, takes long: over a link of 200 Mbit/s, pages per second that a guest may write at most,
                    at random in so much memory, so that its migration completes within 60 s; by bisection between half of
                    what the link carries and five quarters of it, in steps of 143 pages. Ours with --dirty-sync often, as
                    it is by itself under KVM; guests here have none, so that their log of dirty pages is not exact

Our source QEMU has libwatari-feed.so (--no-feed: has not). QEMU's best settings of multifd (channels, zero-copy-send) are looked for first: the two that are fastest once. veth copies
where a network card would not: what sending without copying saves cannot be seen here.
"""

import contextlib
import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import interleave, parser, report, show  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402
from harness.migration import FEED, Migration, install_key  # noqa: E402
from harness.network import network  # noqa: E402
from harness.qmp_events import Events  # noqa: E402

LIMIT = os.path.join(ROOT, "bench", "tcp_limit.py")
PORT = 4700
RAM_PREFIX = "watari-ram-"
FAST = 1 << 40  # bytes per second: no limit of QEMU's own
DOWNTIME_MS = 300
CHUNK = 16 << 20
RUNNING = {"mb": 2048, "work_mb": 1600}  # many times what gets across within the limit on downtime
WORKING_SETS = (320, 640)  # MiB: once across takes 17 s and 31 s
OTHERWISE = 192  # MiB that these guests have besides
RATES = {"idle": 50, "dirty": 20000}  # pages per second
LINK_MBIT_S = 200
CONVERGE_S = 60
CONVERGE_STEPS = 5
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """Processor time of a process, also of one that has ended and was not waited for."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def failed(process):
    """Has ended badly; the process is left for end_s."""
    ended = os.waitid(os.P_PID, process.child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    return ended and (ended.si_code != os.CLD_EXITED or ended.si_status)


def end_s(process):
    """Processor time of a process in whole; waits for its end, and does not reap it."""
    os.waitid(os.P_PID, process.child.pid, os.WEXITED | os.WNOWAIT)
    return cpu_s(process.child.pid)


def fill(guest, mb):
    """Random bytes into all of a guest's RAM, by way of its file."""
    descriptors = f"/proc/{guest.process.child.pid}/fd"
    names = {name: os.readlink(f"{descriptors}/{name}") for name in os.listdir(descriptors)}
    memory = next(name for name, path in names.items() if "memfd:memory-backend" in path or RAM_PREFIX in path)
    noise = os.urandom(2 * CHUNK)
    with open(f"{descriptors}/{memory}", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), mb << 20) as room:
        for i in range((mb << 20) // CHUNK):  # no two pages are equal: each chunk begins elsewhere
            room[i * CHUNK:(i + 1) * CHUNK] = noise[i * 8:i * 8 + CHUNK]


@contextlib.contextmanager
def memory(small):
    """Where guests have their RAM, as arguments for Guest."""
    if small:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix=RAM_PREFIX) as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=always,size=90%", "watari", folder], check=True)
        try:
            yield {"backend": "file", "ram_file": folder, "ram_options": ",align=2M"}
        finally:
            Host.close_all()
            subprocess.run(["umount", folder], check=True)


def ram_path(folder, side, mb):
    """The file of a side's RAM, the same one for all contenders: a machine's memory is not everywhere as fast."""
    return os.path.join(folder, f"{side}-{mb}")


def zeroed(path, mb):
    """That file, of that size, its pages those of the run before."""
    zeros = bytes(1 << 20)
    with open(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "r+b", buffering=0) as file:
        for _ in range(mb):
            file.write(zeros)
    return path


class Pair:
    """A guest and the QEMU that awaits it, on two hosts. wait: the destination does not run by itself; env is the source's."""

    def __init__(self, net, image, wait, stopped=False, cold=False, env=None, ram_options="", ram_file=None, **guest):
        self.ends, self.events = [], []
        for host, incoming in zip(net.hosts, (False, True if wait else "defer")):
            ram = ram_file
            if ram_file and not (cold and incoming):
                ram = zeroed(ram_path(ram_file, "destination" if incoming else "source", guest["mb"]), guest["mb"])
            path = f"{host.run_dir}/events{Guest.count}.qmp"
            extra = ["-qmp", f"unix:{path},server=on,wait=off", *(["-S"] if stopped and not incoming else [])]
            self.ends.append(Guest(host, image, incoming=incoming, extra=extra, env=None if incoming else env,
                                   ram_file=ram, ram_options=ram_options + ("" if cold and incoming else ",prealloc=on"),
                                   append="" if stopped else "wt.report=20", **guest))
            self.events.append(Events(path))
        self.source, self.destination = self.ends
        if stopped:
            fill(self.source, guest["mb"])
        else:
            self.source.wait_reports(50)
        self.before = [cpu_s(end.process.child.pid) for end in self.ends]

    def cpu(self):
        """Of both QEMUs, since they are a pair."""
        return sum(cpu_s(end.process.child.pid) for end in self.ends) - sum(self.before)

    def ended(self, event, status, side, unless):
        return self.events[side].wait(event, status, 300, unless)

    def gap_ms(self, stop):
        """Milliseconds without a line on the guest's console; asked soon after the destination's RESUME."""
        wait_for(lambda: os.path.getsize(self.destination.serial), "the guest's first line at the destination", 60)
        return (time.time() - max(stop - 1, min(stop + 1, os.path.getmtime(self.source.serial)))) * 1000

    def close(self):
        for events in self.events:
            events.close()
        for end in self.ends:
            end.quit()


def times(pair, began, stopped, unless):
    """What both contenders are measured by."""
    found = {"total_time": max(pair.ended("MIGRATION", "completed", side, unless) for side in (0, 1)) - began}
    if not stopped:
        resume, stop = pair.ended("RESUME", None, 1, unless), pair.ended("STOP", None, 0, unless)
        found |= {"guest_gap": pair.gap_ms(stop), "downtime": (resume - stop) * 1000, "total_time": resume - began}
    return found


class Watari:
    name = "watari"

    def __init__(self, net, image, feed, options=()):
        self.net, self.image, self.feed, self.options = net, image, feed, list(options)
        self.keys = install_key(net.hosts)

    def run(self, stopped=False, patience_s=300, **guest):
        pair = Pair(self.net, self.image, True, stopped, env=FEED if self.feed else None, **guest)
        move = Migration(pair.source, pair.destination, keys=self.keys, receive=["--data-plain"],  # as QEMU does it here
                         send=["--data-plain", "--keep-source", "--downtime-limit", f"{DOWNTIME_MS}ms", "--give-up-after", f"{patience_s}s",
                               *self.options])
        found = times(pair, move.began, stopped, lambda: failed(move.sender))
        shares = {"send": end_s(move.sender), "receive": end_s(move.receiver), "qemu": pair.cpu()}
        found["cpu_seconds"] = sum(shares.values())
        summary = move.succeed()
        if summary["feed"] != self.feed:
            raise Failure(f"the feed is not as wanted: {summary}")
        if stopped:
            found |= {f"cpu_{who}": share for who, share in shares.items()}
        found["commit_ms"] = summary["commit_ms"]
        if not stopped:
            found["downtime"] -= summary["commit_ms"]
            found |= {f"{part}_ms": summary[f"{part}_ms"] for part in ("last_pages", "state", "load", "start")}
        pair.close()
        return found


class Qemu:
    def __init__(self, net, image, channels, zero_copy):
        self.net, self.image, self.channels, self.zero_copy = net, image, channels, zero_copy
        self.name = f"qemu-tcp, multifd {channels}{', zero-copy' if zero_copy else ''}"

    def prepare(self, pair):
        on = ["events", "return-path", "multifd"]
        for guest in pair.ends:
            wanted = [*on, "zero-copy-send"] if self.zero_copy and guest is pair.source else on
            need(guest, "migrate-set-capabilities", {"capabilities": [{"capability": name, "state": True} for name in wanted]})
            need(guest, "migrate-set-parameters", {"multifd-channels": self.channels, "max-bandwidth": FAST,
                                                   "downtime-limit": DOWNTIME_MS})

    def run(self, stopped=False, patience_s=300, **guest):
        pair = Pair(self.net, self.image, False, stopped, **guest)
        uri = {"uri": f"tcp:{self.net.hosts[1].address}:{PORT}"}
        self.prepare(pair)
        need(pair.destination, "migrate-incoming", uri)
        need(pair.source, "migrate", uri)
        began = pair.ended("MIGRATION", "setup", 0, lambda: None)
        found = times(pair, began, stopped, lambda: "failed" if pair.events[0].time_of("MIGRATION", "failed")
                      else "too late" if time.time() - began > patience_s else None)
        found["cpu_seconds"], found["commit_ms"] = pair.cpu(), 0
        pair.close()
        return found


class Limit:
    name = "the wire's limit"

    def __init__(self, net, size):
        self.net, self.mb, self.size = net, size, str(size << 20)

    def run(self, ram_file=None, **_):
        address = self.net.hosts[1].address
        source, destination = (ram_path(ram_file, side, self.mb) if ram_file else "-" for side in ("source", "destination"))
        receiver = self.net.hosts[1].start([sys.executable, LIMIT, "receive", address, destination, self.size], "limit")
        wait_for(lambda: receiver.lines, "the receiver's memory", 120)
        port = str(json.loads(receiver.lines[0])["port"])
        sender = self.net.hosts[0].start([sys.executable, LIMIT, "send", address, port, source, self.size], "limit")
        for process in (sender, receiver):
            if process.wait(300):
                raise Failure(f"the limit: {process.tail()}")
        ends = json.loads(sender.lines[-1]), json.loads(receiver.lines[-1])
        return {"total_time": ends[1]["done"] - ends[0]["began"], "cpu_seconds": ends[0]["cpu"] + ends[1]["cpu"], "cpu_send": ends[0]["cpu"], "cpu_receive": ends[1]["cpu"]}


def need(guest, command, arguments):
    code, text = guest.call(command, arguments)
    if code:
        raise Failure(f"{command}: {text}")


def say(args, name, case, found):
    print(f"  {case:8} {name:32} " + "  ".join(f"{key} {value:.3f}" for key, value in found.items()), file=sys.stderr, flush=True)
    return found


def best_of_qemu(args, net, image, size):
    """The two settings that are fastest in one run each."""
    settings = [Qemu(net, image, channels, zero_copy) for channels in args.channels for zero_copy in (False, True)]
    found = {qemu: say(args, qemu.name, "sweep", qemu.run(stopped=True, mb=size, **args.memory)) for qemu in settings}
    return sorted(settings, key=lambda qemu: found[qemu]["total_time"])[:2]


def compare(args, contenders, case, metrics, beside=(), **guest):
    """A line for each of {metric of a run: (metric, unit)}; the baseline is the setting of QEMU with the better median. beside:
    run too, and no baseline."""
    found = interleave({one.name: lambda one=one: say(args, one.name, case, one.run(**guest, **args.memory))
                        for one in [*contenders, *beside]},
                       args.runs)
    for key, (metric, unit) in metrics.items():
        against(args, case, found, contenders, key, metric, unit, "watari")
    return found


def against(args, case, found, contenders, key, metric, unit, name):
    """The line of one contender's metric, against the better one of QEMU's settings."""
    runs = {one: [run[key] for run in found[one]] for one in found}
    best = min((one.name for one in contenders[1:]), key=lambda one: statistics.median(runs[one]))
    show(args, "vm", case, metric, unit, "lower", runs[name], best, runs[best])


def converges(args, contender, work_mb, rate):
    try:
        contender.run(patience_s=CONVERGE_S, rate=rate, mb=work_mb + OTHERWISE, work_mb=work_mb, **args.memory)
    except Failure:
        for host in contender.net.hosts:
            host.end_processes()
        return False
    return True


def convergence(args, contender, work_mb):
    """Pages per second that the guest may write; 0: not half of what the link carries."""
    carries = LINK_MBIT_S * 125000 // 4096
    found, low, high = 0, carries // 2, carries * 5 // 4
    for _ in range(CONVERGE_STEPS):
        middle = (low + high) // 2
        enough = converges(args, contender, work_mb, middle)
        print(f"  {work_mb} MiB {contender.name:32} {middle} pages/s: {'within' if enough else 'not within'} {CONVERGE_S} s", file=sys.stderr, flush=True)
        low, high = (middle, high) if enough else (low, middle)
        found = middle if enough else found
    return {"convergence_rate": found}


def measure(args):
    image = build_guest()
    size = 1024 if args.quick else 4096
    with memory(args.small_pages) as args.memory, network(2) as net:
        net.congestion("reno")
        ours = Watari(net, image, args.feed, args.send.split())
        contenders = [ours, *best_of_qemu(args, net, image, size)]
        for case in ("stopped", "cold"):
            if case in args.cases:
                limit = Limit(net, size)
                found = compare(args, contenders, case, {"total_time": ("total_time", "s"), "cpu_seconds": ("cpu_seconds", "s")},
                                [limit], stopped=True, cold=case == "cold", mb=size)
                for metric, key in (("limit_time", "total_time"), ("limit_cpu", "cpu_seconds")):
                    against(args, case, found, contenders, key, metric, "s", limit.name)
        for case, rate in RATES.items():
            if case not in args.cases:
                continue
            found = compare(args, contenders[:2], case, {"downtime": (f"downtime_{case}", "ms"), "guest_gap": ("guest_gap", "ms")},
                            rate=rate, **RUNNING)
            show(args, "vm", case, "commit_ms", "ms", "lower", [run["commit_ms"] for run in found["watari"]])
        if args.convergence:
            for side in (0, 1):
                net.limit(LINK_MBIT_S, side)
            for work_mb in args.working_sets:
                pair = (Watari(net, image, args.feed, [*args.send.split(), "--dirty-sync", "often"]), contenders[1])
                found = interleave({one.name: lambda one=one, mb=work_mb: convergence(args, one, mb) for one in pair}, args.runs)
                report(args, "vm", f"{work_mb} MiB", found, ours.name, contenders[1].name, {"convergence_rate": ("pages/s", "higher")})


def main():
    options = parser(__doc__)
    options.add_argument("--quick", action="store_true", help="a stopped guest of 1 GiB instead of 4")
    options.add_argument("--convergence", action="store_true")
    options.add_argument("--working-sets", nargs="+", type=int, default=WORKING_SETS, metavar="MIB", help="for that, such as 320")
    options.add_argument("--cases", nargs="+", default=["stopped", *RATES], help="of stopped, cold (the destination's "
                         "memory does not exist before), idle, dirty")
    options.add_argument("--small-pages", action="store_true", help="guests have pages of 4 KiB")
    options.add_argument("--channels", nargs="+", type=int, default=[1, 2, 4, 8], help="of QEMU's multifd, that are tried")
    options.add_argument("--no-feed", dest="feed", action="store_false", help="the source QEMU without libwatari-feed.so")
    options.add_argument("--send", default="", metavar="OPTIONS", help="for watari send, such as --send='--channels 2'")
    args = options.parse_args()
    try:
        measure(args)
    finally:
        Host.close_all()


if __name__ == "__main__":
    sys.exit(main())
