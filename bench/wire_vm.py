# SPDX-License-Identifier: BSD-3-Clause
"""wire_vm.py - a whole stopped guest full of random bytes over verbs: watari, QEMU's own `rdma:`, and perftest beside them.

All contenders move the same guest between the same two lab hosts. A rate is the guest's RAM over the total time, which is
QEMU's `total-time` and watari's `total_ms`: both count from when the source's QEMU begins. `wall` is what a person waits,
from the command to the end of it (with QEMU: until both ends have completed). After each move the memory of both ends is
compared.
"""

import itertools
import os
import sys
import time

from harness.guests import Guest
from harness.hosts import ROOT, Failure, wait_for
from harness.migration import FEED, Migration, install_key

HARNESS = os.path.join(ROOT, "tests", "harness")
PYTHON = "/usr/bin/python3"
FAST = 1 << 40  # bytes per second: no limit of QEMU's own
MIB = 1 << 20
PATIENCE_S = 240


def need(guest, command, arguments):
    code, text = guest.call(command, arguments)
    if code:
        raise Failure(f"{command}: {text}")


def ram_file(guest, what):
    code, text = guest.host.call([PYTHON, os.path.join(HARNESS, "ram_file.py"), guest.pid_file, what], PATIENCE_S)
    if code:
        raise Failure(f"{what} {guest.name}: {text}")
    return text


class Pair:
    """A stopped guest full of random bytes, and the QEMU that awaits it. prealloc: the destination's memory is there."""

    def __init__(self, hosts, image, mb, env=None, prealloc=False):
        self.hosts, self.mb = hosts, mb
        self.source = Guest(hosts[0], image, mb=mb, extra=["-S"], env=env)
        self.destination = Guest(hosts[1], image, mb=mb, incoming=True, ram_options=",prealloc=on" if prealloc else "")
        ram_file(self.source, "fill")
        self.cpu, self.began = self.cpu_seconds(), time.monotonic()

    def cpu_seconds(self):
        return sum(host.cpu_seconds() for host in self.hosts)

    def figures(self, total_ms):
        """After the move: what was measured. The memory is compared only then."""
        gib = self.mb / 1024
        found = {"rate": self.mb / (total_ms / 1000), "cpu": (self.cpu_seconds() - self.cpu) / gib,
                 "wall": time.monotonic() - self.began}
        if ram_file(self.source, "digest") != ram_file(self.destination, "digest"):
            raise Failure("the destination's memory is not the source's")
        return found

    def end(self):
        for guest in (self.source, self.destination):
            guest.quit()


class Watari:
    def __init__(self, hosts, image, mb, feed=True, send=()):
        self.hosts, self.image, self.mb, self.feed, self.send = hosts, image, mb, feed, list(send)
        self.keys = install_key(hosts)
        self.name = " ".join(["watari", *([] if feed else ["without feed"]), *self.send])

    def run(self):
        pair = Pair(self.hosts, self.image, self.mb, env=FEED if self.feed else None)
        move = Migration(pair.source, pair.destination, keys=self.keys,
                         send=["--keep-source", "--fabric", "verbs", "--switchover-timeout", "60s", *self.send])
        move.finish(PATIENCE_S)
        summary = move.succeed()
        found = pair.figures(summary["total_ms"])
        if summary["feed"] != self.feed or summary["fabric"] != "verbs" or summary["destination"]["tcp_bytes"]:
            raise Failure(f"it did not move as wanted: {summary}")
        pair.end()
        return found


class Qemu:
    """QEMU's own migration over RDMA."""
    ports = itertools.count(17000)

    def __init__(self, hosts, image, mb, pin_all):
        self.hosts, self.image, self.mb, self.pin_all = hosts, image, mb, pin_all
        self.name = f"qemu rdma:, pin-all {'on' if pin_all else 'off'}"

    def prepare(self, pair):
        wanted = [{"capability": "events", "state": True}, {"capability": "rdma-pin-all", "state": self.pin_all}]
        for guest in (pair.source, pair.destination):
            need(guest, "migrate-set-capabilities", {"capabilities": wanted})
            need(guest, "migrate-set-parameters", {"max-bandwidth": FAST})
        waiting = [guest.host.start([PYTHON, os.path.join(HARNESS, "qmp_wait.py"), guest.qmp, str(PATIENCE_S)], "its end")
                   for guest in (pair.source, pair.destination)]
        for process in waiting:
            wait_for(lambda: process.find("waits") or not process.running(), "QEMU's events")
        return waiting

    def run(self):
        pair = Pair(self.hosts, self.image, self.mb)
        uri = {"uri": f"rdma:{self.hosts[1].address}:{next(self.ports)}"}
        ends = self.prepare(pair)
        need(pair.destination, "migrate-incoming", uri)
        pair.cpu, pair.began = pair.cpu_seconds(), time.monotonic()
        need(pair.source, "migrate", uri)
        for end in ends:
            end.wait(PATIENCE_S)
        told = pair.source.call("query-migrate")[1]
        if not all(end.find("completed") for end in ends):
            raise Failure(f"QEMU's migration over RDMA: {told}, {[end.tail() for end in ends]}")
        found = pair.figures(told["total-time"])
        pair.end()
        return found


def say(name, found):
    print(f"wire: vm: {name}: " + ", ".join(f"{what} {value:.4g}" for what, value in found.items()), file=sys.stderr, flush=True)
    return found
