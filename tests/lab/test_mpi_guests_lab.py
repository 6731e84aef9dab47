#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_guests_lab.py CASE... - an Open MPI job in two guests (KVM) on two lab hosts. Each guest has an Ethernet NIC of QEMU's, and a
passed-through one that carries soft-RoCE. The coordinator is outside of the lab.

  moves  quiesced over verbs, the guests change places without their devices, the job goes on over tcp; quiesced again, they go back to
         devices, and the job goes on over verbs. WATARI_ROUNDS times (default 3); the job never notices
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
for i in 0 1; do ip tuntap add tap$i mode tap && ip link set tap$i master br0 up || exit 1; done"""


def ethernet(number):
    return ("-netdev", f"tap,id=hub,ifname=tap{number},script=no,downscript=no",
            "-device", f"virtio-net-pci,netdev=hub,romfile=,addr=0x12,mac=52:54:00:00:01:{number:02x}")


def guest_at(host, image, number, **more):
    return MpiGuest(host, image, number, ethernet(number), mb=384, append=f"wt.fabric=10.99.0.{number + 1}/24", **more)


def must_talk(job, fabric):
    job.wait_talks(fabric, 240)
    if fabric == "verbs":
        before = [int(guest.told("packets")) for guest in job.guests]
        wait_for(lambda: all(int(guest.told("packets")) > count + 50 for guest, count in zip(job.guests, before)),
                 "packets of the RDMA devices", 120)


def case_moves(image):
    with lab(2, mem="1792M", options=["--vfio-nic"]) as hosts:
        for host in hosts:
            code, text = host.call(["sh", "-c", BRIDGE])
            expect(code == 0, f"no bridge on {host.name}: {text}")
        keys = install_key(hosts)
        places = {**{f"with{i}": has(host) for i, host in enumerate(hosts)}, **{f"without{i}": {"none": True} for i in range(2)}}
        maps = [write_map(host, places, PATIENT) for host in hosts]
        job = GuestJob(Host("coordinator"), [guest_at(host, image, i, devices=with_device(host), hosts="" if i else hosts_of_job())
                                             for i, host in enumerate(hosts)])
        for guest in job.guests:
            wait_for(guest.reports, "the guest's first report", 240)
        must_talk(job, "verbs")
        at = [0, 1]
        for _ in range(int(os.environ.get("WATARI_ROUNDS", "3"))):
            for fabric, names in (("tcp", ("with", "without")), ("verbs", ("without", "with"))):
                stopped = job.quiesce()
                for i, guest in enumerate(job.guests):
                    here, there = at[i], 1 - at[i]
                    moved = guest_at(hosts[there], image, i, incoming=True)
                    DeviceMove(guest, moved, maps[here], there=maps[there], names=(f"{names[0]}{here}", f"{names[1]}{there}"),
                               keys=[keys[here], keys[there]], send=["--switchover-timeout", "20s"]).succeed(300)
                    guest.ended(60)
                    expect(("ib0" in moved.devices()) == (fabric == "verbs"), f"devices at the destination: {moved.devices()}")
                    job.guests[i], at[i] = moved, there
                started = job.must("resume")[-1]
                must_talk(job, fabric)
                print(f"  quiesced in {stopped['ms']:.0f} ms; over {fabric} again in {started['ms']:.0f} ms", flush=True)
        for guest in job.guests:
            guest.wait_reports(2)
            guest.check()
        print(f"  {job.end(300)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True, image=build_mpi_guest))
