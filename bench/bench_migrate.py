#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""watari against QEMU's own migration over tcp (multifd, two channels), on this machine.

Both move a guest of the same size that writes at the same rate, with the same limit on downtime, over loopback. Times are
those of the source: watari's summary, QEMU's query-migrate. Loopback copies where a NIC would not, so this says what the
software costs, not what a link carries.
"""

import os
import socket
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import interleave, options, report  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402
from harness.migration import Migration  # noqa: E402

GUEST = {"mb": 1024, "work_mb": 512, "rate": 2000}
METRICS = {"total": ("ms", "lower"), "downtime": ("ms", "lower")}
FAST = 1 << 40  # bytes per second: no limit of QEMU's own


class Pair:
    """A guest that runs, and a QEMU that awaits it."""

    def __init__(self, host, image):
        self.source = Guest(host, image, **GUEST)
        self.source.wait_reports(2)
        self.destination = Guest(host, image, incoming=True, **GUEST)

    def end(self):
        self.destination.wait_reports(1)
        self.destination.check()
        self.source.quit()
        self.destination.quit()


def watari(host, image):
    pair = Pair(host, image)
    summary = Migration(pair.source, pair.destination).succeed()
    pair.end()
    return {"total": summary["total_ms"], "downtime": summary["downtime_ms"]}


def need(guest, command, arguments):
    code, text = guest.call(command, arguments)
    if code:
        raise Failure(f"{command}: {text}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def qemu(host, image):
    pair = Pair(host, image)
    uri = {"uri": f"tcp:127.0.0.1:{free_port()}"}
    for guest in (pair.source, pair.destination):
        need(guest, "migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
        need(guest, "migrate-set-parameters", {"multifd-channels": 2})
    need(pair.source, "migrate-set-parameters", {"max-bandwidth": FAST, "downtime-limit": 300})
    need(pair.destination, "migrate-incoming", uri)
    need(pair.source, "migrate", uri)
    wait_for(lambda: pair.source.call("query-migrate")[1].get("status") in ("completed", "failed"), "QEMU's migration")
    wait_for(lambda: pair.destination.status() == "paused", "the destination")
    need(pair.destination, "cont", None)
    told = pair.source.call("query-migrate")[1]
    if told["status"] != "completed":
        raise Failure(f"QEMU's migration: {told}")
    pair.end()
    return {"total": told["total-time"], "downtime": told["downtime"]}


def main():
    args = options(__doc__)
    image, host = build_guest(), Host("bench")
    try:
        found = interleave({"watari": lambda: watari(host, image), "qemu-tcp": lambda: qemu(host, image)}, args.runs)
    finally:
        Host.close_all()
    report(args, "migrate", f"{GUEST['mb']}MiB", found, "watari", "qemu-tcp", METRICS)


if __name__ == "__main__":
    sys.exit(main())
