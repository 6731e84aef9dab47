# SPDX-License-Identifier: BSD-3-Clause
"""daemons.py - both ends of a migration in one `watari daemon`, with one fault in it; then another migration, without.

What must hold is what migrations.py says. Besides, the daemon lives through the fault, the next migration succeeds, and then the
daemon has the descriptors, threads, pinned memory and queue pairs that it has after a migration in which nothing failed: what fails gives
back all that it had.
"""

import json
import os
import signal
import subprocess

from harness.hosts import Failure, wait_for
from harness.migration import events, watari

from migrations import DEADLINE_S, Plain, Verbs, judged


def queue_pairs(pid):
    """How many a process has; 0 where there is no RDMA device."""
    if not os.path.isdir("/sys/class/infiniband"):
        return 0
    told = subprocess.run(["rdma", "-j", "resource", "show", "qp"], check=True, capture_output=True, text=True).stdout
    return sum(found.get("pid") == pid for found in json.loads(told or "[]"))


def has(daemon):
    """(descriptors, threads, pinned KiB, queue pairs)"""
    at = f"/proc/{daemon.child.pid}"
    with open(f"{at}/status", encoding="ascii") as file:
        pinned = next(int(line.split()[1]) for line in file if line.startswith("VmPin:"))
    return len(os.listdir(f"{at}/fd")), len(os.listdir(f"{at}/task")), pinned, queue_pairs(daemon.child.pid)


class Daemon(Plain):
    components = ("daemon",)

    def __init__(self, world):
        super().__init__(world)
        self.usual = None  # what one has after a migration

    def relay(self, verb, qmp, options, target, env):
        return super().relay(verb, qmp, ["--daemon", *options], target, env)

    def run(self, env):
        host = self.world.host
        daemon = host.start([watari(), "daemon", "--json"], "daemon", env=env.get("daemon"))
        try:
            wait_for(lambda: any(e["event"] != "error" for e in events(daemon)) or not daemon.running(), "the daemon", 5)
            left, said = self.in_it(daemon, env.get("daemon"))
            if daemon.running():
                daemon.signal(signal.SIGTERM)
                wait_for(lambda: not daemon.running(), f"the daemon hangs: {daemon.tail()}: its end", DEADLINE_S)
            last = judged(daemon, "the daemon")
            return left, said + [last] * bool(last)
        finally:
            host.processes.remove(daemon)

    def in_it(self, daemon, env):
        if not daemon.running():
            return "source", []
        left, said = super().run({})
        if not daemon.running():
            raise Failure(f"the daemon has ended: {daemon.tail()}: {said}")
        if (env or {}).get("WATARI_FAULT", "").endswith("+"):  # so does the next
            return left, said
        again, told = super().run({})
        if again != "destination" or told:
            raise Failure(f"the next migration: {again}: {told}; before: {said}")
        if not self.usual:
            self.usual = has(daemon)
        wait_for(lambda: has(daemon) == self.usual, f"the daemon's return to {self.usual}, it has {has(daemon)}; {said}: that", 15)
        return left, said


class DaemonVerbs(Daemon, Verbs):
    """Over verbs; inside of a lab host."""
