#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_common_memory_lab.py CASE... - a KVM guest goes from one host VM to another one, and its RAM stays where it is: both lab
hosts have it as a device (tests/harness/common_memory.py).

  nested   a guest moves; before that it is refused where the other host's memory is its own, another guest's or of another
           size, and the guest runs on each time
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.common_memory import common_lab, on_device  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.migration import Migration, install_key  # noqa: E402

MB = 256
GUEST = {"work_mb": 96, "rate": 500}
SEND = ["--common-memory", "--switchover-timeout", "20s"]


def move(guest, new, keys):
    return Migration(guest, new, keys=keys, send=SEND, receive=["--common-memory"])


def fine(guest):
    expect(guest.status() == "running", f"{guest.name} is {guest.status()}, not running")
    guest.wait_reports(2, 300)
    guest.check()


def refuse(guest, new, keys, text):
    migration = move(guest, new, keys)
    code = migration.sender.wait(120)
    said = [line for line in migration.sender.lines if line.startswith("watari: ")]
    expect(code == 1 and any(text in line for line in said), f'no word of "{text}": {code} {migration.sender.tail()}')
    print(f"  {said[-1]}", flush=True)
    fine(guest)
    new.ended(60)


def case_nested(image):
    with common_lab((MB, MB, MB + 32)) as hosts:
        a, b = hosts
        keys = install_key(hosts)
        guest = Guest(a, image, **GUEST, **on_device(0, MB))
        guest.wait_reports(2, 600)

        def awaits(ram):
            return Guest(b, image, incoming=True, **{**GUEST, **ram})

        code, text = b.call(["truncate", "-s", f"{(MB << 20) + 4096}", "/dev/shm/own"])
        expect(code == 0, text)
        refuse(guest, awaits({"mb": MB, "backend": "file", "ram_file": "/dev/shm/own"}), keys, "not the same memory")
        refuse(guest, awaits(on_device(1, MB)), keys, "is not the same memory at the destination")
        refuse(guest, awaits(on_device(2, MB + 32)), keys, "bytes here and")
        new = awaits(on_device(0, MB))
        told = move(guest, new, keys).succeed()
        expect(told["moved_bytes"] == 0 and told["common_bytes"] == MB << 20, f"memory was moved: {told}")
        print(f"  {told['total_ms']:.0f} ms, {told['downtime_ms']:.1f} ms down, {told['stream_bytes']} bytes", flush=True)
        guest.ended(60)
        new.wait_reports(1, 300)
        new.wait_round(600)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
