#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""what libwatari-feed.so in the source QEMU spares: CPU seconds and time, with it and (baseline) without it.

  qemu_cpu    CPU seconds of the source QEMU per GiB of content
  relay_cpu   CPU seconds of watari send per GiB; over tcp the same process sends the pages, too
  total_time  from QEMU's first byte to the destination's word

The guest has 1 GiB full of random words, and is stopped. Both ends are on this machine, over tcp.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import options, show  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host  # noqa: E402
from harness.migration import FEED, Migration  # noqa: E402

GUEST = {"mb": 1280, "work_mb": 1024, "rate": 0}
TICKS = os.sysconf("SC_CLK_TCK")


def process_seconds(pid):
    """Of all threads that it has or had."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def move(host, image, channels, feed):
    source = Guest(host, image, env=FEED if feed else None, **GUEST)
    source.wait_reports(2, 300)
    source.call("stop")
    destination = Guest(host, image, incoming=True, **GUEST)
    with open(source.pid_file) as file:
        pid = int(file.read())
    before = process_seconds(pid)
    move = Migration(source, destination, channels=channels, send=["--keep-source", "--switchover-timeout", "10s"],
                     wrap_send=["sh", "-c", '"$@"; code=$?; times; exit $code', "sh"])
    summary = move.succeed()
    qemu = process_seconds(pid) - before
    relay = sum(60 * int(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", move.sender.lines[-1]))
    source.quit()
    destination.quit()
    if summary["feed"] != feed:
        raise Failure(f"the feed is not as wanted: {summary}")
    gib = summary["moved_bytes"] / (1 << 30)
    print(f"{channels} channels, {'feed' if feed else 'no feed'}: {gib:.2f} GiB, QEMU {qemu:.2f} s, relay {relay:.2f} s, "
          f"{summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", file=sys.stderr, flush=True)
    return {"qemu_cpu": qemu / gib, "relay_cpu": relay / gib, "total_time": summary["total_ms"]}


def main():
    args = options(__doc__, runs=3)
    image, host = build_guest(), Host("bench")
    try:
        for channels in (1, 4):
            with_feed, without = [], []
            for _ in range(args.runs):
                without.append(move(host, image, channels, False))
                with_feed.append(move(host, image, channels, True))
            for metric, unit in (("qemu_cpu", "s/GiB"), ("relay_cpu", "s/GiB"), ("total_time", "ms")):
                show(args, "feed", f"{channels} channels", metric, unit, "lower", [run[metric] for run in with_feed],
                     "no feed", [run[metric] for run in without])
    finally:
        Host.close_all()


if __name__ == "__main__":
    sys.exit(main())
