#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_checkpoint.py CASE... - `watari-mpi checkpoint` and `restart` of an Open MPI job in two guests on a network of their own.

  restart  over verbs: saved twice, and the job goes on; all QEMUs are killed; it runs again on the other host over tcp, and, killed
           once more, on the other host over verbs from the same files; it ends with the right result
  fails    over tcp: what is refused, a folder that is full or another job's, guests that cannot be written or restored: the job goes on
  dies     ... and the coordinator, or that of the gang, dies at each stage: the job is there, and the same command does it
"""

import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import Skip, alive, expect, main, need_sabotage  # noqa: E402
from harness.devices import PATIENT, write_map  # noqa: E402
from harness.gang import Gang, free_port  # noqa: E402
from harness.hosts import Host, wait_for  # noqa: E402
from harness.hub import Hub  # noqa: E402
from harness.migration import events, watari  # noqa: E402
from harness.mpi import COORDINATOR  # noqa: E402
from harness.mpi_guests import GuestJob, MpiGuest, build_mpi_guest, hosts_of_job  # noqa: E402

FABRIC_MAC = "52:54:00:00:02:"
NIC = {"device": "e1000e"}


class Saved:
    """A job in two guests, which are in one of two places; its folder; and what is done with both."""

    def __init__(self, host, image, verbs=False):
        self.host, self.image, self.verbs = host, image, verbs
        self.hub, self.fabric = Hub(host), Hub(host, "fabric")
        self.places, self.at, self.count = [host, Host("other")], 0, 0
        self.folder = f"{host.run_dir}/saved"
        self.maps = [write_map(host, {"a": self.nic(number), "b": self.nic(number), "c": {"none": True}}, PATIENT, name=f"vm{number}.json")
                     for number in range(2)]
        self.job = GuestJob(host, [self.guest(0, 0, hosts=hosts_of_job()), self.guest(0, 1)])
        for guest in self.job.guests:
            wait_for(guest.reports, "the guest's first report", 180)
        self.talks("verbs" if verbs else "tcp")

    @staticmethod
    def nic(number):
        mac = f"{FABRIC_MAC}{number:02x}"
        return {"device": "e1000e", "properties": {"netdev": "fabric", "mac": mac, "romfile": ""}, "link_mac": mac}

    def guest(self, place, number, incoming=False, **more):
        network = self.hub.options(number)
        if self.verbs:
            network = (*network, *self.fabric.cable())
            if not incoming:
                network = (*network, "-device", f"e1000e,id=ib0,bus=rp0,netdev=fabric,romfile=,mac={FABRIC_MAC}{number:02x}")
        append = f"wt.fabric=10.67.0.{number + 1}/24" if self.verbs else ""
        return MpiGuest(self.places[place], self.image, number, network, append=append, incoming=incoming, port=self.verbs, **more)

    def talks(self, fabric):
        """The job runs over that, and the guests' memory is right."""
        self.job.wait_talks(fabric, 240)
        for guest in self.job.guests:
            guest.wait_reports(2)
            guest.check()

    def plan(self, there=None, hosts=("a", "b"), **more):
        """From where the guests are; there: the QEMUs that wait."""
        self.count += 1
        vms = {}
        for number in range(2):
            ends = []
            for guest, name in ((self.job.guests[number], hosts[0]), (there[number] if there else None, hosts[1])):
                end = {"insecure": True, "qmp": guest.qmp if guest else f"/nowhere/{number}.qmp",
                       "agent": guest.agent() if guest else f"/nowhere/{number}.agent"}
                ends.append({**end, "devices": self.maps[number], "device_host": name} if self.verbs else end)
            vms[f"vm{number}"] = {"from": ends[0], "to": {**ends[1], "address": f"127.0.0.1:{free_port()}"}}
        self.gang = Gang(self.host, [], name=f"plan{self.count}", **{"vms": vms, **more})
        return vms

    def start(self, *words, env=None):
        return self.host.start([COORDINATOR, *words, "--json", "--timeout", "60", "--watari", watari()], words[0], env=env)

    def save(self, *, env=None, folder=None, name="job"):
        return self.start("checkpoint", self.gang.path, name, folder or self.folder, env=env)

    def restart(self, *, env=None, folder=None):
        return self.start("restart", self.gang.path, folder or self.folder, env=env)

    def record(self):
        with open(f"{self.folder}/job.json", encoding="utf-8") as file:
            return json.load(file)

    def files(self):
        """What is in the folder, but for what is no checkpoint."""
        return sorted(name for name in os.listdir(self.folder) if name != "lock")

    def kill_all(self):
        for guest in self.job.guests:
            guest.process.kill()
            wait_for(lambda: not alive(guest), "the end of a killed QEMU")

    def bring_back(self, place, fabric, hosts=("a", "b")):
        """All guests again, in that place."""
        there = [self.guest(place, number, incoming=True) for number in range(2)]
        self.plan(there, hosts)
        process = self.restart()
        ended(process, 0, "restarted")
        self.job.guests[:] = there
        self.talks(fabric)
        print(f"  restored in {total_ms(process):.0f} ms, over {fabric}", flush=True)


