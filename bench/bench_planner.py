#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""what the puller's planner costs: memory per page, extents per second, and whether a terabyte costs more per page.

Nothing is moved: the plan alone is driven by wt_planner.c, which says what it does. Two servers. Times are the
processor's.
"""

import json
import os
import subprocess
import sys

from figures import interleave, options, show

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, "build", "release", "bench", "wt_planner")


def plan(gib):
    told = json.loads(subprocess.run([PROGRAM, str(gib)], check=True, capture_output=True, text=True).stdout)
    return {"bits": told["bytes"] * 8 / told["pages"], "rate": told["operations"] / told["seconds"],
            "cost": told["seconds"] / told["pages_done"]}


def main():
    args = options(__doc__)
    found = interleave({"1TiB": lambda: plan(1024), "16GiB": lambda: plan(16)}, args.runs)
    show(args, "planner", "1TiB", "bits_per_page", "bits", "lower", [run["bits"] for run in found["1TiB"]])
    for case, runs in found.items():
        show(args, "planner", case, "extents_per_second", "1/s", "higher", [run["rate"] for run in runs])
    show(args, "planner", "1TiB", "cost_per_page_1TiB_vs_16GiB", "ratio", "lower",
         [large["cost"] / small["cost"] for large, small in zip(found["1TiB"], found["16GiB"])])


if __name__ == "__main__":
    sys.exit(main())
