# SPDX-License-Identifier: BSD-3-Clause
"""devices.py - the RDMA port goes down, or the device goes away, at a step of a migration over verbs, for a while or for good.

Inside of a lab host, whose device is rxe0 upon fab0; both ends use it. What must hold is what migrations.py says. Afterwards the device is
there again, and the next migration finds it.
"""

import signal
import subprocess
import time

from harness.cases import has_sabotage
from harness.hosts import Failure, wait_for
from harness.migration import events

from migrations import DEADLINE_S, Verbs, end_receiver, ended, port_of
from networks import STATES

WHILE_S = 1.5
HERE = ["ip link set fab0 up", "rdma link show rxe0/1 || rdma link add rxe0 type rxe netdev fab0"]
GONE = {"port down": "ip link set fab0 down", "device gone": "rdma link delete rxe0"}
WAYS = {f"{what}{how}": (command, seconds) for what, command in GONE.items() for how, seconds in ((f" for {WHILE_S} s", WHILE_S), ("", None))}


def mend():
    for command in HERE:
        subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)


class Devices(Verbs):
    def __init__(self, world):
        super().__init__(world)
        if not has_sabotage():
            raise Failure("needs a build with -DWATARI_SABOTAGE=ON")

    def points(self):
        """[(component, kind, name, what)]"""
        return [("RDMA device", way.split(" for ")[0], f"{way} at {relay}:{state}", (relay, state, way))
                for relay, states in STATES.items() for state in states for way in WAYS]

    def run(self, what):
        relay, state, way = what
        command, seconds = WAYS[way]
        source, destination = self.world.pair()
        before = source.last()
        stop = {"WATARI_STOP_BEFORE": state}
        receiver = self.relay("receive", destination.qmp, self.receive_options, f"{self.address}:0/vm",
                              stop if relay == "receive" else None)
        wait_for(lambda: port_of(receiver) or not receiver.running(), "watari receive to listen", DEADLINE_S)
        sender = self.relay("send", source.qmp, self.send_options, f"{self.address}:{port_of(receiver)}/vm",
                            stop if relay == "send" else None)
        held = sender if relay == "send" else receiver
        try:
            wait_for(lambda: any(e.get("state") == state for e in events(held)) or not held.running(), f"{relay} at {state}")
            subprocess.run(["sh", "-c", command], check=True)
            held.signal(signal.SIGCONT)
            if seconds:
                time.sleep(seconds)
                mend()
            ended(sender, "watari send")
            end_receiver(receiver)
        finally:
            mend()
        left, said = self.after(source, destination, sender, receiver, before)
        for process in (sender, receiver):
            self.world.host.processes.remove(process)
        if any(word.startswith("recover: ") for word in said):
            return "recovered", [f"left is the {left}", *said]
        return ("survived" if left == "destination" else "refused"), said
