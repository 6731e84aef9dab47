# SPDX-License-Identifier: BSD-3-Clause
"""mpi_guests.py - an MPI job in guests, started by the first of them; and the coordinator outside."""

import os
import re
import subprocess
import sys

from .devices import DeviceGuest, agent_socket
from .hosts import ROOT, Failure, wait_for
from .migration import BUILD, watari
from .mpi import WORD, Job

AGENT_ASK = os.path.join(ROOT, "tests", "harness", "agent_ask.py")


def build_mpi_guest():
    """The directory with vmlinux and guest.cpio. One for each build."""
    built = subprocess.run([os.path.join(ROOT, "tests", "guest", "build_mpi"), os.path.join(BUILD, "mpi-guest"), BUILD],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return built.stdout.strip().splitlines()[-1]


NETWORK = "00420A:"  # 10.66.0, as the kernel writes it


def address(number):
    return f"10.66.0.{number + 1}"


class MpiGuest(DeviceGuest):
    """Guest `number`; two ranks are in each. network: options of QEMU for its NIC. The first one starts the job, if
    hosts says where ("A:2,B:2")."""

    def __init__(self, host, image, number, network, hosts="", append="", mb=448, **more):
        self.number = number
        super().__init__(host, image, mb=mb, work_mb=16, rate=200,
                         append=f"wt.name=guest{number} wt.ip={address(number)}/24 wt.job={hosts} {append}".strip(),
                         **{**more, "devices": [*network, *more.get("devices", ())]})

    def agent(self):
        """As watari-mpi is told."""
        return " ".join([*self.host.prefix_with_input, agent_socket(self)])

    def told(self, what):
        """What its hook answers."""
        python = sys.executable if self.host.where == "native" else "/usr/bin/python3"
        code, said = self.host.call([python, AGENT_ASK, agent_socket(self), "mpi", what], 180)
        if code:
            raise self.silent(f"{self.name}: {what}: {said}")
        return said

    def connections(self):
        """Its TCP connections with other guests, as the kernel lists them."""
        return {line for line in self.told("connections").splitlines() if NETWORK in line.split()[1]}


def hosts_of_job(guests=2):
    return ",".join(f"{address(i)}:2" for i in range(guests))


class GuestJob(Job):
    """The job of these guests. They may be replaced by others of the same numbers: they have moved. The coordinator runs on
    `host`, and has no network to them."""

    def __init__(self, host, guests):  # pylint: disable=super-init-not-called # nothing is started here
        self.host, self.guests, self.name, self.ranks = host, guests, "job", 2 * len(guests)
        self.env = {}

    @property
    def agents(self):
        return [guest.agent() for guest in self.guests]

    def begin(self, *words):
        return super().begin(*words, "--watari", watari())

    def quiesce(self):
        """Until all are detached; answers what it took."""
        told = self.must("quiesce")[-1]
        if (states := {rank[1:] for rank in self.states()}) != {("detached", None, 0)}:
            raise Failure(f"not all ranks are detached: {states}")
        return told

    def talks(self, fabric):
        """All ranks run, and are connected over that."""
        found = self.states()
        return len(found) == self.ranks and all(rank[1] == "running" and rank[2] == fabric and rank[3] for rank in found)

    def wait_talks(self, fabric, timeout_s=120):
        wait_for(lambda: self.check() or self.talks(fabric), f"the job to talk over {fabric}", timeout_s)

    def check(self):
        for guest in self.guests:
            guest.check()
        if ended := next((line for line in self.guests[0].console().splitlines() if line.startswith("JOB ended")), None):
            raise Failure(f"{ended}: {self.guests[0].console().splitlines()[-12:]}")

    def must(self, *words, **more):
        code, objects, said = self.command(*words, **more)
        if code:
            raise Failure(f"watari-mpi {words}: exit code {code}: {said}; {self.guests[0].console().splitlines()[-12:]}")
        return objects

    def end(self, timeout_s=120):
        """Lets the program end, and checks its word. The job's console begins where its first guest was first."""
        first = self.guests[0]
        first.told("end")
        code = wait_for(lambda: re.search(r"JOB ended with (\d+)\s", first.console()), "the job to end", timeout_s)[1]
        lines = first.console().splitlines()
        word = next((line for line in lines if line.startswith(WORD)), None)
        if code != "0" or not word:
            raise Failure(f"the job failed: {lines[-12:]}")
        return word
