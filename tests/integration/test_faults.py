#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_faults.py CASE... - one failure at each step of the switchover, on this machine, over tcp; `all` runs every case.

A cell is a kind of guest and a fault. Kinds: without a disk, or with a qcow2 image that both QEMUs open (with QEMU's
locks); running, or paused by its operator. Faults: a relay kills itself before or after it does what a state wants; or
a relay is held (SIGSTOP) where it comes to a state, and meanwhile a QEMU is killed, or the network is cut, for good or
until a relay has noticed. So a fault comes when its name says. What must hold in each cell:

  1. never do two guests run;
  2. while the source QEMU, or a COMMIT that was received, survives, exactly one guest is left after `watari recover`: it
     runs (a paused one: it can), its memory is right, and every other QEMU is gone;
  3. otherwise there may be none; then no relay claims success (unless the guest had moved and run before its QEMU
     died), and `recover` says so (exit code 3). A destination that was loaded runs by the operator's word, --force-run.
One exception, see BUGS in watari(1): a paused guest that was given back to the source after its commit record. `recover`
cannot know and leaves it to the operator; `send` said so with exit code 1, and the guest can run at the source. And one
that cannot be told apart: a paused guest has arrived, `receive` said so with exit code 0, and the source has quit.

`sample` takes some cells of all kinds at random; WATARI_SEED=N repeats a choice, WATARI_CELLS=TEXT,... takes those whose
name contains one of the texts. All cases need a test build (CMake option WATARI_SABOTAGE).
"""

import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import HURRY, SMALL, alive, expect, main, need_sabotage, recover, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import Failure, wait_for  # noqa: E402
from harness.migration import Migration, events, install_key  # noqa: E402
from harness.network import network  # noqa: E402

STATES = {"send": ("streaming", "stopped", "committing", "delivering", "done"),
          "receive": ("receiving", "verifying", "loading", "ready", "starting", "done")}
KINDS = {"plain": {"disk": False, "paused": False}, "paused": {"disk": False, "paused": True},
         "disk": {"disk": True, "paused": False}, "disk-paused": {"disk": True, "paused": True}}
HOLDS = [(relay, state) for relay, states in STATES.items() for state in states]
# (what fails, the relay whose state says when, how, the state)
DEATHS = [(relay, relay, when, state) for relay, state in HOLDS for when in ("BEFORE", "AFTER")] + \
    [(victim, relay, "BEFORE", state) for victim in ("source", "destination") for relay, state in HOLDS]
CUTS = [(victim, relay, "BEFORE", state) for victim in ("network", "network for a while") for relay, state in HOLDS
        if state != "done"]
SEND_FOR = {"verifying": ["--verify"]}  # what makes a migration come to the state
SAMPLE = 2  # of each kind


class World:
    """The guest that is left, where, and what happened so far."""

    def __init__(self, hosts, image, kind, net=None):
        self.hosts, self.image, self.kind, self.net = hosts, image, kind, net
        self.keys = install_key(hosts) if net else None
        self.options = dict(SMALL)
        self.guest = None
        self.moved = False  # it came by a migration
        self.results = {}
        if KINDS[kind]["disk"]:
            self.options["disk"] = os.path.join(hosts[0].run_dir, "disk.qcow2")
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.options["disk"], "64M"], check=True)

    def source(self):
        """The guest to be moved next; in the state of its kind. A paused one that came by a migration itself would not do:
        see BUGS in watari(1)."""
        if self.guest and self.moved and KINDS[self.kind]["paused"]:
            self.guest.quit()
            self.guest = None
        if not self.guest:
            self.guest = Guest(self.hosts[0], self.image, **self.options)
            self.guest.wait_reports(2)
            if "disk" in self.options:
                locked = subprocess.run(["qemu-img", "info", self.options["disk"]], capture_output=True, check=False)
                expect(b"lock" in locked.stderr, "QEMU does not lock its image: this proves nothing")
        if KINDS[self.kind]["paused"]:
            self.guest.call("stop")
        return self.guest

    def other_host(self):
        return self.hosts[-1] if self.guest.host is self.hosts[0] else self.hosts[0]

    def keys_of(self, *guests):
        return self.keys and [self.keys[self.hosts.index(guest.host)] for guest in guests]


def running(*guests):
    """How many of them run; Failure if more than one does."""
    states = [guest.status() if alive(guest) else None for guest in guests]
    expect(states.count("running") <= 1, f"two guests run: {states}")
    return states.count("running")


def strike(world, attempt, source, destination, cell):
    """The fault happens. Returns when both relays have ended."""
    victim, relay, _, state = cell
    held = attempt.sender if relay == "send" else attempt.receiver
    relays = (attempt.sender, attempt.receiver)
    if victim in STATES:
        held.wait(60)
        expect(held.child.returncode == -signal.SIGKILL, f"{relay} did not die: {held.tail()}")
    else:
        wait_for(lambda: any(e.get("state") == state for e in events(held)), f"{relay} at {state}: {held.tail()}")
        if victim == "source":
            source.process.kill()
        elif victim == "destination":
            destination.process.kill()
        else:
            world.net.cut()
        held.signal(signal.SIGCONT)
        if victim == "network for a while":
            wait_for(lambda: any(r.find('"lost"') or not r.running() for r in relays), "a relay that notices the cut")
            world.net.mend()
    running(source, destination)
    try:
        wait_for(lambda: not any(r.running() for r in relays), "the end of both relays", 90)
    except Failure as failure:
        raise Failure(f"{failure}; send: {relays[0].tail()}; receive: {relays[1].tail()}") from None
    if victim == "network":
        world.net.mend()


def living(source, destination):
    return [guest for guest in (source, destination) if alive(guest)]


def after(source, destination, committed, codes, cell, kind, stays=False):
    """What is left: (the only guest, or None; what was said). codes are those of `send` and `receive`; stays: `send` said that the
    source's QEMU has not ended."""
    code, received = codes
    said = "nothing to recover"
    if code == 0 and alive(destination) and not stays:
        source.ended()
    left = living(source, destination)
    died_with_it = committed and cell[0] == "destination"
    promised = alive(source) and not died_with_it or committed and alive(destination)
    given_back = left == [source] and code == 1 and KINDS[kind]["paused"]
    if left and not (len(left) == 1 and code == 0):
        answer, said = recover(source.host, source, destination)
        if answer == 1 and living(source, destination) != left:  # a QEMU that had been told to quit did so just now
            left = living(source, destination)
            answer, said = recover(source.host, source, destination) if left else (0, "nobody was left to ask")
        expect(answer in (0, 3), f"recover: exit code {answer}: {said}")
        if answer == 3 and given_back:
            return source, f"given back, and recover does not know: {said}"
        if answer == 3 and KINDS[kind]["paused"] and received == 0 and left == [destination]:
            return destination, f"arrived paused, `receive` said so, and recover cannot know: {said}"
        if answer == 3:
            expect(not promised, f"recover leaves it to the operator, although it need not: {said}")
            if not alive(source) and alive(destination):
                answer, forced = recover(source.host, source, destination, "--force-run")
                said += f"; then --force-run: {forced}"
        left = only(left) if answer == 0 and left else []
    expect(left or not promised, f"no guest is left: {said}")
    moved_and_died = cell[0] == "destination" and cell[3] == "done"  # its guest had run before its QEMU was killed
    expect(left or code != 0 or moved_and_died, "send claims success, and no guest is left")
    return (left[0] if left else None), said


