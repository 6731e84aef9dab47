#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_versions.py CASE... - guests of QEMU 7.2 and 10.0 under KVM, in one lab of two hosts, over verbs and tcp.

  sample   two rows over verbs, one of them with a version at each end
  matrix   every row over both fabrics
  feed     every version as a source with libwatari-feed.so, over verbs

A row is a version and a machine type at the source, a version at the destination. One guest goes through as many rows as
fit to it: the destination of a row is the source of the next one, if version and machine type are right. All RAM is
compared in each move, and the guest looks at every page.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.cases import expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import Failure, lab  # noqa: E402
from harness.migration import FEED, install_key  # noqa: E402
from test_lab import SMALL, move  # noqa: E402

OLD = "pc-q35-7.2"
# (version at the source, at the destination, machine type), in an order in which most guests are used again
ROWS = [("7.2", "7.2", OLD), ("7.2", "10.0", OLD), ("10.0", "10.0", OLD), ("10.0", "7.2", OLD), ("10.0", "10.0", "q35")]
CHANNELS = [1, 4]  # of QEMU's stream; each row with each


class Matrix:
    """The guest, and where it is."""

    def __init__(self, hosts, image, env):
        self.hosts, self.image, self.env = hosts, image, env
        self.keys = install_key(hosts)
        self.guest = self.fits = None

    def start(self, i, version, machine, incoming):
        return Guest(self.hosts[i], self.image, incoming=incoming, version=version, machine=machine, env=self.env, **SMALL)

    def row(self, fabric, source, destination, machine, channels):
        if self.fits != (source, machine):
            if self.guest:
                self.guest.quit()
            self.guest = self.start(0, source, machine, False)
            self.guest.wait_reports(2)
        here = self.hosts.index(self.guest.host)
        other = self.start(1 - here, destination, machine, True)
        print(f"  {source} -> {destination}, {machine}, {channels} channel(s):", flush=True)
        self.fits = None
        summary = move(self.guest, other, self.keys if here == 0 else self.keys[::-1], fabric, "--verify", channels=channels)
        expect(summary["qemu"].startswith(source), f"the source is QEMU {summary['qemu']}, not {source}")
        expect(summary["verified"], "RAM was not compared")
        expect(summary["feed"] == (self.env is not None), f"the feed is not as wanted: {summary}")
        expect(summary["skipped_bytes"] == (summary["moved_bytes"] if summary["feed"] else 0), f"not all was left out: {summary}")
        self.guest, self.fits = other, (destination, machine)


def run(image, runs, env=None):
    """runs: (fabric, source, destination, machine, channels); env: what is added to that of each QEMU"""
    failed = []
    with lab(2) as hosts:
        matrix = Matrix(hosts, image, env)
        for row in runs:
            try:
                matrix.row(*row)
            except Failure as failure:
                print(f"  FAILED: {failure}", flush=True)
                failed.append(f"{row}: {failure}")
                matrix.fits = None
    expect(not failed, "; ".join(failed))


def case_sample(image):
    run(image, [("verbs", *ROWS[1], CHANNELS[-1]), ("verbs", *ROWS[4], CHANNELS[0])])


def case_feed(image):
    run(image, [("verbs", *ROWS[row], channels) for row in (0, 4) for channels in CHANNELS], FEED)


def case_matrix(image):
    run(image, [(fabric, *row, channels) for channels in CHANNELS for fabric in ("verbs", "tcp") for row in ROWS])


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
