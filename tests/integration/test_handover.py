#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_handover.py CASE... - a guest goes from one QEMU to another on the same memory, on this machine; `all` runs every case.

Every case ends with exactly one guest that runs (or is paused, if it was) and whose own check finds no error. Nothing of its
memory is copied, so QEMU 7.2 without KVM is as good as 10.0 here (decision 0008).
"""

import contextlib
import copy
import os
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, alive, expect, main, need_sabotage, recover, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.handover import hand_over, start, successor  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import events  # noqa: E402

OLD_STATES = ("streaming", "stopped", "committing", "delivering")
NEW_STATES = ("receiving", "loading", "ready", "starting", "done")
DEATHS = [(when, state) for state in (*OLD_STATES, *NEW_STATES) for when in ("BEFORE", "AFTER")]
SHARED = {"machine": "pc-q35-7.2"}  # both versions have it
NET = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]


def first(host, image, **options):
    guest = Guest(host, image, **{**SMALL, **options})
    guest.wait_reports(2)
    return guest


def check_quick(told, ram_mb=SMALL["mb"]):
    """The memory stayed where it was, and QEMU did not even look at it."""
    expect(told["moved_bytes"] == ram_mb << 20, f"not all of the memory was handed over: {told}")
    expect(told["dropped_bytes"] == 0, f"QEMU walked over the memory: {told}")
    expect(told["stream_bytes"] < 4 << 20, f"too much went through the stream: {told}")


def case_move(host, image):
    """A file, twice; and a memfd, which QEMU 10.0 walks over the first time only: then it has a name."""
    guest = first(host, image, backend="file")
    for _ in range(2):
        guest, told = hand_over(guest, image, **SMALL)
        check_quick(told)
        guest.wait_reports(1)
    guest.wait_round()
    guest.quit()
    guest = first(host, image)
    guest, told = hand_over(guest, image, **SMALL)
    expect(told["dropped_bytes"] > 0, f"a memfd was left out by QEMU 10.0: {told}")
    guest, told = hand_over(guest, image, **SMALL)
    check_quick(told)
    guest.wait_round()


def case_versions(host, image):
    """7.2 and 10.0, to and fro, on a file and on a memfd; and 7.2 to 7.2, which leaves out a memfd, too."""
    for backend in ("file", "memfd"):
        guest = first(host, image, backend=backend, version="7.2", extra=NET, **SHARED)
        for version in ("10.0", "7.2", "7.2", "10.0"):
            guest, told = hand_over(guest, image, version=version, extra=NET, **SMALL, **SHARED)
            check_quick(told)
            print(f"  {backend}: {told['old_qemu']} to {told['new_qemu']}: {told['total_ms']:.0f} ms, "
                  f"{told['downtime_ms']:.1f} ms down", flush=True)
            guest.wait_reports(1)
        guest.wait_round()
        guest.quit()


def case_paused(host, image):
    """A guest that its operator has paused stays paused; and one with a disk takes its lock along. QEMU 7.2 would abort in the
    second handover of a guest that is paused all the time."""
    disk = os.path.join(host.run_dir, "disk.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    guest = first(host, image, backend="file", disk=disk)
    guest.call("stop")
    guest, _ = hand_over(guest, image, disk=disk, **SMALL)
    expect(guest.status() not in ("running", None), f"the new QEMU is {guest.status()}, not paused")
    guest.call("cont")
    still_fine(guest)
    locked = subprocess.run(["qemu-img", "info", disk], capture_output=True, check=False)
    expect(b"lock" in locked.stderr, "the new QEMU does not lock its image")
    guest, _ = hand_over(guest, image, disk=disk, **SMALL)
    guest.wait_round()
    guest.quit()
    options = {**SMALL, **SHARED, "disk": disk, "version": "7.2"}
    guest = Guest(host, image, backend="file", **options)
    guest.wait_reports(2)
    guest.call("stop")
    guest, _ = hand_over(guest, image, **options)
    new = successor(guest, image, **options)
    print(f"  {refused(start(guest, new), 'has run')}", flush=True)
    new.quit()
    guest.call("cont")
    still_fine(guest)


def case_disks(host, image):
    """Other images under the same name, other formats, more of them: refused."""
    names = [os.path.join(host.run_dir, name) for name in ("disk.raw", "other.raw")]
    for name in names:
        with open(name, "w") as file:
            file.truncate(1 << 20)
    drive = ["-device", "virtio-blk-pci,drive=d,id=disk"]
    old = ["-drive", f"file={names[0]},format=raw,if=none,id=d,file.locking=off", *drive]
    guest = first(host, image, backend="file", extra=old)
    other = ["-drive", f"file={names[1]},format=raw,if=none,id=d", *drive]
    refuse(guest, successor(guest, image, extra=other, **SMALL), "not the same image")
    more = ["-drive", f"file={names[1]},format=raw,if=none,id=more"]
    refuse(guest, successor(guest, image, extra=[*old, *more], **SMALL), "start the new one without it")
    os.rename(names[0], names[0] + ".old")
    os.rename(names[1], names[0])
    refuse(guest, successor(guest, image, extra=old, **SMALL), "not the same image")
    still_fine(guest)


def forwarder(path, target):
    """A unix socket that leads to another one, as `ssh -L` makes it: what is behind it may be on another host."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def pump(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)

    def serve():
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX)
        far.connect(target)
        threading.Thread(target=pump, args=(far, near), daemon=True).start()
        pump(near, far)

    threading.Thread(target=serve, daemon=True).start()


