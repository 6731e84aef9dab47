#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_guests.py CASE... - an Open MPI job in two guests on a network of their own. The coordinator is outside and has no network
to them.

  move     quiesced through the agents, both guests move with all that mpirun has open, and the job goes on; there and back
  migrate  `watari-mpi migrate`: each guest has a NIC with soft-RoCE besides, which cannot move with it; there and back over verbs
  stays    ... and moves that fail, before the devices have left, behind that, and when one guest has moved: the job goes on over verbs
  dies     ... and the coordinator, or that of the gang, dies: the same command finishes what was begun
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import alive, expect, main, need_sabotage  # noqa: E402
from harness.devices import PATIENT, write_map  # noqa: E402
from harness.gang import Gang, free_port  # noqa: E402
from harness.hosts import Host, wait_for  # noqa: E402
from harness.hub import Hub  # noqa: E402
from harness.migration import Migration, events, watari  # noqa: E402
from harness.mpi import COORDINATOR  # noqa: E402
from harness.mpi_guests import GuestJob, MpiGuest, build_mpi_guest, hosts_of_job  # noqa: E402
from test_mpi_migrate import gang_process, in_order, stopped  # noqa: E402


def case_move(host, image):
    hub = Hub(host)
    places = [host, Host("other")]

    def guest_at(place, number, **more):
        return MpiGuest(places[place], image, number, hub.options(number), port=False, **more)

    job = GuestJob(host, [guest_at(0, 0, hosts=hosts_of_job()), guest_at(0, 1)])
    for guest in job.guests:
        wait_for(guest.reports, "the guest's first report", 180)
    job.wait_talks("tcp", 180)
    for round_number in range(2):
        before = [guest.connections() for guest in job.guests]
        stopped = job.quiesce()
        kept = [guest.connections() for guest in job.guests]
        expect(all(kept) and all(some < all_ for some, all_ in zip(kept, before)),
               f"the ranks' connections must go, and mpirun's stay: {before}, then {kept}")
        for i, guest in enumerate(job.guests):
            there = guest_at((round_number + 1) % 2, i, incoming=True)
            Migration(guest, there).succeed()
            guest.ended()
            job.guests[i] = there
        expect([guest.connections() for guest in job.guests] == kept, "mpirun's connections have not moved with the guests")
        started = job.must("resume")[-1]
        job.wait_talks("tcp")
        for guest in job.guests:
            guest.wait_reports(2)
            guest.check()
        print(f"  quiesced in {stopped['ms']:.0f} ms, resumed in {started['ms']:.0f} ms", flush=True)
    print(f"  {job.end()}", flush=True)


