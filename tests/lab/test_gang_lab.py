#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_gang_lab.py CASE... - two guests, each with a passed-through NIC (VFIO) that carries soft-RoCE, move together from two
lab hosts to two others. The coordinator runs on the machine itself, and reaches the hosts through `scripts/lab exec`, as through
ssh. One guest on each host: kernels of two that run under KVM in one emulated host crash, or stand still, before they are up.

  moves    all let go, all move, all take back; each guest holds a verbs context before and after
  killed   the coordinator is killed when both are held, and when the first one has been told to move; resumed
"""

import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import alive, expect, main, need_sabotage  # noqa: E402
from harness.devices import DeviceGuest, agent_socket, build_devices_guest, has, with_device, write_map  # noqa: E402
from harness.gang import Gang, states, summary  # noqa: E402
from harness.hosts import Host, lab, wait_for  # noqa: E402
from harness.migration import install_key  # noqa: E402

PATIENT = {"detach": 60000, "unplug": 60000, "plug": 90000, "attach": 90000, "prepare": 60000}


class LabMember:
    """One guest of the gang: its QEMU on the first of its hosts, and the one that waits on the second."""

    def __init__(self, number, hosts, image, keys):
        self.hosts = a, b = hosts
        self.name = f"vm{number}"
        maps = [write_map(host, {"a": has(a), "b": has(b)}, PATIENT, name=f"{self.name}.json") for host in hosts]
        self.source = DeviceGuest(a, image, devices=with_device(a), hook="release", append=f"wt.hold wt.ip=10.99.{number}.1/24")

        def end(host, key, path, name):
            return {"prefix": host.prefix, "psk": key, "devices": path,
                    "device_host": name}

        self.plan = {"from": {**end(a, keys[0], maps[0], "a"), "qmp": self.source.qmp, "agent": agent_socket(self.source),
                              "options": ["--switchover-timeout", "20s", "--verify"]},
                     "to": {**end(b, keys[1], maps[1], "b"), "address": f"{b.address}:4711"}}
        self.replace_destination(image)

    def replace_destination(self, image):
        self.destination = DeviceGuest(self.hosts[1], image, incoming=True, hook="release")
        self.plan["to"].update(qmp=self.destination.qmp, agent=agent_socket(self.destination))

    def ready(self):
        self.source.wait_agent()
        wait_for(lambda: "HOLD eth" in self.source.console() or "HOLD FAIL" in self.source.console(), "a verbs context", 120)
        expect("HOLD FAIL" not in self.source.console(), self.source.console()[-500:])

    def moved(self):
        self.source.ended(60)
        expect(self.destination.devices().get("ib0") == "vfio-pci", f"{self.name} has no device: {self.destination.devices()}")
        wait_for(lambda: "HOLD eth" in self.destination.console(), "a verbs context again", 120)
        self.destination.wait_round()

    def stayed(self):
        expect(self.destination.status() in (None, "inmigrate"), f"{self.name} is {self.destination.status()} at its destination")
        wait_for(lambda: self.source.devices().get("ib0") == "vfio-pci", f"the device of {self.name}", 120)
        wait_for(lambda: self.source.console().count("HOLD eth") == 2, "a verbs context again", 120)
        self.source.wait_round()


@contextlib.contextmanager
def two_guests(image):
    with lab(4, mem="1024M", options=["--vfio-nic"]) as hosts:
        keys, members = install_key(hosts), []
        for number in range(2):
            pair = slice(2 * number, 2 * number + 2)
            members.append(LabMember(number, hosts[pair], image, keys[pair]))
            members[-1].ready()
        yield members


def in_step(gang):
    """Nobody moves before both are held, and nobody has its device before both have moved."""
    kinds = [step for step, _ in gang.steps() if step in ("send", "move", "forward", "back")]
    expect(sorted(kinds[:2]) == ["send", "send"] and kinds[-2:] == ["back", "back"] and kinds.count("move") == 2, f"{gang.steps()}")
    for member in gang.members:
        seen = [e for e in gang.output(member, "receive") if e["event"] in ("held", "device")]
        at = next(i for i, e in enumerate(seen) if e["event"] == "held")
        expect(all(e["step"] != "plug" for e in seen[:at] if e["event"] == "device"), f"plugged in before it was told: {seen}")


def told(process):
    for name, vm in summary(process)["vms"].items():
        print(f"  {name}: {vm['state']}, down {vm['downtime_ms']} ms, without its device {vm['device_outage_ms']} ms {vm['text']}",
              flush=True)


def case_moves(image):
    with two_guests(image) as members:
        gang = Gang(Host("coordinator"), members, hold_s=300)
        code, process = gang.run(timeout_s=300)
        expect(code == 0 and states(process) == {"vm0": "done", "vm1": "done"}, f"{code} {process.tail()}")
        told(process)
        in_step(gang)
        for member in members:
            member.moved()


def case_killed(image):
    need_sabotage()
    with two_guests(image) as members:
        for name, point, wanted in (("held", {"WATARI_DIE_BEFORE": "gang.move.vm0"}, "undone"),
                                    ("moving", {"WATARI_DIE_AFTER": "gang.move.vm0"}, "moved")):
            gang = Gang(Host("coordinator"), members, name=name, hold_s=300)
            code, process = gang.run(env=point, timeout_s=300)
            expect(code == -signal.SIGKILL, f"not killed: {code} {process.tail()}")
            code, process = gang.run("--resume", timeout_s=300)
            expect(summary(process)["result"] == wanted, f"{code} {process.tail()}")
            told(process)
            for member in members:
                member.moved() if wanted == "moved" else member.stayed()
                if not alive(member.destination):
                    member.replace_destination(image)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True, image=build_devices_guest))
