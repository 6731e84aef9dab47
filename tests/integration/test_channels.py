#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_channels.py CASE... - what QEMU writes over several channels, and what is copied out of its stream, on this machine.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.migration import Migration  # noqa: E402

BUSY = {**SMALL, "rate": 8000}  # many pages are dirtied while it moves

def move_with(host, image, source_options=(), **options):
    """Moves a guest whose source side is started or sent differently; answers the summary."""
    source = Guest(host, image, **{**BUSY, **dict(source_options)})
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **BUSY)
    summary = Migration(source, destination, send=["--verify", *options.get("send", ())]).succeed()
    destination.wait_round()
    destination.quit()
    return summary


def case_multifd(host, image):
    """QEMU writes its stream over several channels: machine types that synchronise per round and per section."""
    for machine in ("q35", "pc-q35-7.2"):
        for channels in (2, 4):
            guest = {**BUSY, "machine": machine, "extra": ("-device", "VGA")}  # its RAM is not shared: it stays in the stream
            source = Guest(host, image, **guest)
            source.wait_reports(2)
            destination = Guest(host, image, incoming=True, **guest)
            # As QEMU's own recipe has it; what watari feeds has one channel all the same.
            destination.call("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
            summary = Migration(source, destination, send=["--verify", "--channels", str(channels)]).succeed()
            expect(summary["channels"] == channels, f"not over {channels} channels: {summary}")
            destination.wait_round()
            destination.quit()
            print(f"  {machine}, {channels} channels: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms",
                  flush=True)


def case_staged(host, image):
    """RAM that is private to the source QEMU is copied out of its stream, over one channel and over four."""
    private = {"numa": ("-object", "memory-backend-ram,id=mem,size=160M", "-machine", "memory-backend=mem")}
    for channels in (1, 4):
        summary = move_with(host, image, private, send=["--channels", str(channels)])
        expect(summary["copied_pages"] << 12 == summary["moved_bytes"] > 0, f"not all was copied: {summary}")
        expect(summary["destination"]["compared_pages"] << 12 == summary["ram_bytes"], f"not all was compared: {summary}")
        print(f"  staged, {channels} channels: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
