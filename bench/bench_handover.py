#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""watari handover against QEMU's own migration over a unix socket, on this host; and of 8 GiB against 1 GiB.

  total_8GiB_vs_1GiB  a guest of 8 GiB, baseline one of 1 GiB: what does not move costs no time
  total_vs_qemu_unix  move against copy: a guest with 4 GiB in use, baseline QEMU's own migration (multifd, two channels)
  downtime            of the same two

One guest goes to and fro, by turns in both ways. Times are watari's summary and QEMU's query-migrate. The wall clock of the
whole command, with its checks before the handover, is `command`.
"""

import os
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import options, show  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.handover import start, summary  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402

SMALL = {"work_mb": 64, "rate": 1000}
FULL = {"mb": 4608, "work_mb": 4096, "rate": 2000}
FAST = 1 << 40  # bytes per second: no limit of QEMU's own


class Traveller:
    """A guest, and the file that its memory is in."""

    def __init__(self, host, image, directory, **shape):
        self.host, self.image, self.directory, self.shape = host, image, directory, {**shape, "backend": "file"}
        self.files = 0
        self.guest = self.another(False)
        self.guest.wait_reports(2, 400)

    def another(self, incoming, fresh=True):
        """A QEMU on memory of its own, or on that of the guest."""
        self.files += fresh
        return Guest(self.host, self.image, incoming=incoming, ram_file=self.ram_file(), **self.shape)

    def ram_file(self):
        return os.path.join(self.directory, f"{self.shape['mb']}-{self.files}.ram")

    def hand_over(self):
        new = self.another(True, fresh=False)
        begun = time.monotonic()
        told = summary(start(self.guest, new))
        command_ms = (time.monotonic() - begun) * 1e3
        self.arrive(new)
        if told["dropped_bytes"] or told["moved_bytes"] != self.shape["mb"] << 20:
            raise Failure(f"memory did not stay where it is: {told}")
        return {"total": told["total_ms"], "downtime": told["downtime_ms"], "command": command_ms}

    def copy(self):
        """QEMU's own migration, into memory of its own."""
        former = self.ram_file()
        new = self.another(True)
        uri = {"uri": f"unix:{self.host.run_dir}/copy.sock"}
        for guest in (self.guest, new):
            set_capabilities(guest, True)
            need(guest, "migrate-set-parameters", {"multifd-channels": 2})
        need(self.guest, "migrate-set-parameters", {"max-bandwidth": FAST, "downtime-limit": 300})
        need(new, "migrate-incoming", uri)
        need(self.guest, "migrate", uri)
        wait_for(lambda: self.guest.call("query-migrate")[1].get("status") in ("completed", "failed"), "QEMU's migration")
        wait_for(lambda: new.status() == "paused", "the new QEMU")
        need(new, "cont", None)
        told = self.guest.call("query-migrate")[1]
        if told["status"] != "completed":
            raise Failure(f"QEMU's migration: {told}")
        set_capabilities(new, False)
        self.guest.quit()
        self.arrive(new)
        os.unlink(former)
        return {"total": told["total-time"], "downtime": told["downtime"]}

    def arrive(self, new):
        self.guest.ended()
        new.wait_reports(1)
        new.check()
        self.guest = new

    def end(self):
        self.guest.quit()
        os.unlink(self.ram_file())


def need(guest, command, arguments):
    code, text = guest.call(command, arguments)
    if code:
        raise Failure(f"{command}: {text}")


def set_capabilities(guest, on):
    need(guest, "migrate-set-capabilities",
         {"capabilities": [{"capability": name, "state": on} for name in ("multifd", "return-path")]})


def sizes(args, host, image, directory, version):
    """8 GiB and 1 GiB by turns; the other one is paused meanwhile."""
    travellers = {mb: Traveller(host, image, directory, mb=mb, version=version, machine="pc-q35-7.2", **SMALL)
                  for mb in (1024, 8192)}
    found = {mb: [] for mb in travellers}
    for traveller in travellers.values():
        traveller.guest.call("stop")
    for _ in range(args.runs):
        for mb, traveller in travellers.items():
            traveller.guest.call("cont")
            found[mb].append(traveller.hand_over())
            traveller.guest.call("stop")
    for traveller in travellers.values():
        traveller.end()
    big, small = ([run["total"] for run in found[mb]] for mb in (8192, 1024))
    show(args, "handover", f"QEMU {version}", "total_8GiB_vs_1GiB", "ms", "lower", big, "1 GiB", small)


def copies(args, host, image, directory):
    traveller = Traveller(host, image, directory, **FULL)
    moved, copied = [], []
    for _ in range(args.runs):
        moved.append(traveller.hand_over())
        copied.append(traveller.copy())
    traveller.guest.wait_reports(1)
    traveller.end()
    for metric, key in (("total_vs_qemu_unix", "total"), ("downtime", "downtime")):
        show(args, "handover", "4 GiB in use", metric, "ms", "lower", [run[key] for run in moved], "qemu-unix",
             [run[key] for run in copied])
    show(args, "handover", "4 GiB in use", "command", "ms", "lower", [run["command"] for run in moved])


def main():
    args = options(__doc__)
    image, host = build_guest(), Host("bench")
    try:
        with tempfile.TemporaryDirectory(prefix="watari-bench-", dir="/dev/shm") as directory:
            for version in ("10.0", "7.2"):
                sizes(args, host, image, directory, version)
            copies(args, host, image, directory)
    finally:
        Host.close_all()


if __name__ == "__main__":
    sys.exit(main())
