#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_retarget.py CASE... - the destination of a running migration is changed, on this machine.

  bulk      at 20, 50, 80 and 95 % of the first pass
  dirty     while the guest writes anew what has been sent
  chain     B, C, D, and a migration that goes back to B
  old_dies  the old destination's relay dies when the new one has begun
  new_dies  the new destination's relay dies: back to the old one, or none is left and the guest runs on
  refusals  what cannot be, and the migration goes on
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import HURRY, expect, main, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.journey import GUEST, Journey  # noqa: E402
from harness.migration import Receive, watari  # noqa: E402

def case_bulk(host, image):
    for part in (0.2, 0.5, 0.8, 0.95):
        journey = Journey(host, image, 2)
        journey.wait_part(part)
        journey.change(1)
        summary = journey.arrived(1)
        expect(summary["verified"], f"not compared: {summary}")
        print(f"  at {part:.0%}: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)


def case_dirty(host, image):
    """The guest writes more than --max-rate lets across, so QEMU does not come to an end."""
    journey = Journey(host, image, 2, ["--auto-converge"], rate=100000)
    wait_for(lambda: journey.progress().get("moved_bytes", 0) > (GUEST["mb"] << 20) or not journey.sender.running(), "the dirty phase")
    journey.change(1)
    journey.arrived(1)


def case_chain(host, image):
    journey = Journey(host, image, 3)
    journey.wait_part(0.2)
    journey.change(1)
    journey.wait_part(0.4)
    journey.change(2)
    journey.wait_part(0.6)
    journey.change(0)
    journey.arrived(0)


def case_old_dies(host, image):
    journey = Journey(host, image, 2)
    journey.wait_part(0.7)
    code, text = journey.retarget(1, "--no-wait")
    expect(code == 0, text)
    wait_for(lambda: state(journey) == "shared", "the change")
    journey.ends[0].process.kill()
    code = journey.sender.wait(120)
    expect(code == 0, f"send: {code} {journey.sender.tail()}")
    journey.source.ended()
    journey.ends[1].guest.wait_round()


def state(journey):
    code, text = journey.host.call([watari(), "status", "vm", "--json"])
    return json.loads(text).get("retarget", {}).get("state") if code == 0 else None


def case_new_dies(host, image):
    """First with the old destination there, then without."""
    journey = Journey(host, image, 2, HURRY)
    journey.wait_part(0.5)
    journey.change(1)
    journey.ends[1].process.kill()
    journey.arrived(0, dead=1)

    journey = Journey(host, image, 2, HURRY)
    journey.wait_part(0.5)
    journey.change(1)
    journey.ends[0].process.kill()
    journey.ends[1].process.kill()
    expect(journey.sender.wait(60) == 1, f"send: {journey.sender.tail()}")
    still_fine(journey.source)


def case_refusals(host, image):
    code, text = host.call([watari(), "retarget", "vm", "--to", "127.0.0.1:1/vm"])
    expect(code == 1 and "there is no job vm" in text, f"an unknown job: {code} {text}")
    journey = Journey(host, image, 2)
    other = Receive(Guest(host, image, incoming=True, **{**GUEST, "mb": 160}), "--insecure", "--job", "other")
    journey.wait_part(0.1)
    for target, word in ((journey.ends[0].target(), "already"), ("127.0.0.1:1/vm", "127.0.0.1"), (other.target(), "RAM block mem"),
                         ("127.0.0.1:1/other", "vm"), ("nowhere.invalid:1/vm", "nowhere.invalid")):
        code, text = journey.retarget(target)
        expect(code == 1 and word in text, f"retarget to {target}: {code} {text}")
        expect(journey.sender.running(), f"the migration did not go on: {journey.sender.tail()}")
    code, text = host.call([watari(), "retarget", "end0", "--to", journey.ends[1].target()])
    expect(code == 1 and "send" in text, f"told to a destination: {code} {text}")
    journey.change(1)
    journey.arrived(1)
    code, text = journey.retarget(1)
    expect(code == 1, f"after the end: {code} {text}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
