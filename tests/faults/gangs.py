# SPDX-License-Identifier: BSD-3-Clause
"""gangs.py - `watari gang` moves two tiny guests, with one fault in the coordinator."""

import os
import signal
import subprocess
import time

from harness.gang import Gang, free_port
from harness.hosts import Failure, wait_for
from harness.migration import watari

from migrations import DEADLINE_S, judged, recovered
from tiny import Tiny

HOLD_S = 4


class Together:
    """What the coordinator could not bring to an end, `--resume` does, or the relays' own deadlines; then as for any migration."""

    components = ("gang coordinator",)
    binary = watari()
    words = {"WORD": "gang"}
    keeps = None

    def __init__(self, world):
        self.world, self.guests, self.number = world, [], 0

    def run(self, env):
        world, host = self.world, self.world.host
        self.guests = [guest for guest in self.guests if guest.alive()]
        self.guests += [Tiny(host, world.rom) for _ in range(2 - len(self.guests))]
        pairs = [(guest, Tiny(host, world.rom, incoming=True)) for guest in self.guests]
        before = []
        for source, destination in pairs:
            source.ready()
            destination.ready()
            before.append(wait_for(source.last, "the guest's first round"))
        self.number += 1
        where = host.run_dir
        host.run_dir = host.guest_dir  # for the plan and the journal
        gang = Gang(host, [], name=f"gang{self.number}", hold_s=HOLD_S, vms={
            f"vm{n}": {"from": {"qmp": source.qmp, "insecure": True, "options": ["--reconnect-timeout", "2s"]},
                       "to": {"qmp": destination.qmp, "insecure": True, "address": f"127.0.0.1:{free_port()}",
                              "options": ["--reconnect-timeout", "2s"]}}
            for n, (source, destination) in enumerate(pairs)})
        host.run_dir = where
        process = gang.start(env=env.get("gang coordinator"))
        wait_for(lambda: not process.running(), f"watari gang hangs: {process.tail()}: its end", DEADLINE_S)
        said = [word for word in [judged(process, "gang")] if word]
        host.processes.remove(process)
        code = process.child.returncode
        if code:
            again = gang.start("--resume")
            wait_for(lambda: not again.running(), f"watari gang --resume hangs: {again.tail()}: its end", DEADLINE_S)
            said += [f"resumed: {word}" for word in [judged(again, "gang --resume")] if word]
            host.processes.remove(again)
        self.end_relays(patient=bool(code))
        return self.after(pairs, before, code, said)

    def relays(self):
        told = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in told.splitlines()
                if f"{watari()} " in line and self.world.host.guest_dir in line and " gang " not in line]

    def end_relays(self, patient):
        """Relays that nobody leads any more end by themselves: one that nobody came to is told so, as by an operator."""
        until = time.monotonic() + (HOLD_S + 12 if patient else 5)
        while self.relays() and time.monotonic() < until:
            time.sleep(0.05)
        for pid in self.relays():
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not self.relays(), "the end of the relays", 15)

    def after(self, pairs, before, code, said):
        self.guests = []
        moved = 0
        for (source, destination), past in zip(pairs, before):
            if destination.status() == "running":
                wait_for(lambda guest=source: not guest.alive(), "the end of the source's QEMU", 15)
            states = [source.status(), destination.status()]
            if states.count("running") != 1:
                if states.count("running") > 1:
                    raise Failure("two guests run")
                said.append(recovered(self.world.host, source, destination))
            left = [guest for guest in (source, destination) if guest.status() == "running"]
            if len(left) != 1:
                raise Failure(f"{len(left)} guests run after recover: {said}")
            left[0].fine(past)
            moved += left[0] is destination
            if code == 0 and left[0] is source:
                raise Failure("gang claims success, and a guest is still here")
            self.guests.append(left[0])
            for guest in (source, destination):
                if guest is not left[0]:
                    guest.end()
                    guest.host.processes.remove(guest.process)
        if 0 < moved < len(pairs):
            raise Failure(f"{moved} of {len(pairs)} guests have moved: {said}")
        return ("destination" if moved else "source"), said
