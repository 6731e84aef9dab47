# SPDX-License-Identifier: BSD-3-Clause
"""steps.py - a process dies, or stands still, at each step of a migration: the relays and both QEMUs, before and after a relay does
what a state wants (integration/test_faults.py says what must hold, and judges).

Also with the network cut at each step, for good or until a relay has noticed, and the guests on two hosts.
"""

import os
import signal
import sys
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

import test_faults  # noqa: E402
from harness.cases import has_sabotage  # noqa: E402
from harness.hosts import Failure, wait_for  # noqa: E402
from harness.migration import Migration, events  # noqa: E402

from migrations import judged  # noqa: E402

STILL_S = 7  # longer than any patience of a relay here
PATIENCE = ["--reconnect-timeout", "2s"]
OPTIONS = {"disk": False, "paused": False}
STILLS = [(victim, relay, "STILL", state) for relay, state in test_faults.HOLDS for victim in (relay, "source", "destination")
          if state != "done" or victim == relay]
KINDS = {"DIES": "killed", "STILL": "stopped", "network": "cut"}


def stand_still(attempt, source, destination, cell):
    """A process stops (SIGSTOP) for longer than anybody waits, and goes on."""
    victim, relay, _, state = cell
    held = attempt.sender if relay == "send" else attempt.receiver
    wait_for(lambda: any(e.get("state") == state for e in events(held)) or not held.running(), f"{relay} at {state}: {held.tail()}")
    guest = {"source": source, "destination": destination}.get(victim)
    if guest:
        guest.process.signal(signal.SIGSTOP)
        held.signal(signal.SIGCONT)
    until = time.monotonic() + STILL_S
    while time.monotonic() < until and (attempt.sender.running() or attempt.receiver.running()):
        time.sleep(0.05)
    (guest.process if guest else held).signal(signal.SIGCONT)
    try:
        wait_for(lambda: not attempt.sender.running() and not attempt.receiver.running(), "the end of both relays", 60)
    except Failure as failure:
        raise Failure(f"{failure}; send: {attempt.sender.tail()}; receive: {attempt.receiver.tail()}") from None


class Steps:
    components = ("sender", "receiver", "source QEMU", "destination QEMU")

    def __init__(self, world):
        self.world = world
        if not has_sabotage():
            raise Failure("needs a build with -DWATARI_SABOTAGE=ON")

    def points(self):
        """[(component, kind, name, cell)]"""
        who = {"send": "sender", "receive": "receiver", "source": "source QEMU", "destination": "destination QEMU"}
        cells = test_faults.DEATHS + STILLS
        return [(who[cell[0]], "stopped" if cell[2] == "STILL" else "killed", self.name(cell), cell) for cell in cells]

    @staticmethod
    def name(cell):
        victim, relay, when, state = cell
        what = {"STILL": "SIGSTOP before", "BEFORE": "SIGKILL before", "AFTER": "SIGKILL after"}[when]
        return f"{'its process' if victim == relay else victim}: {what} {relay}:{state}"

    def run(self, cell):
        """(result, what was said)"""
        world, (victim, relay, when, state) = self.world, cell
        source, destination = world.pair()
        past = source.last()
        still = when == "STILL"
        how = "DIE" if victim == relay and not still else "STOP"
        env = {f"WATARI_{how}_{'BEFORE' if still else when}": state}
        attempt = Migration(source, destination, send=[*PATIENCE, "--verify"], receive=PATIENCE,
                            **{"env" if relay == "send" else "receive_env": env})
        try:
            if still:
                stand_still(attempt, source, destination, cell)
            else:
                test_faults.strike(world, attempt, source, destination, cell)
            return self.judge(source, destination, attempt, cell, past)
        finally:
            for process in (attempt.sender, attempt.receiver):
                world.host.processes.remove(process)

    def judge(self, source, destination, attempt, cell, past):
        relays = {"send": attempt.sender, "receive": attempt.receiver}
        for name, process in relays.items():
            if name != cell[0] or cell[2] == "STILL":
                judged(process, name)
        codes = [process.child.returncode for process in relays.values()]
        committed = any(e.get("state") == "starting" for e in events(attempt.receiver))
        left, said = test_faults.after(source, destination, committed, codes, cell, "plain",
                                       stays=attempt.sender.find("has not ended yet"))
        self.world.guest = left
        if left:
            wait_for(lambda: left.status() == "running", "the guest that is left to run", 10)
            left.fine(past)
            test_faults.running(*[guest for guest in (source, destination) if guest.alive()])
        for guest in (source, destination):
            if guest is not left:
                guest.end()
                guest.host.processes.remove(guest.process)
        if not left:
            return "lost as promised", [said]
        word = "the source" if left is source else "the destination"
        return ("survived" if said == "nothing to recover" else "recovered"), [f"left is {word}", f"exit codes {codes}", said]
