#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_retarget.py CASE... - the destination of a running migration is changed, on this machine.

  bulk      at 30 and 80 % of the first pass
  edges     at 3, 20, 50 and 95 %
  dirty     while the guest writes anew what has been sent
  chain     B, C, D, and a migration that goes back to B
  old_dies  the old destination's relay dies when the new one has begun
  new_dies  the new destination's relay dies: back to the old one, or none is left and the guest runs on
  again     there and back, and once more, at once
  cancel    the operator cancels, at several moments; QEMU's settings are put back
  unloaded  the old destination's QEMU is killed: its memory still counts
  cut       the old destination's cable is cut, before the change and behind it
  staged    memory that is private to the source QEMU, over one channel and over four
  source_dies  the source's relay is killed; then watari recover
  refusals  what cannot be, and the migration goes on
  stopped   when the guest is stopped already: it runs on, and a new migration begins
"""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import HURRY, expect, main, need_sabotage, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.journey import GUEST, Journey  # noqa: E402
from harness.migration import Receive, events, watari  # noqa: E402
from harness.network import network  # noqa: E402

def change_at(host, image, *parts):
    for part in parts:
        journey = Journey(host, image, 2)
        journey.wait_part(part)
        journey.change(1)
        summary = journey.arrived(1)
        expect(summary["verified"], f"not compared: {summary}")
        print(f"  at {part:.0%}: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)


def case_bulk(host, image):
    change_at(host, image, 0.3, 0.8)


def case_edges(host, image):
    change_at(host, image, 0.03, 0.2, 0.5, 0.95)


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


def case_again(host, image):
    """The sessions of helpers of the time before are not over yet when their numbers come anew."""
    journey = Journey(host, image, 2)
    journey.wait_part(0.1)
    for end in (1, 0, 1, 0, 1):
        journey.change(end)
    journey.arrived(1)


def settings(guest):
    parameters = guest.call("query-migrate-parameters")[1]
    return parameters["max-bandwidth"], parameters["downtime-limit"]


def wait_state(journey, *states):
    wait_for(lambda: state(journey) in states or not journey.sender.running(), f"the change to be {states}")
    expect(journey.sender.running(), f"send ended: {journey.sender.tail()}")


def case_cancel(host, image):
    """Nothing of it goes on: no way back is taken, and the sentence is the operator's."""
    for moment in ("shared", "done", "back"):
        journey = Journey(host, image, 2)
        before = settings(journey.source)
        journey.wait_part(0.4)
        code, text = journey.retarget(1, "--no-wait") if moment == "shared" else journey.retarget(1)
        expect(code == 0, text)
        if moment == "shared":
            wait_state(journey, "shared")
        elif moment == "back":
            code, text = journey.retarget(0, "--no-wait")
            expect(code == 0, text)
        code, text = host.call([watari(), "cancel", "vm"])
        expect(code == 0, f"cancel: {code} {text}")
        expect(journey.sender.wait(60) == 1, f"send: {journey.sender.tail()}")
        expect(not any(e["event"] == "going_back" for e in events(journey.sender)), f"{moment}: {journey.sender.tail()}")
        expect(journey.sender.find("cancelled by the operator; the guest goes on here"), f"{moment}: {journey.sender.tail()}")
        for end in journey.ends:
            expect(end.process.wait(30) == 1, f"{moment}: receive: {end.process.tail()}")
            end.guest.ended()
        still_fine(journey.source)
        expect(settings(journey.source)[1] == 300 or settings(journey.source) == before, f"{moment}: {settings(journey.source)}")
        journey.source.process.kill()


def case_unloaded(host, image):
    journey = Journey(host, image, 2)
    journey.wait_part(0.6)
    code, text = journey.retarget(1, "--no-wait")
    expect(code == 0, text)
    wait_state(journey, "shared", "done")
    journey.ends[0].guest.process.kill()
    journey.arrived(1)