def only(guests):
    """Waits until recover's work is done, one guest left; answers it in a list."""
    wait_for(lambda: sum(alive(guest) for guest in guests) == 1, "the end of the other QEMU", 15)
    return [guest for guest in guests if alive(guest)]


def run_cell(world, cell):
    """One migration with one fault; afterwards world.guest is what is left."""
    victim, relay, when, state = cell
    source = world.source()
    destination = Guest(world.other_host(), world.image, incoming=True, **world.options)
    env = {f"WATARI_{'DIE' if victim in STATES else 'STOP'}_{when}": state}
    patience = ["--reconnect-timeout", "30s"] if victim == "network for a while" else HURRY
    attempt = Migration(source, destination, keys=world.keys_of(source, destination),
                        send=[*patience, *SEND_FOR.get(state, []), *(["--shared-storage"] if "disk" in world.options else [])],
                        receive=patience,
                        **{"env" if relay == "send" else "receive_env": env})
    strike(world, attempt, source, destination, cell)
    codes = (attempt.sender.child.returncode, attempt.receiver.child.returncode)
    committed = any(e.get("state") == "starting" for e in events(attempt.receiver))
    world.guest, said = after(source, destination, committed, codes, cell, world.kind)
    world.moved = world.guest is destination
    if world.guest:
        if KINDS[world.kind]["paused"] and world.guest.status() != "running":
            world.guest.call("cont")
        still_fine(world.guest)
        running(*[guest for guest in (source, destination) if alive(guest)])
    for guest in (source, destination):
        if guest is not world.guest:
            guest.quit()
    return ("nobody" if not world.guest else "source" if world.guest is source else "destination"), codes, said


def name_of(cell):
    victim, relay, when, state = cell
    what = f"{victim} dies" if victim in STATES or victim in ("source", "destination") else f"{victim} fails"
    return f"{what} {when.lower()} {relay}:{state}"