def refuse(old, new, text):
    """It is refused, with that text in the sentence; the old QEMU has its guest, the new one is unchanged."""
    said = refused(start(old, new), text)
    print(f"  {said}", flush=True)
    expect(old.status() == "running", f"the old QEMU is {old.status()}")
    new.quit()


def case_refused(host, image):
    """Each with one sentence, and the guest runs on in the old QEMU."""
    guest = first(host, image, backend="file")
    refuse(guest, Guest(host, image, incoming=True, backend="file", **SMALL), "is not the same memory in both QEMUs")
    refuse(guest, successor(guest, image, machine="pc", **SMALL), "machine type")
    far = successor(guest, image, **SMALL)
    direct, far.qmp = far.qmp, f"{host.run_dir}/forwarded.qmp"
    forwarder(far.qmp, direct)
    refuse(guest, far, "both QEMUs must run on this host")
    still_fine(guest)


def case_unlike(host, image):
    """The new QEMU is not like the old one, in ways that QEMU would not notice, or only when it is too late."""
    guest = first(host, image, backend="file")
    refuse(guest, successor(guest, image, extra=["-device", "virtio-rng-pci,id=rng"], **SMALL), "has a device 'rng'")
    refuse(guest, successor(guest, image, ram_options=",prealloc=on", **SMALL), "prealloc=on")
    refuse(guest, successor(guest, image, extra=["-smp", "2"], **SMALL), "processors")
    refuse(guest, successor(guest, image, extra=["-cpu", "max"], **SMALL), "the same -cpu")
    refuse(guest, successor(guest, image, machine="pc", ram_options=",discard-data=on", **SMALL), "machine type")
    refuse(guest, first(host, image, backend="file"), "does not wait for a migration")
    same = copy.copy(guest)
    same.qmp = guest.monitor
    print(f"  {refused(start(guest, same), 'are sockets of one QEMU')}", flush=True)
    still_fine(guest)
    new, _ = hand_over(guest, image, **SMALL)
    new.wait_round()
    private = Guest(host, image, numa=["-m", "160"], **SMALL)
    private.wait_reports(1)
    refuse(private, Guest(host, image, incoming=True, backend="file", **SMALL), "is private to the old QEMU")
    still_fine(private)


def only(guests):
    wait_for(lambda: sum(alive(guest) for guest in guests) == 1, "the end of the other QEMU", 15)
    return next(guest for guest in guests if alive(guest))


def die(guest, image, when, state, **options):
    """watari is killed at a step; `recover` brings it to an end; answers the guest that is left."""
    new = successor(guest, image, **options)
    process = start(guest, new, env={f"WATARI_DIE_{when}": state})
    code = process.wait(60)
    expect(code == -signal.SIGKILL, f"{when} {state}: exit code {code}: {process.tail()}")
    states = [one.status() for one in (guest, new)]
    expect(states.count("running") <= 1, f"two guests run: {states}")
    left = alive(new)
    answer, said = recover(guest.host, guest, new)
    if answer == 1 and alive(new) != left:  # it ended just now: its stream had
        answer, said = recover(guest.host, guest, new)
    expect(answer == 0, f"{when} {state}: recover: exit code {answer}: {said}")
    left = only((guest, new))
    print(f"  dies {when.lower()} {state}: {said}", flush=True)
    capabilities = {c["capability"]: c["state"] for c in left.call("query-migrate-capabilities")[1]}
    expect(not capabilities["x-ignore-shared"], f"{when} {state}: x-ignore-shared was left on")
    still_fine(left)
    return left


