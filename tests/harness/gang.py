# SPDX-License-Identifier: BSD-3-Clause
"""gang.py - several guests that move together: their sources and destinations, the plan, and `watari gang`."""

import json
import os
import socket

from .cases import expect, still_fine
from .devices import DeviceGuest, NETWORK, agent_socket, emulated, nic, write_map
from .hosts import wait_for
from .migration import events, watari

QUICK = {"detach": 3000, "unplug": 3000, "recall": 500, "attach": 20000, "prepare": 5000}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Member:
    """One guest of a gang, with its source, its destination, and what the plan says of both."""

    def __init__(self, host, image, name, *, hook="ok"):
        self.host, self.name = host, name
        self.source = DeviceGuest(host, image, devices=nic(), hook=hook)
        self.destination = None
        path = write_map(host, {"a": emulated(), "b": emulated()}, QUICK, name=f"{name}.json")
        end = {"insecure": True, "devices": path}
        self.plan = {"from": {**end, "qmp": self.source.qmp, "device_host": "a", "agent": agent_socket(self.source)},
                     "to": {**end, "device_host": "b", "address": f"127.0.0.1:{free_port()}"}}
        self.replace_destination(image)

    def replace_destination(self, image):
        self.destination = DeviceGuest(self.host, image, devices=NETWORK, incoming=True)
        self.plan["to"].update(qmp=self.destination.qmp, agent=agent_socket(self.destination))

    def moved(self):
        """It runs at the destination, with its device, its memory right; the source has ended."""
        self.source.ended()
        still_fine(self.destination)
        expect(self.destination.devices().get("ib0") == "e1000e", f"{self.name} has no device: {self.destination.devices()}")

    def stayed(self):
        """It runs at the source, with its device, its memory right; nothing of it runs at the destination."""
        still_fine(self.source)
        wait_for(lambda: self.source.devices().get("ib0") == "e1000e", f"the device of {self.name}")
        expect(self.destination.status() in (None, "inmigrate"), f"{self.name} is {self.destination.status()} there, too")


class Gang:
    """`watari gang` for some members."""

    def __init__(self, host, members, *, name="gang", **plan):
        self.host, self.members = host, members
        self.path = f"{host.run_dir}/{name}.plan"
        self.journal = f"{self.path}.journal"
        self.write({"version": 1, "hold_s": 60, "watari": watari(), "vms": {m.name: m.plan for m in members}, **plan})

    def write(self, plan):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(plan if isinstance(plan, str) else json.dumps(plan))

    def start(self, *words, env=None):
        return self.host.start([watari(), "gang", self.path, "--json", *words], "gang", env=env)

    def run(self, *words, env=None, timeout_s=120):
        """(exit code, its process)"""
        process = self.start(*words, env=env)
        return process.wait(timeout_s), process

    def steps(self):
        """(step, guest or None) of the journal, in order"""
        with open(self.journal, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        return [(line["step"], line.get("vm")) for line in lines[1:]]

    def output(self, member, what):
        """The events that a member's relay has printed."""
        path = f"{self.journal}.{member.name}.{what}"
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.startswith("{") and line.endswith("\n")]


def summary(process):
    found = [event for event in events(process) if event["event"] == "summary"]
    expect(found, f"no summary: {process.tail()}")
    return found[-1]


def states(process):
    return {name: vm["state"] for name, vm in summary(process)["vms"].items()}


def stopped(process):
    """The coordinator has stopped itself."""
    def state():
        with open(f"/proc/{process.child.pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    wait_for(lambda: not process.running() or state() == "T", "the coordinator's stop", 90)
    expect(process.running(), f"the coordinator has ended: {process.tail()}")
