#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_guests_lab.py CASE... - an Open MPI job in two guests (KVM) of four lab hosts: two with a passed-through NIC each that
carries soft-RoCE, two with Ethernet only. The coordinator is outside of the lab. One guest on each host, as in test_gang_lab.py.

  moves  quiesced over verbs, both guests move to the hosts with Ethernet only, the job goes on over tcp; quiesced again, they go
         back to devices, and the job goes on over verbs. WATARI_ROUNDS times (default 3); the job never notices
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.devices import DeviceMove, has, with_device, write_map  # noqa: E402
from harness.hosts import Host, lab, wait_for  # noqa: E402
from harness.migration import install_key  # noqa: E402
from harness.mpi_guests import GuestJob, MpiGuest, build_mpi_guest, hosts_of_job  # noqa: E402

PATIENT = {"detach": 60000, "unplug": 60000, "plug": 120000, "attach": 120000, "prepare": 60000}
BRIDGE = """ip link add br0 type bridge && ip address flush dev eth0 && ip link set eth0 master br0 && ip link set br0 up &&
ip tuntap add tap0 mode tap && ip link set tap0 master br0 up"""


def guest_at(host, image, number, **more):
    nic = ("-netdev", "tap,id=hub,ifname=tap0,script=no,downscript=no",
           "-device", f"virtio-net-pci,netdev=hub,romfile=,addr=0x12,mac=52:54:00:00:01:{number:02x}")
    return MpiGuest(host, image, number, nic, mb=384, append=f"wt.fabric=10.99.0.{number + 1}/24", **more)


def must_talk(job, fabric):
    job.wait_talks(fabric, 240)
    if fabric == "verbs":
        before = [int(guest.told("packets")) for guest in job.guests]
        wait_for(lambda: all(int(guest.told("packets")) > count + 50 for guest, count in zip(job.guests, before)),
                 "packets of the RDMA devices", 120)


def move(guest, image, here, there):
    """The guest, at its new place. here, there: (host, its name in the map, map, key)"""
    moved = guest_at(there[0], image, guest.number, incoming=True)
    DeviceMove(guest, moved, here[2], there=there[2], names=(here[1], there[1]), keys=[here[3], there[3]],
               send=["--switchover-timeout", "20s"]).succeed(300)
    guest.ended(60)
    return moved


def case_moves(image):
    with lab(4, mem="1152M", options=["--vfio-nic"]) as hosts:
        for host in hosts:
            code, text = host.call(["sh", "-c", BRIDGE])
            expect(code == 0, f"no bridge on {host.name}: {text}")
        keys = install_key(hosts)
        names = ["ib0", "ib1", "eth0", "eth1"]
        places = {name: has(host) if name.startswith("ib") else {"none": True} for name, host in zip(names, hosts)}
        ends = list(zip(hosts, names, [write_map(host, places, PATIENT) for host in hosts], keys))
        job = GuestJob(Host("coordinator"), [guest_at(host, image, i, devices=with_device(host), hosts="" if i else hosts_of_job())
                                             for i, host in enumerate(hosts[:2])])
        for guest in job.guests:
            wait_for(guest.reports, "the guest's first report", 240)
        must_talk(job, "verbs")
        for _ in range(int(os.environ.get("WATARI_ROUNDS", "3"))):
            for fabric, here, there in (("tcp", 0, 2), ("verbs", 2, 0)):
                stopped = job.quiesce()
                for i in range(2):
                    job.guests[i] = move(job.guests[i], image, ends[here + i], ends[there + i])
                    expect(("ib0" in job.guests[i].devices()) == (fabric == "verbs"), f"devices: {job.guests[i].devices()}")
                started = job.must("resume")[-1]
                must_talk(job, fabric)
                print(f"  quiesced in {stopped['ms']:.0f} ms; over {fabric} again in {started['ms']:.0f} ms", flush=True)
        for guest in job.guests:
            guest.wait_reports(2)
            guest.check()
        print(f"  {job.end(300)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True, image=build_mpi_guest))
