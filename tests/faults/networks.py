# SPDX-License-Identifier: BSD-3-Clause
"""networks.py - the network between two hosts fails in some way from a step of the migration on, for a while or for good.

What must hold is what migrations.py says; a guest that could not get across runs where it was.
"""

import os
import time

from harness.hosts import Failure, Host, wait_for
from harness.migration import events, install_key, watari

from cable import Cable, Policy
from migrations import DEADLINE_S, Plain, end_receiver, ended, outcome, port_of
from tiny import Tiny

WHILE_S = 1.5
STATES = {"send": ("streaming", "stopped", "committing", "delivering"), "receive": ("receiving", "verifying", "loading", "ready", "starting")}
# name: (policy, for how long; None: until the end)
WAYS = {
    "cut for 1.5 s": (Policy(cut=True), WHILE_S), "cut for good": (Policy(cut=True), None),
    "200 ms late": (Policy(delay=0.1), None), "up to 50 ms out of order": (Policy(delay=0.005, jitter=0.05), None),
    "1 of 20 lost": (Policy(loss=0.05), None), "1 of 5 twice": (Policy(twice=0.2), None),
    "1 of 50 damaged": (Policy(damage=0.02), None), "1 MB/s": (Policy(rate=1e6), None),
    "all of it": (Policy(delay=0.02, jitter=0.03, loss=0.02, twice=0.05, damage=0.01, rate=4e6), None),
}


class Networks(Plain):
    def __init__(self, world):
        super().__init__(world)
        self.cable = Cable(int(os.environ.get("WATARI_SEED", "1")))
        self.cable.make()
        close = world.close

        def close_all():
            close()
            for host in self.cable.hosts:
                host.close()
                Host.opened.remove(host)
            self.cable.unmake()
        world.close = close_all

    def points(self):
        """[(component, kind, name, what)]"""
        return [("network", "cut" if "cut" in way else "slow" if "MB/s" in way or "late" in way else "lossy",
                 f"from {relay}:{state} on: {way}", (relay, state, way))
                for relay, states in STATES.items() for state in states for way in WAYS]

    def run(self, what):
        relay, state, way = what
        policy, seconds = WAYS[way]
        a, b = self.cable.hosts
        if self.world.guest and self.world.guest.host is b:
            a, b = b, a
        for host in (a, b):
            host.guest_dir = self.world.host.guest_dir
        source = self.world.guest or Tiny(a, self.world.rom)
        destination = Tiny(b, self.world.rom, incoming=True)
        source.ready()
        destination.ready()
        before = wait_for(source.last, "the guest's first round")
        self.cable.policy = Policy()
        try:
            sender, receiver = self.begin_on(a, b, source, destination)
            held = sender if relay == "send" else receiver
            wait_for(lambda: any(e.get("state") == state for e in events(held)) or not held.running(), f"{relay} at {state}")
            self.cable.policy = policy
            began = time.monotonic()
            if seconds:
                wait_for(lambda: time.monotonic() - began > seconds or not sender.running(), "the cut's end", 10)
                self.cable.policy = Policy()
            ended(sender, "watari send")
            end_receiver(receiver)
        except Failure:
            for host in (a, b):
                host.end_processes()
            raise
        finally:
            self.cable.policy = Policy()
        left, said = self.after(source, destination, sender, receiver, before)
        for process, host in ((sender, a), (receiver, b)):
            host.processes.remove(process)
        return outcome(left, said)

    def begin_on(self, a, b, source, destination):
        if not hasattr(self, "keys"):
            self.keys = dict(zip((a.name, b.name), install_key([a, b])))
        common = ["--json", "--reconnect-timeout", "4s"]
        receiver = b.start([watari(), "receive", "--qmp", destination.qmp, *common, "--psk", self.keys[b.name], f"{b.address}:0/vm"],
                           "receive")
        wait_for(lambda: port_of(receiver) or not receiver.running(), "watari receive to listen", DEADLINE_S)
        sender = a.start([watari(), "send", "--qmp", source.qmp, *common, *self.send_options, "--psk", self.keys[a.name],
                          f"{b.address}:{port_of(receiver)}/vm"], "send")
        return sender, receiver
