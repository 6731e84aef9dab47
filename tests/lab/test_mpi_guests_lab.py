#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_guests_lab.py CASE... - an Open MPI job in two guests (KVM) of two lab hosts. Each guest has a virtio NIC, and at home the
host's spare NIC passed through, which carries soft-RoCE. The coordinator runs on the machine itself, has no network to the guests,
and reaches the hosts through `scripts/lab exec`, as through ssh. For a machine that does nothing else.

  moves       the two change places, where neither has a device, and the job goes on over tcp; then they go home, and it goes on over
              verbs. WATARI_ROUNDS times (default 3); the job never notices
  checkpoint  saved while it runs over verbs; all QEMUs are killed; it runs again, each guest on the other host, over tcp
"""

import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import alive, expect, main  # noqa: E402
from harness.devices import has, with_device, write_map  # noqa: E402
from harness.gang import Gang  # noqa: E402
from harness.hosts import Host, lab, wait_for  # noqa: E402
from harness.migration import events, install_key, watari  # noqa: E402
from harness.mpi import COORDINATOR  # noqa: E402
from harness.mpi_guests import GuestJob, MpiGuest, build_mpi_guest, hosts_of_job  # noqa: E402

PATIENT = {"detach": 60000, "unplug": 60000, "plug": 120000, "attach": 120000, "prepare": 60000}
BRIDGE = """ip link add br0 type bridge && ip address flush dev eth0 && ip link set eth0 master br0 && ip link set br0 up &&
for tap in tap0 tap1; do ip tuntap add $tap mode tap && ip link set $tap master br0 up || exit 1; done"""


class Cluster:
    """The job, and its guests: number i is at home on host i, with a device, or away on the other one, without."""

    def __init__(self, hosts, image):
        self.hosts, self.image, self.count = hosts, image, 0
        self.coordinator = Host("coordinator")
        for host in hosts:
            code, text = host.call(["sh", "-c", BRIDGE])
            expect(code == 0, f"no bridge on {host.name}: {text}")
        self.keys = install_key(hosts)
        self.maps = [[write_map(host, {"home": has(home), "away": {"none": True}}, PATIENT, name=f"vm{number}.json") for host in hosts]
                     for number, home in enumerate(hosts)]
        self.at = [0, 1]
        guests = [self.guest(number, devices=with_device(host), hosts="" if number else hosts_of_job()) for number, host in enumerate(hosts)]
        self.job = GuestJob(self.coordinator, guests)
        for guest in guests:
            wait_for(guest.reports, "the guest's first report", 240)
        self.talks()

    def guest(self, number, host=None, devices=(), **more):
        nic = ("-netdev", f"tap,id=net,ifname=tap{number},script=no,downscript=no",
               "-device", f"virtio-net-pci,netdev=net,romfile=,addr=0x12,mac=52:54:00:00:01:{number:02x}")
        return MpiGuest(self.hosts[number] if host is None else self.hosts[host], self.image, number, (*nic, *devices), mb=384,
                        append=f"wt.fabric=10.99.0.{number + 1}/24", **more)

    def at_home(self):
        return self.at == [0, 1]

    def talks(self):
        """The job runs over what there is, and sends; the guests have what they should, and their memory is right."""
        self.job.wait_talks("verbs" if self.at_home() else "tcp", 240)
        for guest in self.job.guests:
            expect(guest.devices().get("ib0") == ("vfio-pci" if self.at_home() else None), f"{guest.name} has {guest.devices()}")
            if self.at_home():
                before = int(guest.told("packets"))
                wait_for(lambda guest=guest, before=before: int(guest.told("packets")) > before + 50, "packets of soft-RoCE", 120)
            guest.wait_reports(2)
            guest.check()

    def plan(self, there=None):
        """From where the guests are; there: the QEMUs that wait, each on the host where its guest is not."""
        self.count += 1
        vms = {}
        for number, guest in enumerate(self.job.guests):
            ends = []
            for index, qemu in ((self.at[number], guest), (1 - self.at[number], there[number] if there else None)):
                host = self.hosts[index]
                ends.append({"prefix": host.prefix_with_input,
                             "psk": self.keys[index], "devices": self.maps[number][index], "device_host": "home" if index == number else "away",
                             "qmp": qemu.qmp if qemu else "/nowhere.qmp", "agent": f"{qemu.qmp}.agent" if qemu else "/nowhere.agent"})
            ends[1]["address"] = f"{self.hosts[1 - self.at[number]].address}:{4711 + number}"
            ends[0]["options"] = ["--switchover-timeout", "30s"]
            vms[f"vm{number}"] = {"from": ends[0], "to": ends[1]}
        return Gang(self.coordinator, [], name=f"plan{self.count}", hold_s=300, vms=vms)

    def others(self):
        return [self.guest(number, 1 - at, incoming=True) for number, at in enumerate(self.at)]

    def run(self, *words):
        """The events of a command that does what it should."""
        process = self.coordinator.start([COORDINATOR, *words, "--json", "--timeout", "180", "--watari", watari()], words[0])
        code = process.wait(600)
        expect(code == 0, f"{words[0]}: {code}: {process.tail(16)}")
        return events(process)

    def arrived(self, there):
        self.job.guests[:] = there
        self.at = [1 - at for at in self.at]
        self.talks()


@contextlib.contextmanager
def cluster(image):
    with lab(2, mem="2G", options=["--vfio-nic"]) as hosts:
        yield Cluster(hosts, image)


def case_moves(image):
    with cluster(image) as both:
        for _ in range(2 * int(os.environ.get("WATARI_ROUNDS", "3"))):
            there, gone = both.others(), list(both.job.guests)
            told = next(e for e in both.run("migrate", both.plan(there).path, "job") if e["event"] == "migrated")
            expect(told["result"] == "moved", f"{told}")
            for guest in gone:
                guest.ended(60)
            both.arrived(there)
            print(f"  over {'verbs' if both.at_home() else 'tcp'}; the ranks stood for {told['stood_ms'] / 1000:.1f} s", flush=True)
        print(f"  {both.job.end(300)}", flush=True)


def case_checkpoint(image):
    with cluster(image) as both:
        folder = f"{os.path.dirname(both.hosts[0].out_dir)}/saved"
        saved = next(e for e in both.run("checkpoint", both.plan().path, "job", folder) if e["event"] == "checkpoint")
        expect(saved["result"] == "saved", f"{saved}")
        both.talks()
        print(f"  saved; the ranks stood for {saved['stood_ms'] / 1000:.1f} s", flush=True)
        for guest in both.job.guests:
            guest.host.call(["sh", "-c", f"kill -9 $(cat {guest.pid_file})"])
            wait_for(lambda guest=guest: not alive(guest), "the end of a killed QEMU")
        there = both.others()
        told = next(e for e in both.run("restart", both.plan(there).path, folder) if e["event"] == "restart")
        expect(told["result"] == "restarted", f"{told}")
        both.arrived(there)
        print(f"  restarted over tcp; {both.job.end(300)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True, image=build_mpi_guest))
