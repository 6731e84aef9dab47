#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_checkpoint_lab.py CASE... - guests under KVM, in a lab host, are written to files and go on from them.

  versions  QEMU 7.2 and 10.0, and from one to the other, with machine type pc-q35-7.2; whole, and on top of another one
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import lab  # noqa: E402
from harness.migration import events, watari  # noqa: E402

OPTIONS = {**SMALL, "rate": 500, "machine": "pc-q35-7.2"}


def run(guest, command, directory):
    """The command's summary."""
    process = guest.host.start([watari(), command, "--qmp", guest.qmp, "--json", directory], command)
    expect(process.wait(200) == 0, f"watari {command}: {process.tail()}")
    return next(event for event in events(process) if event["event"] == "summary")


def case_versions(image):
    with lab(1) as (host,):
        for source, destination in (("7.2", "7.2"), ("7.2", "10.0"), ("10.0", "7.2")):
            saved = f"{host.run_dir}/saved-{source}-{destination}"
            guest = Guest(host, image, version=source, **OPTIONS)
            guest.wait_reports(2)
            for base in (False, True):
                summary = run(guest, "checkpoint", saved)
                print(f"  {source}: {summary['written_pages']} pages, {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms",
                      flush=True)
                expect(summary["base"] == base, f"{summary}")
                guest.wait_reports(1)
                guest.check()
            guest.quit()
            back = Guest(host, image, version=destination, incoming=True, **OPTIONS)
            run(back, "restore", saved)
            expect(back.status() == "running", f"it is {back.status()}")
            back.wait_round()
            back.quit()
            expect(host.call(["rm", "-r", saved])[0] == 0, "the files cannot be removed")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
