#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_retarget_lab.py CASE... - the destination of a running migration is changed between three lab hosts.

  verbs   both destinations pull over verbs: at 20, 50, 80 and 95 % of the first pass, and in the dirty phase
  mixed   the old one over verbs, the new one over tcp: the same
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.hosts import lab, wait_for  # noqa: E402
from harness.journey import Journey  # noqa: E402

SMALL = {"mb": 160, "work_mb": 24, "rate": 500}
SLOW = ["--switchover-timeout", "20s", "--max-rate", "6M"]
PARTS = (0.2, 0.5, 0.8, 0.95)


def change(hosts, image, when, fabric, options=(), **guest):
    """One migration from the first host to the second, and on to the third; `when` waits for the moment."""
    a, b, c = hosts
    journey = Journey(a, image, 2, [*SLOW, *options], others=[b, c], fabrics=["verbs", fabric], **{**SMALL, **guest})
    when(journey)
    before = journey.progress().get("moved_bytes", 0)
    journey.change(1)
    summary = journey.arrived(1)
    there = summary["destination"]
    expect(summary["verified"] and there[f"{fabric}_bytes"] > 0, f"not compared, or not over {fabric}: {summary}")
    expect(there["verbs_bytes"] + there["tcp_bytes"] == there[f"{fabric}_bytes"], f"not only over {fabric}: {summary}")
    print(f"  {fabric}, after {before >> 20} MiB: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)
    for host in hosts:
        host.end_processes()


def at(part):
    return lambda journey: journey.wait_part(part)


def dirty(journey):
    wait_for(lambda: journey.progress().get("moved_bytes", 0) > 120 << 20 or not journey.sender.running(),
             "the dirty phase", 240)


def all_moments(image, fabric):
    with lab(3) as hosts:
        for part in PARTS:
            change(hosts, image, at(part), fabric)
        change(hosts, image, dirty, fabric, ["--auto-converge"], rate=20000)


def case_verbs(image):
    all_moments(image, "verbs")


def case_mixed(image):
    all_moments(image, "tcp")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