def run_cells(hosts, image, kind, cells, net=None):
    """Every cell, also after one has failed; Failure at the end with all that did."""
    need_sabotage()
    wanted = os.environ.get("WATARI_CELLS", "").split(",")
    world = World(hosts, image, kind, net)
    failed = []
    for cell in cells:
        name = f"{kind}: {name_of(cell)}"
        if not any(text in name for text in wanted):
            continue
        try:
            left, codes, said = run_cell(world, cell)
            print(f"  {name}: left is {left}; exit codes {codes[0]}, {codes[1]}; {said}", flush=True)
        except Failure as failure:
            left = "FAILED"
            failed.append(name)
            print(f"  {name}: FAILED: {failure}", flush=True)
            for host in hosts:
                host.end_processes()
            world.guest = None
        world.results[cell] = left
    table(world.results)
    if world.guest:
        world.guest.quit()
    expect(world.results, "no cell was chosen; see WATARI_CELLS")
    expect(not failed, f"{len(failed)} of {len(world.results)} cells failed: {'; '.join(failed)}")


def table(results):
    """Which guest was left, by victim, and by the state of the relay."""
    rows = {}
    for (victim, relay, when, state), left in results.items():
        rows.setdefault((relay, state), []).append(f"{victim} {when.lower()}: {left}")
    for (relay, state), words in rows.items():
        print(f"  {relay + ':' + state:20} {', '.join(words)}", flush=True)
    lefts = list(results.values())
    print(f"  {len(lefts)} cells: " + ", ".join(f"{lefts.count(left)} {left}" for left in sorted(set(lefts))), flush=True)


def case_sample(host, image):
    """Some cells of every kind."""
    seed = int(os.environ.get("WATARI_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"  WATARI_SEED={seed} repeats this choice", flush=True)
    choose = random.Random(seed)
    for kind in KINDS:
        run_cells([host], image, kind, choose.sample(DEATHS, SAMPLE))


def case_earlier(host, image):
    """A destination of an earlier attempt is left loaded; the guest moves to another one; `recover` is asked about the first."""
    need_sabotage()
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    orphan = Guest(host, image, incoming=True, **SMALL)
    attempt = Migration(source, orphan, receive=HURRY, env={"WATARI_DIE_BEFORE": "committing"})
    attempt.sender.wait(60)
    expect(attempt.receiver.wait(90) == 3, f"receive: {attempt.receiver.tail()}")
    wait_for(lambda: source.status() == "running", "the guest at the source")
    expect(orphan.status() != "running", "the first destination runs")

    destination = Guest(host, image, incoming=True, **SMALL)
    Migration(source, destination, send=["--keep-source"]).succeed()
    running(source, orphan, destination)
    for options in ((), ("--force-run",)):
        answer, said = recover(host, source, orphan, *options)
        print(f"  asked about the first: {said}", flush=True)
        expect(answer == 3 and "another destination" in said, f"recover: exit code {answer}: {said}")
        expect(alive(source) and alive(orphan) and orphan.status() != "running", "recover has touched what is not its own")
    still_fine(destination)
    answer, said = recover(host, source, destination)
    expect(answer == 0, f"recover: exit code {answer}: {said}")
    source.ended()

    third = Guest(host, image, incoming=True, **SMALL)
    attempt = Migration(destination, third, receive=HURRY, env={"WATARI_STOP_BEFORE": "streaming"})
    wait_for(lambda: any(e.get("state") == "streaming" for e in events(attempt.sender)), "the second move")
    attempt.sender.kill()
    attempt.receiver.wait(90)
    answer, said = recover(host, destination, orphan)
    print(f"  asked by a source that has its guest: {said}", flush=True)
    expect(answer == 0 and "another migration's" in said and alive(orphan), f"recover: exit code {answer}: {said}")
    still_fine(destination)
    for guest in (orphan, destination, third):
        guest.quit()


def case_plain(host, image):
    run_cells([host], image, "plain", DEATHS)


def case_paused(host, image):
    run_cells([host], image, "paused", DEATHS)


def case_disk(host, image):
    run_cells([host], image, "disk", DEATHS)


def case_disk_paused(host, image):
    run_cells([host], image, "disk-paused", DEATHS)


def case_cut(host, image):
    """The network fails in the switchover, between two namespaces."""
    with network() as net:
        run_cells(net.hosts, image, "plain", CUTS, net)
        run_cells(net.hosts, image, "disk-paused", CUTS, net)


def case_cut_sample(host, image):
    """The deadline of the switchover: the source runs on, and the next attempt completes. After the commit: recover."""
    with network() as net:
        cells = [cell for cell in CUTS if cell[0] == "network" and cell[1:] in
                 (("send", "BEFORE", "stopped"), ("send", "BEFORE", "committing"), ("receive", "BEFORE", "starting"))]
        run_cells(net.hosts, image, "plain", cells, net)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