class Cluster:
    """A job that talks over verbs in two guests; both have a NIC of QEMU's own for that, in a port from which it is unplugged."""

    def __init__(self, host, image):
        self.host, self.image, self.count = host, image, 0
        self.hub, self.fabric = Hub(host), Hub(host, "fabric")
        self.places = [host, Host("other")]
        self.at = 0
        self.maps = [write_map(host, {"a": self.nic(number), "b": self.nic(number)}, PATIENT, name=f"vm{number}.json") for number in range(2)]
        self.job = GuestJob(host, [self.guest(0, 0, hosts=hosts_of_job()), self.guest(0, 1)])
        self.there = [None, None]
        for guest in self.job.guests:
            wait_for(guest.reports, "the guest's first report", 180)
        self.talks()

    @staticmethod
    def mac(number):
        return f"52:54:00:00:02:{number:02x}"

    def nic(self, number):
        return {"device": "e1000e", "properties": {"netdev": "fabric", "mac": self.mac(number), "romfile": ""},
                "link_mac": self.mac(number)}

    def guest(self, place, number, incoming=False, **more):
        nic = () if incoming else ("-device", f"e1000e,id=ib0,bus=rp0,netdev=fabric,romfile=,mac={self.mac(number)}")
        return MpiGuest(self.places[place], self.image, number, (*self.hub.options(number), *self.fabric.cable(), *nic),
                        append=f"wt.fabric=10.67.0.{number + 1}/24", incoming=incoming, **more)

    def talks(self):
        """The job runs over verbs, and sends; the guests have their devices, and their memory is right."""
        self.job.wait_talks("verbs", 240)
        for guest in self.job.guests:
            before = int(guest.told("packets"))
            wait_for(lambda: int(guest.told("packets")) > before + 100, "packets of soft-RoCE", 120)
            expect(guest.devices().get("ib0") == "e1000e", f"{guest.name} has no device: {guest.devices()}")
            guest.wait_reports(2)
            guest.check()

    def plan(self, **more):
        """To the other place."""
        self.count += 1
        for number in range(2):
            if not (self.there[number] and alive(self.there[number])):
                self.there[number] = self.guest(1 - self.at, number, incoming=True)
        vms = {}
        for number, path in enumerate(self.maps):
            here, there = ({"insecure": True, "qmp": guest.qmp, "agent": guest.agent(), "devices": path, "device_host": name}
                           for guest, name in ((self.job.guests[number], "a"), (self.there[number], "b")))
            vms[f"vm{number}"] = {"from": here, "to": {**there, "address": f"127.0.0.1:{free_port()}"}}
        self.gang = Gang(self.host, [], name=f"gang{self.count}", vms=vms, **more)

    def start(self, env=None):
        return self.host.start([COORDINATOR, "migrate", self.gang.path, "--json", "--timeout", "90", "--watari", watari()], "migrate", env=env)

    def ended(self, process, code, result):
        found = process.wait(300)
        last = next((e for e in events(process) if e["event"] == "migrated"), {})
        expect((found, last.get("result")) == (code, result), f"{found}, {last}, not {code}, {result}: {process.tail(12)}")
        if result == "moved":
            for guest in self.job.guests:
                guest.ended()
            self.job.guests[:], self.there, self.at = self.there, [None, None], 1 - self.at
        if result != "unfinished":
            self.talks()
            print(f"  {result}; the ranks stood for {last['stood_ms']} ms", flush=True)


def case_migrate(host, image):
    cluster = Cluster(host, image)
    for _ in range(2):
        cluster.plan()
        process = cluster.start()
        cluster.ended(process, 0, "moved")
        in_order(process)
    print(f"  {cluster.job.end()}", flush=True)


def case_stays(host, image):
    need_sabotage()
    cluster = Cluster(host, image)
    cluster.plan()
    cluster.there[1].quit()
    cluster.ended(cluster.start(), 1, "stayed")

    def dies_at(point, number):
        """The QEMU that waits for guest `number` ends when the gang's coordinator is at that point."""
        cluster.plan(parallel=1)
        process = cluster.start(env={"WATARI_STOP_BEFORE": point})
        pid = wait_for(lambda: gang_process(cluster.gang.path), "the gang's coordinator", 120)
        wait_for(lambda: stopped(pid), "its stop", 240)
        expect(not cluster.job.guests[1].devices().get("ib0"), "a device has not left")
        cluster.there[number].quit()
        os.kill(pid, signal.SIGCONT)
        return process

    cluster.ended(dies_at("gang.move.vm0", 0), 1, "stayed")
    process = dies_at("gang.forward.vm0", 1)
    cluster.job.guests[0] = cluster.there[0]  # it has moved, and the other one stays
    cluster.ended(process, 3, "partly")
    print(f"  {cluster.job.end()}", flush=True)


def case_dies(host, image):
    need_sabotage()
    cluster = Cluster(host, image)
    for point, end in (("migrate.move", "moved"), ("gang.move.vm0", "stayed"), ("gang.forward.vm0", "moved"), ("migrate.resume", "moved")):
        cluster.plan()
        process = cluster.start(env={"WATARI_DIE_BEFORE": point})
        if "gang" in point:
            cluster.ended(process, 3, "unfinished")
        else:
            code = process.wait(300)
            expect(code == -signal.SIGKILL, f"{point}: not killed but {code}: {process.tail(12)}")
        cluster.ended(cluster.start(), 0 if end == "moved" else 1, end)
        print(f"  {point}", flush=True)
    print(f"  {cluster.job.end()}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=build_mpi_guest))
