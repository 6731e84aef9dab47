#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""demo.py [--json] - moves guests natively and in the lab; see scripts/demo.

Every migration compares all RAM of both sides while both guests are stopped, and afterwards the guest, which dirties its
memory all the time, looks at every page. So a downtime here includes the comparison.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests"))

from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, lab, lab_usable, wait_for  # noqa: E402
from harness.migration import Migration, install_key  # noqa: E402
from harness.uri import Receiver, Sender  # noqa: E402

GUEST = {"mb": 256, "work_mb": 48, "rate": 500}
SEND = ["--verify", "--switchover-timeout", "20s"]


def say(text):
    print(f"demo: {text}", file=sys.stderr, flush=True)


def move(source, destination, keys, fabric):
    """Moves, checks, and answers the record of this migration."""
    options = [*SEND, "--fabric", fabric]
    summary = Migration(source, destination, keys=keys, send=options).succeed()
    source.ended()
    destination.wait_round()
    return told(source.host, summary)


def told(host, summary):
    """The record of a migration that has succeeded."""
    record = {"fabric": summary["fabric"], "where": host.where, "qemu": summary["qemu"], "mode": summary["mode"],
              "verified": summary["verified"], "total_ms": round(summary["total_ms"], 1),
              "downtime_ms": round(summary["downtime_ms"], 1), "ram_bytes": summary["ram_bytes"],
              "moved_bytes": summary["moved_bytes"]}
    say(f"{record['where']}, {record['fabric']}, {record['mode']}: {record['moved_bytes'] >> 20} of {record['ram_bytes'] >> 20} MiB moved in "
        f"{record['total_ms']:.0f} ms, down {record['downtime_ms']:.0f} ms with the comparison of RAM; "
        "RAM equal, the guest finds no error")
    return record


def native(image):
    host = Host("demo")
    try:
        say("a guest on this machine, over tcp")
        source = Guest(host, image, **GUEST)
        source.wait_reports(2)
        destination = Guest(host, image, incoming=True, **GUEST)
        yield move(source, destination, install_key([host, host]), "tcp")
        say("on from there, begun by QEMU itself: migrate exec:watari send")
        yield by_uri(host, image, destination)
    finally:
        host.close()


def by_uri(host, image, source):
    """Moves in URI mode. watari does not see when QEMU stops the guest there: the downtime is QEMU's own, until it had
    written everything, and all that watari saw from the end of RAM on; they overlap, so it is an upper bound."""
    keys = install_key([host, host])
    receiver = Receiver(host, image, keys=keys, **GUEST)
    summary = Sender(source, receiver, keys=keys, options=[*SEND, "--fabric", "tcp"]).succeed()
    downtime = wait_for(lambda: source.call("query-migrate")[1].get("downtime"), "QEMU's figures")
    version = source.call("query-version")[1]["qemu"]
    source.quit()
    receiver.guest.wait_round()
    return told(host, {**summary, "downtime_ms": downtime + summary["switchover_ms"],
                       "qemu": f"{version['major']}.{version['minor']}.{version['micro']}"})


def in_lab(image):
    if reason := lab_usable():
        raise Failure(f"the lab cannot run here: {reason}")
    say("starting two lab hosts with soft-RoCE and KVM")
    with lab(2) as (a, b):
        keys = install_key([a, b])
        first = Guest(a, image, **GUEST)
        first.wait_reports(2)
        second = Guest(b, image, incoming=True, **GUEST)
        yield move(first, second, keys, "verbs")
        third = Guest(a, image, incoming=True, **GUEST)
        yield move(second, third, keys[::-1], "tcp")


def main():
    image = build_guest()
    try:
        records = [*native(image), *in_lab(image)]
    except Failure as failure:
        say(f"failed: {failure}")
        return 1
    if "--json" in sys.argv[1:]:
        print(json.dumps({"migrations": records}))
    say(f"{len(records)} migrations, all verified")
    return 0 if all(record["verified"] for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
