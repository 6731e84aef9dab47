#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""a guest comes back to a host that has kept its RAM, after it has changed 1 % of it.

  comeback_bytes  all bytes of the way back (pages, announcements, digests and whatever else is said on the control
                  connection, both ways), over the bytes of its pages that are not zero
  comeback        how long the way back takes
  there           the same there, without a replica

The guest has 1 GiB, uses 768 MiB of it, and is all but idle. Its memory is compared on the way back. Not counted are the 48
bytes that frame each read over tcp, TLS and TCP themselves.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import options, show  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402
from harness.migration import Migration  # noqa: E402

GUEST = {"mb": 1024, "work_mb": 700, "rate": 200}
CHANGED = 0.01


def steps(guest):
    return guest.reports()[-1][1] if guest.reports() else 0


def come_back(host, image, run):
    kept = f"{host.run_dir}/kept-{run}"
    first = Guest(host, image, **GUEST)
    first.wait_reports(2)
    there = Guest(host, image, incoming=True, **GUEST)
    out = Migration(first, there, send=["--keep-replica", kept]).succeed()
    first.ended()
    there.wait_reports(1)
    begin = steps(there)
    wait_for(lambda: steps(there) - begin >= CHANGED * GUEST["work_mb"] * 256, "1 % of the pages", 120)
    back = Guest(host, image, incoming=True, **GUEST)
    summary = Migration(there, back, send=["--verify"], receive=["--replica", kept]).succeed()
    back.wait_round()
    back.quit()
    if not summary["digested_pages"]:
        raise Failure(f"nothing was digested: {summary}")
    moved = summary["tcp_bytes"] + summary["verbs_bytes"] + summary["control_bytes"]
    print(f"{moved / (summary['digested_pages'] * 4096):.4f} of {summary['digested_pages']} pages, {summary['replica_pages']} equal; "
          f"pages {summary['tcp_bytes']} bytes, control {summary['control_bytes']}; "
          f"down {summary['downtime_ms'] - summary['destination']['verify_ms']:.0f} ms", file=sys.stderr, flush=True)
    return {"comeback_bytes": moved / (summary["digested_pages"] * 4096),
            "comeback": summary["total_ms"] - summary["destination"]["verify_ms"], "there": out["total_ms"]}


def main():
    args = options(__doc__, runs=3)
    image, host = build_guest(), Host("bench")
    try:
        found = [come_back(host, image, run) for run in range(args.runs)]
    finally:
        Host.close_all()
    for metric, unit in (("comeback_bytes", "part"), ("comeback", "ms"), ("there", "ms")):
        show(args, "replica", f"{GUEST['mb']}MiB", metric, unit, "lower", [run[metric] for run in found])


if __name__ == "__main__":
    sys.exit(main())
