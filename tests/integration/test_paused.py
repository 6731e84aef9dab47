#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_paused.py CASE... - guests that their operator has paused: QEMU leaves their RAM out of its stream, where it can.

  moved      from a file, which QEMU leaves out; from a memfd, which QEMU 10.0 sends; with --continuable all is sent
  lost       pages that are not announced: the comparison finds it, and the guest stays
  given_up   in the midst: the guest cannot be continued then, and is as it was when that is cancelled, or its destination dies
  elsewhere  in the midst: to another destination
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.journey import Journey  # noqa: E402
from harness.migration import Migration  # noqa: E402

FILE = {"backend": "file"}


def paused(host, image, **options):
    guest = Guest(host, image, **SMALL, **options)
    guest.wait_reports(2)
    guest.call("stop")
    return guest


def case_moved(host, image):
    for options, send, whole in ((FILE, [], True), ({}, [], False), (FILE, ["--continuable"], False)):
        source = paused(host, image, **options)
        destination = Guest(host, image, incoming=True, **SMALL, **options)
        summary = Migration(source, destination, send=["--verify", *send]).succeed()
        source.ended()
        left_out = summary["left_out_bytes"]
        expect(left_out == (summary["ram_bytes"] if whole else 0), f"{options} {send}: {left_out} bytes left out: {summary}")
        expect(summary["verified"] and summary["zero_pages"] > 0, f"{summary}")
        expect(destination.status() not in ("running", None), f"the destination is {destination.status()}, not paused")
        destination.call("cont")
        destination.wait_round()
        destination.quit()


def case_lost(host, image):
    need_sabotage()
    source = paused(host, image, **FILE)
    destination = Guest(host, image, incoming=True, **SMALL, **FILE)
    attempt = Migration(source, destination, send=["--verify"], env={"WATARI_SABOTAGE": "drop"})
    expect(attempt.finish()[0] == 1, "a migration with dropped pages succeeded")
    expect(source.status() not in ("running", None), f"a paused guest is {source.status()} after that")
    source.call("cont")
    still_fine(source)


def in_the_midst(host, image, destinations):
    """A paused guest, a part of whose memory has moved."""
    journey = Journey(host, image, destinations, paused=True, **FILE)
    journey.wait_part(0.6)
    expect(journey.progress()["state"] == "stopped", f"not in the midst: {journey.progress()}")
    code, text = journey.source.call("cont")
    expect(code != 0 and "not finalized" in text, f"cont: {code} {text}")
    return journey


def stays(journey, said):
    print(f"  {refused(journey.sender, said)}", flush=True)
    expect(journey.source.status() not in ("running", None), f"a paused guest is {journey.source.status()} after that")
    journey.source.call("cont")
    still_fine(journey.source)
    journey.source.wait_round()
    journey.source.quit()


def case_given_up(host, image):
    journey = in_the_midst(host, image, 1)
    journey.sender.signal(signal.SIGTERM)
    stays(journey, "cancelled by Terminated; the guest goes on here as before")
    expect(journey.ends[0].process.wait(30) == 1, f"receive: {journey.ends[0].process.tail()}")
    journey = in_the_midst(host, image, 1)
    journey.ends[0].guest.process.kill()
    stays(journey, "the guest goes on here as before")


def case_elsewhere(host, image):
    journey = in_the_midst(host, image, 2)
    journey.change(1)
    summary = journey.arrived(1)
    expect(summary["verified"] and summary["left_out_bytes"] == summary["ram_bytes"], f"{summary}")
    expect(summary["replica_pages"] > 1000, f"nothing came from the destination that was given up: {summary}")
    print(f"  {summary['replica_pages']} of {summary['digested_pages']} pages from the destination that was given up", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
