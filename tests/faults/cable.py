# SPDX-License-Identifier: BSD-3-Clause
"""cable.py - a cable in user space between two network namespaces: packets are lost, late, doubled, damaged, out of order, or slow.

Each end is a tun device; one thread carries packets between them, as its policy says. Slower than a kernel, so for small guests.
"""

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time

from harness.hosts import Host
from harness.network import ip

TUNSETIFF, TUN_NO_PI = 0x400454CA, (0x0001 | 0x1000)
CLONE_NEWNET = 0x40000000
MTU = 9000


class Policy:
    """What a cable does to packets. Times in seconds, the others as a share of 1; rate in bytes a second, 0: any."""

    def __init__(self, delay=0.0, jitter=0.0, loss=0.0, twice=0.0, damage=0.0, rate=0, cut=False):
        self.delay, self.jitter, self.loss, self.twice, self.damage = delay, jitter, loss, twice, damage
        self.rate, self.cut = rate, cut


def open_tun(namespace, name):
    """The descriptor of a tun device in a namespace; the calling thread is in it for a moment."""
    with open("/proc/thread-self/ns/net", "rb") as before, open(f"/run/netns/{namespace}", "rb") as there:
        setns(there.fileno())
        try:
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), TUN_NO_PI))
        finally:
            setns(before.fileno())
    return tun


def setns(fd):
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Cable:
    """Two hosts and what joins them. policy may be changed at any time."""

    def __init__(self, seed):
        tag = f"wtc{os.getpid() % 10000}"
        self.names = [f"{tag}a", f"{tag}b"]
        self.hosts = []
        self.policy = Policy()
        self.random = random.Random(seed)
        self.tuns, self.waiting, self.number, self.ends = [], [], itertools.count(), False
        self.free = [0.0, 0.0]  # when each direction has sent what it has
        self.lost = 0

    def make(self):
        for i, name in enumerate(self.names):
            ip("netns", "add", name)
            self.tuns.append(open_tun(name, "cable"))
            for words in (["address", "add", f"10.98.0.{i + 1}/24", "dev", "cable"], ["link", "set", "cable", "mtu", str(MTU), "up"],
                          ["link", "set", "lo", "up"]):
                ip("-n", name, *words)
            self.hosts.append(Host(name, f"10.98.0.{i + 1}", name))
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def unmake(self):
        self.ends = True
        self.thread.join()
        for tun in self.tuns:
            os.close(tun)
        for name in self.names:
            ip("netns", "del", name)

    def take(self, end):
        while True:
            try:
                packet = os.read(self.tuns[end], 65536)
            except BlockingIOError:
                return
            policy, now = self.policy, time.monotonic()
            if policy.cut or self.random.random() < policy.loss:
                self.lost += 1
                continue
            if self.random.random() < policy.damage:
                at = self.random.randrange(len(packet))
                packet = packet[:at] + bytes([packet[at] ^ 1 << self.random.randrange(8)]) + packet[at + 1:]
            begins = max(now, self.free[end])
            if policy.rate:
                if begins > now + 0.2:  # its queue is full
                    self.lost += 1
                    continue
                self.free[end] = begins + len(packet) / policy.rate
            for _ in range(2 if self.random.random() < policy.twice else 1):
                due = begins + policy.delay + self.random.random() * policy.jitter
                heapq.heappush(self.waiting, (due, next(self.number), 1 - end, packet))

    def carry(self):
        while not self.ends:
            wait = max(0.0, min(0.05, self.waiting[0][0] - time.monotonic())) if self.waiting else 0.05
            ready, _, _ = select.select(self.tuns, [], [], wait)
            for end in range(2):
                if self.tuns[end] in ready:
                    self.take(end)
            while self.waiting and self.waiting[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(self.waiting)
                with contextlib.suppress(BlockingIOError, OSError):
                    os.write(self.tuns[end], packet)