def result(process):
    return next((e["result"] for e in events(process) if e["event"] in ("checkpoint", "restart")), None)


def total_ms(process):
    return next(e["total_ms"] for e in events(process) if e["event"] == "summary" and "total_ms" in e)


def ended(process, code, word):
    """Its sentences."""
    found = process.wait(300)
    expect((found, result(process)) == (code, word), f"{found}, {result(process)}, not {code}, {word}: {process.tail(16)}")
    return [line for line in process.lines if line.startswith("watari")]


def case_restart(host, image):
    saved = Saved(host, image, verbs=True)
    before, written = None, []
    for _ in range(2):
        saved.plan()
        process = saved.save()
        ended(process, 0, "saved")
        stood = next(e["stood_ms"] for e in events(process) if e["event"] == "checkpoint")
        saved.talks("verbs")
        expect(all(guest.devices().get("ib0") == "e1000e" for guest in saved.job.guests), "a device is not back")
        record = saved.record()
        expect(record["job"] == "job" and record["note"] == "4 ranks, over verbs" and set(record["guests"]) == {"vm0", "vm1"}, f"{record}")
        expect(record["generation"] != before and saved.files() == sorted([record["generation"], "job.json"]), f"{saved.files()}")
        before = record["generation"]
        written.append(sum(guest["written_bytes"] for guest in record["guests"].values()))
        downs = [round(guest["downtime_ms"]) for guest in record["guests"].values()]
        print(f"  saved in {total_ms(process):.0f} ms: {written[-1] >> 20} MiB; guests stopped for {downs} ms, ranks for {stood:.0f} ms", flush=True)
    expect(written[1] < written[0] / 2, f"the second one is not only what has changed: {written}")
    saved.kill_all()
    saved.bring_back(1, "tcp", ("a", "c"))
    saved.kill_all()
    saved.bring_back(1, "verbs")
    print(f"  {saved.job.end()}", flush=True)


def said(process, code, word, text):
    sentences = ended(process, code, word)
    expect(any(text in line for line in sentences), f'no word of "{text}": {sentences}')
    print(f"  {next(line for line in sentences if text in line)}", flush=True)


