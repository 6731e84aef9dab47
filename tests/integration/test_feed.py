#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_feed.py CASE... - a source QEMU with libwatari-feed.so preloaded, which leaves guest RAM out of its stream
(docs/FEED.md), on this machine.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import HURRY, SMALL, expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.journey import Journey  # noqa: E402
from harness.migration import FEED, Migration, events  # noqa: E402
from harness.talking import Disk, Network, written  # noqa: E402

BUSY = {**SMALL, "rate": 8000}  # many pages are dirtied while it moves
SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")


def move(host, image, guest, send=(), env=FEED):
    """Moves a guest whose source QEMU was started with env; answers the summary."""
    source = Guest(host, image, env=env, **guest)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **guest)
    summary = Migration(source, destination, send=["--verify", *send]).succeed()
    destination.wait_round()
    destination.quit()
    return summary


def case_feed(host, image):
    """RAM stays out of the stream, over one channel and over several; pages that are not shared stay in it."""
    for machine, channels in (("q35", 1), ("q35", 4), ("pc-q35-7.2", 4), ("q35", 8)):
        guest = {**BUSY, "machine": machine, "extra": (*SANDBOX, "-device", "VGA")}
        summary = move(host, image, guest, ["--channels", str(channels)])
        expect(summary["feed"], f"QEMU did not leave RAM out: {summary}")
        expect(summary["skipped_bytes"] == summary["moved_bytes"] > 0, f"not all RAM was left out: {summary}")
        expect(summary["stream_bytes"] > 0 and summary["channels"] == channels, f"what came is not as sent: {summary}")
        print(f"  {machine}, {channels} channels: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms, "
              f"left out {summary['skipped_bytes'] >> 20} MiB", flush=True)


def case_beside(host, image):
    """An NBD disk and socket networks, which also send guest RAM from QEMU, run beside the migration: every byte that
    arrives there is compared."""
    for channels in (1, 4):
        disk = Disk(host)
        networks = [Network(host, f"tcp{channels}", False), Network(host, f"unix{channels}", True)]
        extra = [*SANDBOX, *disk.options(), *networks[0].options(1), *networks[1].options(2)]
        guest = {**SMALL, "extra": extra, "append": "wt.talk=2"}  # writes less than --max-rate lets across
        source = Guest(host, image, env=FEED, **guest)
        wait_for(lambda: min(written(source)) > 100 and all(n.frames > 100 for n in networks), "the guest to talk", 120)
        destination = Guest(host, image, incoming=True, **guest)
        move = Migration(source, destination, send=["--verify", "--shared-storage", "--max-rate", "20M",
                                                    "--channels", str(channels)])
        wait_for(lambda: any(e["event"] == "migrating" for e in events(move.sender)) or not move.sender.running(), "the migration")
        begun = [n.frames for n in networks]
        wait_for(lambda: all(n.frames > b + 200 for n, b in zip(networks, begun)) or not move.sender.running(), "frames")
        summary = move.succeed(60)
        expect(all(n.frames > b + 200 for n, b in zip(networks, begun)), "nothing was sent beside the migration")
        expect(summary["feed"] and summary["skipped_bytes"] == summary["moved_bytes"], f"RAM was not left out: {summary}")
        blocks_moved = written(source)[0]
        wait_for(lambda: written(destination)[0] > blocks_moved + 100, "the guest to talk on", 120)
        destination.wait_round()
        destination.call("stop")
        disk.check(written(destination)[0])
        for network in networks:
            network.check()
        destination.quit()
        print(f"  {channels} channels: {written(destination)[0]} blocks and {[n.frames for n in networks]} frames are right, "
              f"left out {summary['skipped_bytes'] >> 20} MiB in {summary['total_ms']:.0f} ms", flush=True)


def case_old(host, image):
    """QEMU 7.2. Its guest is paused: under TCG that version loses pages that a running guest writes (docs/LAB.md)."""
    for channels in (1, 4):
        guest = {**BUSY, "machine": "pc-q35-7.2", "version": "7.2", "extra": SANDBOX}
        source = Guest(host, image, env=FEED, **guest)
        source.wait_reports(2)
        source.call("stop")
        destination = Guest(host, image, incoming=True, **guest)
        summary = Migration(source, destination, send=["--verify", "--continuable", "--channels", str(channels)]).succeed()
        expect(summary["qemu"].startswith("7.2") and summary["feed"], f"RAM was not left out by QEMU 7.2: {summary}")
        expect(summary["skipped_bytes"] == summary["moved_bytes"] > 0, f"not all RAM was left out: {summary}")
        destination.call("cont")
        destination.wait_round()
        destination.quit()


def case_retarget(host, image):
    """The destination changes on the way. What QEMU has left out is announced to the new one like everything else."""
    journey = Journey(host, image, 2, ["--channels", "4"], source={"env": FEED})
    journey.wait_part(0.3)
    journey.change(1)
    summary = journey.arrived(1)
    expect(summary["feed"] and summary["skipped_bytes"] > 0 and summary["verified"], f"RAM was not left out: {summary}")


def case_off(host, image):
    """Nothing is left out with --no-feed, nor where the library is not preloaded, and all is as ever."""
    for send, env in ((["--no-feed"], FEED), ([], None)):
        summary = move(host, image, BUSY, send, env)
        expect(not summary["feed"] and summary["skipped_bytes"] == 0, f"RAM was left out: {summary}")


def stands_still(guest):
    """Has QEMU sent nothing for a while?"""
    def sent():
        return guest.call("query-migrate")[1].get("ram", {}).get("transferred")

    return (before := sent()) and all(sent() == before for _ in range(5))


def case_abort(host, image):
    """A relay that dies, or is cancelled, while QEMU waits for credit: the guest runs on, and moves the next time."""
    source = Guest(host, image, env=FEED, **BUSY)
    source.wait_reports(2)
    for channels, number in ((1, signal.SIGKILL), (4, signal.SIGTERM)):
        destination = Guest(host, image, incoming=True, **BUSY)
        move = Migration(source, destination, send=["--max-rate", "30M", "--channels", str(channels), *HURRY], receive=HURRY)
        wait_for(lambda: any(e["event"] == "progress" and e["moved_bytes"] > 0 for e in events(move.sender)), "the migration")
        move.sender.signal(signal.SIGSTOP)
        wait_for(lambda: stands_still(source), "QEMU to wait")
        move.sender.signal(number)
        move.sender.signal(signal.SIGCONT)
        expect(move.finish()[0] != 0, "it was not aborted")
        wait_for(lambda: source.status() == "running", "the source guest to run on")
        source.wait_round()
        destination.quit()
    destination = Guest(host, image, incoming=True, **BUSY)
    summary = Migration(source, destination, send=["--verify"]).succeed()
    expect(summary["feed"] and summary["skipped_bytes"] == summary["moved_bytes"], f"not all RAM was left out: {summary}")
    destination.wait_round()
    destination.quit()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
