#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""a KVM guest goes from one host VM to another one, whose memory both have in common (send --common-memory), against
migrating it between them over the network of the lab.

Two lab hosts; each guest's RAM is a device of both (tests/harness/common_memory.py), populated in both before. Nearly all of it
is in use, with random bytes. Each move has devices that no guest has left before.

  total_1GiB_vs_256MiB  a guest with 1 GiB, baseline one with 256 MiB: what stays where it is costs no time
  total_vs_network      a guest with 1 GiB, baseline the same guest sent over the network (verbs or tcp, watari's choice), into memory
                        that is populated before
  downtime              of these two

Times are watari's summary; the wall clock of the whole `watari send`, with its checks and connections, is `command`.
"""

import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import options, show  # noqa: E402
from harness.common_memory import common_lab, on_device  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, lab_usable  # noqa: E402
from harness.migration import Migration, install_key  # noqa: E402

BIG, SMALL = 1024, 256
WORK = {BIG: 832, SMALL: 160}
PATIENT = ["--switchover-timeout", "60s"]
READY_S = 600  # for a guest to fill its memory


class Course:
    """One guest after the other, from the first host to the second."""

    def __init__(self, hosts, image):
        self.hosts, self.image, self.keys = hosts, image, install_key(hosts)

    def move(self, mb, ram, send=(), receive=(), incoming=None):
        shape = {"mb": mb, "work_mb": WORK[mb], "rate": 100, "append": "wt.pattern=random"}
        a, b = self.hosts
        source = Guest(a, self.image, **{**shape, **ram})
        source.wait_reports(2, READY_S)
        destination = Guest(b, self.image, incoming=True, **{**shape, **ram, **(incoming or {})})
        begun = time.monotonic()
        migration = Migration(source, destination, keys=self.keys, send=[*PATIENT, *send], receive=list(receive))
        told = migration.succeed(READY_S)
        command_ms = (time.monotonic() - begun) * 1e3
        source.ended(60)
        destination.wait_reports(2, READY_S)
        destination.check()
        destination.quit()
        print(f"{mb} MiB {'in common' if send else 'over ' + told['fabric']}: {told['total_ms']:.0f} ms, "
              f"{told['downtime_ms']:.0f} ms down, {told['moved_bytes'] >> 20} MiB moved", file=sys.stderr, flush=True)
        return {"total": told["total_ms"], "downtime": told["downtime_ms"], "command": command_ms, "moved": told["moved_bytes"]}

    def stays(self, mb, device):
        found = self.move(mb, on_device(device, mb), ["--common-memory"], ["--common-memory"])
        if found["moved"]:
            raise Failure(f"{found['moved']} bytes were moved")
        return found

    def network(self, mb):
        found = self.move(mb, {}, incoming={"ram_options": ",prealloc=on"})
        if found["moved"] < 0.9 * (WORK[mb] << 20):  # every sixteenth content is all zero
            raise Failure(f"only {found['moved']} bytes were moved: the guest had less in use than it should")
        return found


def main():
    args = options(__doc__, runs=3)
    if reason := lab_usable():
        print(f"skipped: {reason}")
        return 77
    image = build_guest()
    big, small, copied = [], [], []
    with common_lab((BIG, SMALL) * args.runs, "2560M", populated=True) as hosts:
        course = Course(hosts, image)
        for number in range(args.runs):
            big.append(course.stays(BIG, 2 * number))
            small.append(course.stays(SMALL, 2 * number + 1))
            copied.append(course.network(BIG))

    def of(runs, key):
        return [run[key] for run in runs]

    show(args, "nested", "host VMs", "total_1GiB_vs_256MiB", "ms", "lower", of(big, "total"), "256 MiB", of(small, "total"))
    show(args, "nested", "1 GiB", "total_vs_network", "ms", "lower", of(big, "total"), "network", of(copied, "total"))
    show(args, "nested", "1 GiB", "downtime", "ms", "lower", of(big, "downtime"), "network", of(copied, "downtime"))
    show(args, "nested", "1 GiB", "command", "ms", "lower", of(big, "command"), "network", of(copied, "command"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