def small_folder(host, size):
    """A file system of that size."""
    folder = f"{host.run_dir}/small"
    os.mkdir(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", folder], capture_output=True, check=False).returncode:
        raise Skip("a small file system cannot be mounted here")
    return folder


def case_fails(host, image):
    saved = Saved(host, image)
    vms = saved.plan()
    small = small_folder(host, "40M")
    try:
        said(saved.save(folder=small), 1, "failed", "No space left")
        expect(not [name for name in os.listdir(small) if re.fullmatch("[0-9a-f]{16}", name)], f"rubbish is left: {os.listdir(small)}")
        saved.talks("tcp")
    finally:
        subprocess.run(["umount", small], check=True)
    ended(saved.save(), 0, "saved")
    before = saved.files()

    def refuse(text, **more):
        said(saved.save(**more), 1, "refused", text)
        expect(saved.files() == before, f"{text}: the folder has changed: {saved.files()}")

    refuse("holds the checkpoint of job job", name="rain")
    refuse("is no directory", folder=f"{saved.folder}/job.json")
    refuse("holds the checkpoint of one guest", folder=f"{saved.folder}/{saved.record()['generation']}/vm0")
    saved.gang.write({"version": 1, "watari": watari(), "vms": {"vm0": vms["vm0"]}})
    refuse("only 2 of 4 ranks")
    vms["vm1"]["from"] = {**vms["vm1"]["from"], "qmp": "/nowhere/vm1.qmp"}
    saved.gang.write({"version": 1, "watari": watari(), "hold_s": 30, "vms": vms})
    said(saved.save(), 1, "failed", "vm1: ")
    expect(saved.files() == before, f"the folder has changed: {saved.files()}")
    saved.talks("tcp")
    saved.plan()
    ended(saved.save(), 0, "saved")
    saved.kill_all()

    there = [saved.guest(1, number, incoming=True) for number in range(2)]
    vms = saved.plan(there)
    saved.gang.write({"version": 1, "watari": watari(), "vms": {"vm0": vms["vm0"]}})
    said(saved.restart(), 1, "refused", "the plan has no place for vm1")
    saved.gang.write({"version": 1, "watari": watari(), "vms": {**vms, "vm2": {
        "from": {**vms["vm0"]["from"], "qmp": "/nowhere/2"}, "to": {**vms["vm0"]["to"], "qmp": "/nowhere/3", "address": "127.0.0.1:9"}}}})
    said(saved.restart(), 1, "refused", "has a guest vm2, which is not in the checkpoint")
    saved.plan(there)
    said(saved.restart(folder=f"{host.run_dir}/none"), 1, "refused", "cannot be found")
    there[1].quit()
    said(saved.restart(), 1, "failed", "vm1: ")
    expect(not alive(there[0]) or there[0].status() == "inmigrate", f"vm0 is {there[0].status()}, alone")
    there[0].quit()
    saved.bring_back(1, "tcp")
    saved.plan(saved.job.guests)
    print(f"  {saved.job.end()}", flush=True)


def case_dies(host, image):
    need_sabotage()
    saved = Saved(host, image)
    for point in ("checkpoint.save", "checkpoint.resume", "save.begin", "save.going", "save.commit", "save.committed"):
        saved.plan(hold_s=20)
        process = saved.save(env={"WATARI_DIE_BEFORE": point})
        code = process.wait(120)
        print(f"  {point}: {code} {result(process)}", flush=True)
        if point.startswith("save."):
            expect((code, result(process)) == (1, "failed"), f"{point}: {process.tail(12)}")
            saved.talks("tcp")
        else:
            expect(code == -signal.SIGKILL, f"{point}: {process.tail(12)}")
        ended(saved.save(), 0, "saved")
        saved.talks("tcp")
        expect(len(saved.files()) == 2, f"rubbish is left: {saved.files()}")
    for point in ("restart.restore", "restart.resume", "restore.begin", "restore.going", "restore.over"):
        saved.kill_all()
        there = [saved.guest(1, number, incoming=True) for number in range(2)]
        saved.plan(there, hold_s=20)
        process = saved.restart(env={"WATARI_DIE_BEFORE": point})
        code = process.wait(120)
        print(f"  {point}: {code} {result(process)}", flush=True)
        if point != "restart.resume" and point != "restore.over":
            for number in range(2):
                wait_for(lambda: not alive(there[number]) or there[number].status() == "inmigrate", "the end of QEMUs that never ran", 60)
                if alive(there[number]):
                    there[number].quit()
            saved.bring_back(1, "tcp")
            continue
        ended(saved.restart(), 0, "restarted")
        saved.job.guests[:] = there
        saved.talks("tcp")
    print(f"  {saved.job.end()}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=build_mpi_guest))
