# SPDX-License-Identifier: BSD-3-Clause
"""devices.py - the RDMA port goes down, or the device goes away, at a step of a migration over verbs, for a while or for good.

Inside of a lab host, whose device is rxe0 upon fab0; both ends use it. A device that is taken away is gone when all have let go of it; until
then librdmacm has told them to. What must hold is what migrations.py says. Afterwards the device is there again.
"""

import signal
import subprocess
import time

from harness.cases import has_sabotage
from harness.hosts import Failure, wait_for
from harness.migration import events

from migrations import Verbs, end_receiver, ended, outcome
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
        component = "sender" if relay == "send" else "receiver"
        sender, receiver = self.begin(source, destination, {component: {"WATARI_STOP_BEFORE": state}})
        held = sender if relay == "send" else receiver
        try:
            wait_for(lambda: any(e.get("state") == state for e in events(held)) or not held.running(), f"{relay} at {state}")
            going = subprocess.Popen(["sh", "-c", command])
            time.sleep(0.2)
            held.signal(signal.SIGCONT)
            if seconds:
                time.sleep(seconds)
                if going.poll() is not None:
                    mend()
            ended(sender, "watari send")
            end_receiver(receiver)
            wait_for(lambda: going.poll() is not None, f"{way}: it was not let go", 30)
        finally:
            for process in (sender, receiver):
                if process.running():
                    process.kill()
            mend()
        left, said = self.after(source, destination, sender, receiver, before)
        for process in (sender, receiver):
            self.world.host.processes.remove(process)
        return outcome(left, said)
