#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_handover_lab.py CASE... - handover of guests under KVM, in one lab host.

  versions   one guest between QEMU 7.2 and 10.0, to and fro, its RAM in a file of /dev/shm
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.cases import expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.handover import start, summary  # noqa: E402
from harness.hosts import lab  # noqa: E402
from test_lab import SMALL  # noqa: E402


def case_versions(image):
    with lab(1) as (host,):
        shape = {**SMALL, "machine": "pc-q35-7.2", "backend": "file", "ram_file": "/dev/shm/guest.ram"}
        guest = Guest(host, image, version="7.2", **shape)
        guest.wait_reports(2)
        for version in ("10.0", "7.2", "7.2", "10.0"):
            new = Guest(host, image, incoming=True, version=version, **shape)
            told = summary(start(guest, new), 120)
            guest.ended(60)
            print(f"  {told['old_qemu']} to {told['new_qemu']}: {told['total_ms']:.0f} ms, {told['downtime_ms']:.1f} ms down", flush=True)
            expect(told["dropped_bytes"] == 0, f"QEMU walked over the memory: {told}")
            new.wait_reports(2)
            new.check()
            guest = new
        guest.wait_round()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
