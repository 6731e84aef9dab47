#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_feed.py CASE... - a source QEMU with libwatari-feed.so preloaded, which leaves guest RAM out of its stream
(docs/FEED.md), on this machine.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.migration import BUILD, Migration  # noqa: E402

BUSY = {**SMALL, "rate": 8000}  # many pages are dirtied while it moves
FEED = {"LD_PRELOAD": os.path.join(BUILD, "libwatari-feed.so")}
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


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
