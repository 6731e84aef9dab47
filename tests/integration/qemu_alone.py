#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""qemu_alone.py COUNT - QEMU's own migration of a test guest, COUNT times, without watari: does it lose pages on this machine?

By hand, where a native test has found a wrong page (decision 0008). Both QEMUs' RAM is compared while both stand still, after each migration.
Exit code 1 if any page differed.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, build_guest  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import Host, wait_for  # noqa: E402

PAGE, PIECE = 4096, 1 << 20


def started(host, image, **more):
    guest = Guest(host, image, backend="file", **SMALL, **more)
    guest.ram = f"{host.run_dir}/{guest.name}.ram"
    return guest


def migrated(source, destination):
    """QEMU's own precopy, over a unix socket; both stand still afterwards."""
    where = {"uri": f"unix:{source.host.run_dir}/{source.name}.stream"}
    for guest, command in ((destination, "migrate-incoming"), (source, "migrate")):
        code, answer = guest.call(command, where)
        if code:
            sys.exit(f"{command}: {answer}")
    wait_for(lambda: source.call("query-migrate")[1].get("status") == "completed", "QEMU's migration", 120)
    wait_for(lambda: destination.status() == "paused", "the destination", 60)


def different(one, other):
    """The numbers of pages that differ."""
    found = []
    with open(one, "rb") as a, open(other, "rb") as b:
        for at in range(0, os.path.getsize(one), PIECE):
            left, right = a.read(PIECE), b.read(PIECE)
            if left != right:
                found += [(at + n) // PAGE for n in range(0, len(left), PAGE) if left[n:n + PAGE] != right[n:n + PAGE]]
    return found


def main():
    host, image, bad = Host("alone"), build_guest(), 0
    count = int(sys.argv[1])
    try:
        source = started(host, image)
        source.wait_reports(2)
        for number in range(count):
            destination = started(host, image, incoming=True)
            migrated(source, destination)
            pages = different(source.ram, destination.ram)
            bad += bool(pages)
            print(f"  migration {number}: {len(pages)} pages differ {pages[:8] or ''}", flush=True)
            destination.call("cont")
            source.process.kill()
            host.processes.remove(source.process)
            os.unlink(source.ram)
            source = destination
        print(f"{bad} of {count} migrations lost pages")
    finally:
        host.close()
    return 1 if bad else 0


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    sys.exit(main())
