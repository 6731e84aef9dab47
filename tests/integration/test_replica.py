#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_replica.py CASE... - a guest comes back to a host that has kept its RAM in files, on this machine.

  come_back  there and back: only what has changed is pulled
  useless    replicas that are of no use: it comes without them, and is told why
  reused     a second attempt, with what the first one has left in the destination's RAM file
  refused    where RAM cannot be kept, nothing begins
  remote     the files are on a third host, which serves them: what is still right is read there
  remote_lies     it gives other bytes than those that it has digested
  remote_refused  it is not there, or refuses: the guest comes without, and is told why
"""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import Migration, events, watari  # noqa: E402

GUEST = {"mb": 192, "work_mb": 100, "rate": 200}


def move(source, *, keep=None, replica=None):
    """Moves the guest with RAM compared; answers (where it runs, summary, notes of the destination)."""
    destination = Guest(source.host, source.image, incoming=True, **GUEST)
    destination.image = source.image
    migration = Migration(source, destination, send=["--verify", *(["--keep-replica", keep] if keep else [])],
                          receive=["--replica", replica] if replica else [])
    summary = migration.succeed()
    source.ended()
    expect(summary["verified"], f"not compared: {summary}")
    if keep:
        expect(any(e["event"] == "replica" for e in events(migration.sender)), f"no replica: {migration.sender.tail()}")
    return destination, summary, [e.get("text", "") for e in events(migration.receiver) if e["event"] == "note"]


def begin(host, image):
    guest = Guest(host, image, **GUEST)
    guest.image = image
    guest.wait_reports(2)
    return guest


def case_come_back(host, image):
    kept = f"{host.run_dir}/kept"
    there, first, _ = move(begin(host, image), keep=kept)
    expect(first["digested_pages"] == 0 and first["replica_pages"] == 0, f"nobody asked for digests: {first}")
    there.wait_reports(2)
    back, summary, notes = move(there, keep=kept, replica=kept)
    expect(not notes, f"notes: {notes}")
    there_bytes, back_bytes = (s["tcp_bytes"] + s["control_bytes"] for s in (first, summary))
    print(f"  there {there_bytes} bytes, back {back_bytes}; {summary['digested_pages']} pages digested, "
          f"{summary['replica_pages']} equal; down {summary['downtime_ms']:.0f} ms", flush=True)
    expect(summary["digested_pages"] > 100 << 8, f"digested: {summary}")
    expect(summary["replica_pages"] > 0.9 * summary["digested_pages"], f"equal: {summary}")
    expect(back_bytes < 0.1 * there_bytes, f"bytes: {summary}")
    back.wait_round()
    again, summary, _ = move(back, replica=kept)  # of the second one: the first was replaced
    expect(summary["replica_pages"] > 0.9 * summary["digested_pages"], f"equal: {summary}")
    again.wait_round()


def images(directory):
    return [os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".raw")]


def case_useless(host, image):
    kept = f"{host.run_dir}/kept"
    guest, _, _ = move(begin(host, image), keep=kept)
    index = f"{kept}/index.json"

    for path in images(kept):  # as long as it was, and nothing in it is right
        with open(path, "r+b") as file:
            for offset in range(0, os.path.getsize(path), 4096):
                file.seek(offset)
                file.write(b"damaged!")
    guest, summary, notes = move(guest, replica=kept)
    expect(summary["digested_pages"] and not summary["replica_pages"] and not notes, f"damaged: {summary} {notes}")

    with open(index) as file:
        right = json.load(file)
    wrong = json.loads(json.dumps(right))
    wrong["blocks"][0]["name"] = "elsewhere"
    for what, change, word in (
            ("another layout", {**right, "blocks": wrong["blocks"]}, "layout"),
            ("another guest", {**right, "vm": "other"}, "other"),
            ("another format", {**right, "format": 2}, "format"),
            ("an image cut short", None, "cut short"),
            ("no replica", "", "index.json")):
        if change == "":
            os.unlink(index)
        else:
            with open(index, "w") as file:
                json.dump(change or right, file)
        if change is None:
            os.truncate(images(kept)[0], 4096)
        guest, summary, notes = move(guest, replica=kept)
        expect(len(notes) == 1 and word in notes[0] and "without" in notes[0], f"{what}: {notes}")
        expect(not summary["digested_pages"], f"{what}: {summary}")
    guest.wait_round()


def case_reused(host, image):
    guest = begin(host, image)
    file = {"backend": "file", "ram_file": f"{host.run_dir}/destination.ram", **GUEST}
    with open(file["ram_file"], "wb") as made:  # QEMU removes what it makes itself
        made.truncate(GUEST["mb"] << 20)
    first = Migration(guest, Guest(host, image, incoming=True, **file), send=["--max-rate", "24M"])
    wait_for(lambda: next((e["moved_bytes"] for e in reversed(events(first.sender)) if e["event"] == "progress"), 0) > 80 << 20,
             "most of the memory")
    code, text = host.call([watari(), "cancel", "vm"])
    expect(code == 0, text)
    expect(first.finish() == (1, 1), f"cancelled: {first.sender.tail()}")
    still_fine(guest)
    first.destination.ended()

    destination = Guest(host, image, incoming=True, **file)
    summary = Migration(guest, destination, send=["--verify"], receive=["--reuse-memory"]).succeed()
    print(f"  {summary['digested_pages']} pages digested, {summary['replica_pages']} equal", flush=True)
    expect(summary["verified"] and summary["replica_pages"] > 64 << 8, f"equal: {summary}")
    destination.wait_round()


class Replica:
    """`watari replica` of a directory, listening."""

    def __init__(self, host, directory, program=(), name="vm", address="127.0.0.1:0"):
        self.process = host.start([*(program or (watari(), "replica")), "--insecure", "--json", directory, f"{address}/{name}"], "replica")
        wait_for(lambda: self.event("listening") or not self.process.running(), "watari replica")

    def event(self, name):
        return next((e for e in events(self.process) if e["event"] == name), None)

    def target(self):
        return f"127.0.0.1:{self.event('listening')['port']}/vm"


def apart(summary):
    """Bytes that came from the replica, and that came from the source."""
    replica = summary["destination"]["replica_bytes"]
    return replica, summary["tcp_bytes"] - replica + summary["control_bytes"]


def case_remote(host, image):
    kept = f"{host.run_dir}/kept"
    guest, first, _ = move(begin(host, image), keep=kept)
    guest.wait_reports(2)
    replica = Replica(host, kept)
    guest, summary, notes = move(guest, replica=replica.target())
    expect(len(notes) == 1 and "has an old copy" in notes[0], f"notes: {notes}")
    from_replica, from_source = apart(summary)
    print(f"  first {first['tcp_bytes']} bytes; now {from_source} from the source, {from_replica} from the replica; "
          f"{summary['digested_pages']} pages digested; down {summary['downtime_ms']:.0f} ms", flush=True)
    expect(summary["replica_pages"] > 0.9 * summary["digested_pages"], f"equal: {summary}")
    expect(from_replica > 0.8 * first["tcp_bytes"] and from_source < 0.1 * first["tcp_bytes"], f"bytes: {summary}")
    guest.wait_round()
    wait_for(lambda: replica.event("served"), "the replica to hear that it is over")
    guest, summary, _ = move(guest, replica=replica.target())  # it serves one after the other; the guest has written meanwhile
    expect(summary["replica_pages"] > 0.5 * summary["digested_pages"], f"equal: {summary}")
    guest.wait_round()
    replica.process.signal(signal.SIGINT)
    expect(replica.process.wait(30) == 0, f"replica: {replica.process.tail()}")


def case_remote_lies(host, image):
    kept = f"{host.run_dir}/kept"
    guest, _, _ = move(begin(host, image), keep=kept)
    liar = Replica(host, kept, program=[os.path.join(os.path.dirname(watari()), "tests", "lying_replica")])
    guest, summary, notes = move(guest, replica=liar.target())
    expect(any("gave other bytes of page" in note and "without" in note for note in notes), f"notes: {notes}")
    from_replica, from_source = apart(summary)
    print(f"  {from_replica} bytes from the replica, {from_source} from the source", flush=True)
    guest.wait_round()


def case_remote_refused(host, image):
    kept = f"{host.run_dir}/kept"
    guest, _, _ = move(begin(host, image), keep=kept)
    refused(host.start([watari(), "replica", "--insecure", kept, "127.0.0.1:0/other"], "replica"), "not of")
    refused(host.start([watari(), "replica", "--insecure", host.run_dir, "127.0.0.1:0/vm"], "replica"), "no replica")
    guest, summary, notes = move(guest, replica="127.0.0.1:1/vm")
    expect(len(notes) == 1 and "cannot be asked" in notes[0] and "without" in notes[0], f"nobody: {notes}")

    replica = Replica(host, kept)
    with open(f"{kept}/index.json") as file:
        right = json.load(file)
    for block in right["blocks"]:
        block["name"] += "x"
    with open(f"{kept}/index.json", "w") as file:
        json.dump(right, file)
    guest, summary, notes = move(guest, replica=replica.target())
    expect(len(notes) == 1 and "another layout" in notes[0] and "without" in notes[0], f"another layout: {notes}")
    expect(summary["replica_pages"] == 0, f"another layout: {summary}")
    guest.wait_round()


def case_refused(host, image):
    guest = begin(host, image)
    for directory, word in ((host.run_dir, "no replica"), ("/nowhere/kept", "/nowhere/kept")):
        sender = host.start([watari(), "send", "--qmp", guest.qmp, "--insecure", "--keep-replica", directory, "127.0.0.1:1/vm"], "send")
        refused(sender, word)
        still_fine(guest)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