def case_cut(host, image):
    """Before: it does not answer, and all comes from the source. Behind: it serves no more."""
    for before in (True, False):
        with network(3) as net:
            journey = Journey(net.hosts[0], image, 2, HURRY, receive=HURRY, others=net.hosts[1:])
            journey.wait_part(0.5)
            if before:
                net.cut(1)
            code, text = journey.retarget(1, "--no-wait", "--prefer", "old-destination")
            expect(code == 0, text)
            if not before:
                wait_state(journey, "shared")
                net.cut(1)
            code = journey.sender.wait(120)
            expect(code == 0, f"send: {code} {journey.sender.tail()}")
            expect(journey.ends[1].process.wait(30) == 0, f"receive: {journey.ends[1].process.tail()}")
            journey.source.ended()
            journey.ends[1].guest.wait_round()
            expect(journey.ends[0].process.wait(60) == 1, f"the old one: {journey.ends[0].process.tail()}")
            journey.ends[0].guest.ended()
            journey.ends[1].guest.process.kill()


def case_staged(host, image):
    private = {"numa": ("-object", "memory-backend-ram,id=mem,size=192M", "-machine", "memory-backend=mem")}
    for channels in (1, 4):
        journey = Journey(host, image, 2, ["--channels", str(channels)], source=private)
        journey.wait_part(0.5)
        journey.change(1)
        summary = journey.arrived(1)
        print(f"  {channels} channels: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)


def case_source_dies(host, image):
    journey = Journey(host, image, 2, receive=HURRY)
    journey.wait_part(0.4)
    code, text = journey.retarget(1, "--no-wait")
    expect(code == 0, text)
    wait_state(journey, "shared")
    journey.sender.kill()
    for end in journey.ends:
        expect(end.process.wait(60) == 1, f"receive: {end.process.tail()}")
        end.guest.ended()
    code, text = host.call([watari(), "recover", "--qmp", journey.source.qmp])
    print(f"  recover: {text}", flush=True)
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


def held(host, image, **more):
    """A journey whose guest is stopped, and stays so: the destination's relay is held."""
    journey = Journey(host, image, 2, envs=[{"WATARI_STOP_BEFORE": "verifying"}, None], **more)
    wait_for(lambda: job_state(journey) == "stopped" or not journey.sender.running(), "the guest to be stopped")
    wait_for(lambda: "T" in process_state(journey.ends[0].process), "the destination's relay to be held")
    return journey


def job_state(journey):
    code, text = journey.host.call([watari(), "status", "vm", "--json"])
    return json.loads(text).get("state") if code == 0 else None


def process_state(process):
    with open(f"/proc/{process.child.pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def case_stopped(host, image):
    need_sabotage()
    journey = held(host, image)
    code, text = journey.retarget(0)
    expect(code == 1 and "start another one" in text, f"to where it is: {code} {text}")
    code, text = journey.retarget(1, "--no-wait")
    expect(code == 0, text)
    wait_state(journey, "restarting")
    journey.ends[0].process.signal(signal.SIGCONT)
    wait_state(journey, "restarted")
    expect(journey.source.status() == "running", f"the guest is {journey.source.status()} at the source")
    summary = journey.arrived(1)
    expect(summary["verified"] and summary["retarget"]["good"] and summary["retarget"]["restarted"], f"{summary}")
    replica, pulled = summary["destination"]["replica_bytes"], summary["tcp_bytes"]
    print(f"  {pulled} bytes pulled, {replica} of them from the destination that was given up; down {summary['downtime_ms']:.0f} ms", flush=True)
    expect(summary["replica_pages"] > 0.5 * summary["digested_pages"] > 0, f"{summary}")
    expect(pulled - replica < 0.3 * pulled, f"{summary}")
    expect(journey.ends[0].process.wait(30) == 0, f"the one that was given up: {journey.ends[0].process.tail()}")

    # Nobody is there: the guest goes on at the source, and all ends.
    journey = held(host, image)
    before = settings(journey.source)
    code, text = journey.retarget("127.0.0.1:1/vm", "--no-wait")
    expect(code == 0, text)
    journey.ends[0].process.signal(signal.SIGCONT)
    expect(journey.sender.wait(60) == 1 and journey.sender.find("the guest goes on here"), f"send: {journey.sender.tail()}")
    expect(journey.ends[0].process.wait(30) == 1, f"receive: {journey.ends[0].process.tail()}")
    journey.ends[0].guest.ended()
    still_fine(journey.source)
    expect(settings(journey.source)[1] in (300, before[1]), f"settings: {settings(journey.source)}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