def case_sample(host, image):
    """watari dies behind its commit."""
    need_sabotage()
    die(first(host, image, backend="file"), image, "BEFORE", "starting", **SMALL)


def case_die(host, image):
    """At each step, with both versions and a disk."""
    need_sabotage()
    disk = os.path.join(host.run_dir, "disk.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "64M"], check=True)
    options = {**SMALL, **SHARED, "disk": disk}
    guest = Guest(host, image, backend="file", version="7.2", **options)
    guest.wait_reports(2)
    for number, (when, state) in enumerate(DEATHS):
        guest = die(guest, image, when, state, version=("10.0", "7.2")[number % 2], **options)
    guest.wait_round()


def case_qemu_dies(host, image):
    """The new QEMU is killed at each step before its guest runs: the old one has it, behind the commit by the operator's word,
    because the new one was told to run. The old one is killed behind the commit: the new one runs."""
    need_sabotage()
    guest = first(host, image, backend="file")
    for state in ("streaming", "stopped", "ready", "delivering"):
        new = successor(guest, image, **SMALL)
        process = start(guest, new, env={"WATARI_STOP_BEFORE": state})
        wait_for(lambda: any(e.get("state") == state for e in events(process)), f"state {state}")
        new.process.kill()
        process.signal(signal.SIGCONT)
        code = process.wait(60)
        expect(code == (3 if state == "delivering" else 1), f"{state}: exit code {code}: {process.tail()}")
        print(f"  the new one dies before {state}: {process.tail(1)}", flush=True)
        if state == "delivering":
            expect(guest.status() == "postmigrate", f"the old QEMU is {guest.status()}")
            guest.call("cont")
        still_fine(guest)
    new = successor(guest, image, **SMALL)
    process = start(guest, new, env={"WATARI_STOP_BEFORE": "delivering"})
    wait_for(lambda: any(e.get("state") == "delivering" for e in events(process)), "the commit")
    guest.process.kill()
    process.signal(signal.SIGCONT)
    expect(process.wait(60) == 0, f"the old one dies after the commit: {process.tail()}")
    still_fine(new)
    new.wait_round()


def case_abort(host, image):
    """Cancelled while the guest is stopped; a new QEMU that refuses the state; then it works all the same, and QEMU's
    capabilities are as they were."""
    need_sabotage()
    guest = first(host, image, backend="file")
    before = guest.call("query-migrate-capabilities")
    new = successor(guest, image, **SMALL)
    process = start(guest, new, env={"WATARI_STOP_BEFORE": "loading"})
    wait_for(lambda: any(e.get("state") == "loading" for e in events(process)), "the stop")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGCONT)
    print(f"  {refused(process, 'goes on in the old QEMU')}", flush=True)
    new.ended()
    still_fine(guest)
    expect(guest.call("query-migrate-capabilities") == before, "QEMU's capabilities were not put back")
    other = successor(guest, image, extra=["-machine", "hpet=off"], **SMALL)
    print(f"  {refused(start(guest, other), 'goes on in the old QEMU')}", flush=True)
    still_fine(guest)
    new, _ = hand_over(guest, image, **SMALL)
    capabilities = {c["capability"]: c["state"] for c in new.call("query-migrate-capabilities")[1]}
    expect(not capabilities["x-ignore-shared"], "x-ignore-shared was left on")
    new.wait_round()


def many(host, image, count):
    """One live guest, with both versions by turns."""
    guest = first(host, image, backend="file", extra=NET, **SHARED)
    down = []
    for number in range(count):
        guest, told = hand_over(guest, image, version=("7.2", "10.0")[number % 2], extra=NET, **SMALL, **SHARED)
        check_quick(told)
        down.append(told["downtime_ms"])
        if number % 10 == 9:
            guest.wait_reports(1)
            guest.check()
    guest.wait_round()
    down.sort()
    print(f"  {count} handovers: down {down[0]:.1f} to {down[-1]:.1f} ms, median {down[len(down) // 2]:.1f}", flush=True)


def case_few(host, image):
    """A few in a row."""
    many(host, image, 5)


def case_many(host, image):
    """200 in a row."""
    many(host, image, 200)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
