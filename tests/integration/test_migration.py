#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_migration.py CASE... - real QEMUs on this machine, over tcp; `all` runs every case.

Every case ends with exactly one guest that runs (or is paused, if it was) and whose own check finds no error. Cases
that need a test build (CMake option WATARI_SABOTAGE) say so and are skipped (77) without.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402
from harness.migration import Migration, events, install_key, watari  # noqa: E402

SMALL = {"mb": 160, "work_mb": 24, "rate": 1000}
BUSY = {**SMALL, "rate": 8000}  # many pages are dirtied while it moves
HURRY = ["--reconnect-timeout", "2s"]


class Skip(Exception):
    """The case cannot run here."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def has_sabotage():
    with open(os.path.join(os.path.dirname(watari()), "CMakeCache.txt")) as file:
        return "WATARI_SABOTAGE:BOOL=ON" in file.read()


def need_sabotage():
    if not has_sabotage():
        raise Skip("needs a build with -DWATARI_SABOTAGE=ON")


def alive(guest):
    return guest.process.running()


def one_runs(*guests):
    """Failure unless exactly one of the guests runs."""
    states = {guest.name: guest.status() if alive(guest) else "ended" for guest in guests}
    expect(list(states.values()).count("running") == 1, f"exactly one guest should run: {states}")


def still_fine(guest):
    """The guest runs, and its memory is right."""
    expect(guest.status() == "running", f"{guest.name} is {guest.status()}, not running")
    guest.wait_reports(2)
    guest.check()


def move(host, image, **options):
    """Boots a guest, moves it with RAM compared, lets it check itself; answers the destination."""
    source = Guest(host, image, **{**SMALL, **options})
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **{**SMALL, **options})
    summary = Migration(source, destination, keys=install_key([host, host]), send=["--verify"]).succeed()
    expect(summary["verified"] and summary["destination"]["compared_pages"] * 4096 == summary["ram_bytes"],
           f"not all RAM was compared: {summary}")
    source.ended()
    destination.wait_round()
    return destination


def case_move(host, image):
    """q35 on memfd, twice in a row; pc on a file; two NUMA nodes."""
    first = move(host, image)
    second = Guest(host, image, incoming=True, **SMALL)
    Migration(first, second, send=["--verify"]).succeed()
    second.wait_round()
    second.quit()
    move(host, image, machine="pc", backend="file").quit()
    numa = ("-object", "memory-backend-memfd,id=n0,size=80M,share=on", "-object",
            "memory-backend-memfd,id=n1,size=80M,share=on", "-numa", "node,memdev=n0", "-numa", "node,memdev=n1")
    move(host, image, numa=numa).quit()


def move_with(host, image, source_options=(), **options):
    """Moves a guest whose source side is started or sent differently; answers the summary."""
    source = Guest(host, image, **{**BUSY, **dict(source_options)})
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **BUSY)
    summary = Migration(source, destination, send=["--verify", *options.get("send", ())]).succeed()
    destination.wait_round()
    destination.quit()
    return summary


def case_multifd(host, image):
    """QEMU writes its stream over several channels: machine types that synchronise per round and per section."""
    for machine in ("q35", "pc-q35-7.2"):
        for channels in (2, 4):
            guest = {**BUSY, "machine": machine, "extra": ("-device", "VGA")}  # its RAM is not shared: it stays in the stream
            source = Guest(host, image, **guest)
            source.wait_reports(2)
            destination = Guest(host, image, incoming=True, **guest)
            summary = Migration(source, destination, send=["--verify", "--channels", str(channels)]).succeed()
            expect(summary["channels"] == channels, f"not over {channels} channels: {summary}")
            destination.wait_round()
            destination.quit()
            print(f"  {machine}, {channels} channels: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms",
                  flush=True)


def case_staged(host, image):
    """RAM that is private to the source QEMU is copied out of its stream, over one channel and over four."""
    private = {"numa": ("-object", "memory-backend-ram,id=mem,size=160M", "-machine", "memory-backend=mem")}
    for channels in (1, 4):
        summary = move_with(host, image, private, send=["--channels", str(channels)])
        expect(summary["copied_pages"] << 12 == summary["moved_bytes"] > 0, f"not all was copied: {summary}")
        expect(summary["destination"]["compared_pages"] << 12 == summary["ram_bytes"], f"not all was compared: {summary}")
        print(f"  staged, {channels} channels: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)


def case_paused(host, image):
    """A guest that its operator has paused arrives paused, and runs on when told to."""
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    source.call("stop")
    if has_sabotage():
        destination = Guest(host, image, incoming=True, **SMALL)
        attempt = Migration(source, destination, send=["--verify"], env={"WATARI_SABOTAGE": "drop"})
        expect(attempt.finish()[0] == 1, "a migration with dropped pages succeeded")
        expect(source.status() != "running", "a paused guest runs after an aborted migration")
    destination = Guest(host, image, incoming=True, **SMALL)
    Migration(source, destination, send=["--verify"]).succeed()
    expect(destination.status() not in ("running", None), f"the destination is {destination.status()}, not paused")
    destination.call("cont")
    destination.wait_round()


def refused(process, text, timeout_s=60):
    """The command ends with an error that contains the text, in one sentence."""
    code = process.wait(timeout_s)
    expect(code not in (0, -signal.SIGSEGV, -signal.SIGABRT), f"exit code {code}: {process.tail()}")
    said = [line for line in process.lines if line.startswith("watari: ")]
    expect(any(text in line for line in said), f'no word of "{text}": {process.tail()}')


def send(host, guest, target, *options):
    return host.start([watari(), "send", "--qmp", guest.qmp, "--json", *options, target], "send")


def case_bad_input(host, image):
    """Each mistake gets its sentence; the source guest runs on, and the next attempt succeeds."""
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    refused(send(host, source, "127.0.0.1:1/vm", "--insecure"), "refused")
    refused(send(host, source, "no-such-host.invalid:7/vm", "--psk", install_key([host])[0]), "no-such-host.invalid")
    refused(send(host, source, "10.0.0.1:7/vm", "--insecure"), "loopback")
    refused(send(host, source, "127.0.0.1:7/vm"), "--psk")
    refused(host.start([watari(), "send", "--qmp", "/nonexistent", "--insecure", "127.0.0.1:7/vm"], "send"),
            "/nonexistent")

    other = Guest(host, image, incoming=True, **{**SMALL, "mb": 192})
    wrong = Migration(source, other)
    refused(wrong.sender, "mem")
    expect(wrong.receiver.running() and alive(other), "a source that does not fit must not end the destination")
    wrong.receiver.signal(signal.SIGTERM)
    wrong.receiver.wait(20)
    other.quit()

    destination = Guest(host, image, incoming=True, **SMALL)
    receiver = host.start([watari(), "receive", "--qmp", destination.qmp, "--json", "--insecure", "127.0.0.1:0/vm"],
                          "receive")
    port = wait_for(lambda: next((e["port"] for e in events(receiver) if e["event"] == "listening"), 0), "receive")
    refused(send(host, source, f"127.0.0.1:{port}/other", "--insecure"), "other")
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(4096), b"\0WATARI\1" + b"\xff" * 400, b""):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(garbage)
    key = install_key([host])[0]
    refused(send(host, source, f"127.0.0.1:{port}/vm", "--psk", key), "127.0.0.1")
    still_fine(source)
    expect(receiver.running(), f"receive ended: {receiver.tail()}")
    expect(send(host, source, f"127.0.0.1:{port}/vm", "--insecure", "--verify").wait(120) == 0, "the good one failed")
    expect(receiver.wait(30) == 0, f"receive: {receiver.tail()}")
    destination.wait_round()


def case_same_memory(host, image):
    """Two QEMUs on one RAM file: pulling it into itself would destroy it, and no comparison would notice."""
    ram = {"backend": "file", "ram_file": os.path.join(host.run_dir, "one.ram")}
    source = Guest(host, image, **SMALL, **ram)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **SMALL, **ram)
    wrong = Migration(source, destination)
    refused(wrong.sender, "same memory")
    still_fine(source)
    wrong.receiver.signal(signal.SIGTERM)
    wrong.receiver.wait(20)


def case_secure(host, image):
    """Wrong key and wrong identity are refused; the right one is not."""
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **SMALL)
    right = install_key([host])[0]
    receiver = host.start([watari(), "receive", "--qmp", destination.qmp, "--json", "--psk", right, "127.0.0.1:0/vm"],
                          "receive")
    port = wait_for(lambda: next((e["port"] for e in events(receiver) if e["event"] == "listening"), 0), "receive")
    wrong = os.path.join(host.run_dir, "wrong.psk")
    for line in ("watari:" + "ab" * 32, "stranger:" + "cd" * 32):
        with open(os.open(wrong, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(line + "\n")
        refused(send(host, source, f"127.0.0.1:{port}/vm", "--psk", wrong), "key")
    refused(send(host, source, f"127.0.0.1:{port}/vm", "--insecure"), "127.0.0.1")
    os.chmod(wrong, 0o644)
    refused(send(host, source, f"127.0.0.1:{port}/vm", "--psk", wrong), "wrong.psk")
    still_fine(source)
    expect(send(host, source, f"127.0.0.1:{port}/vm", "--psk", right).wait(120) == 0, "the right key failed")
    expect(receiver.wait(30) == 0, receiver.tail())
    destination.wait_round()


def found_by_guest(host, image, source, how):
    """Moves the guest with pages spoilt on purpose; answers whether it says so itself, in a minute. Which pages are
    spoilt is chance: they may be of its kernel, and it may die without a word."""
    destination = Guest(host, image, incoming=True, **BUSY)
    Migration(source, destination, env={"WATARI_SABOTAGE": how}).succeed()
    try:
        wait_for(destination.failures, f"the guest's word that a page is wrong ({how})", 40)
    except Failure as failure:
        print(f"  {failure}: {destination.console().splitlines()[-1:]}", flush=True)
    found = destination.failures()
    destination.process.kill()
    return bool(found)


def case_sabotage(host, image):
    """Dropped, stale and misplaced pages are found by the guest itself, and by --verify before anything is committed."""
    need_sabotage()
    for how in ("drop", "stale", "swap"):
        source = Guest(host, image, **BUSY)
        source.wait_reports(2)
        destination = Guest(host, image, incoming=True, **BUSY)
        attempt = Migration(source, destination, send=["--verify"], env={"WATARI_SABOTAGE": how})
        expect(attempt.finish()[0] == 1 and attempt.sender.find("RAM differs"), f"--verify does not find {how}")
        still_fine(source)
        destination.ended()
        for left in (2, 1, 0):
            if found_by_guest(host, image, source, how):
                break
            expect(left, f"the guest did not find {how} in three migrations")
            source = Guest(host, image, **BUSY)
            source.wait_reports(2)


def recover(host, source, destination):
    argv = [watari(), "recover"]
    if alive(source):
        argv += ["--qmp", source.qmp]
    if alive(destination):
        argv += ["--destination-qmp", destination.qmp]
    return host.call(argv)


def crash(host, image, source, where, when, state):
    """One relay dies at one step; afterwards `recover` brings it to exactly one. Answers the guest that runs."""
    destination = Guest(host, image, incoming=True, **SMALL)
    env = {f"WATARI_DIE_{when}": state}
    if where == "receive":
        os.environ.update(env)
    try:
        attempt = Migration(source, destination, env=env if where == "send" else None, send=HURRY, receive=HURRY)
    finally:
        os.environ.pop(f"WATARI_DIE_{when}", None)
    victim = attempt.sender if where == "send" else attempt.receiver
    victim.wait(60)
    expect(victim.child.returncode == -signal.SIGKILL, f"{where} did not die at {state}: {victim.tail()}")
    other = attempt.receiver if where == "send" else attempt.sender
    wait_for(lambda: not other.running(), f"the other relay's end after {where} died {when} {state}", 60)
    states = [guest.status() if alive(guest) else None for guest in (source, destination)]
    expect(states.count("running") <= 1, f"two guests run: {states}")
    code, text = recover(host, source, destination)
    expect(code == 0, f"recover after {where} died {when} {state} ({states}): {text}")
    guests = [guest for guest in (source, destination) if alive(guest)]
    wait_for(lambda: [g.status() for g in guests].count("running") == 1, "one running guest", 10)
    survivor = next(guest for guest in guests if guest.status() == "running")
    still_fine(survivor)
    for guest in guests:
        if guest is not survivor:
            guest.ended()
    print(f"  {where} died {when.lower()} {state}: {text}", flush=True)
    return survivor


STEPS = [("send", "AFTER", "streaming"), ("send", "BEFORE", "stopped"), ("send", "BEFORE", "committing"),
         ("send", "AFTER", "committing"), ("send", "BEFORE", "delivering"), ("send", "AFTER", "delivering"),
         ("send", "BEFORE", "done"), ("receive", "AFTER", "receiving"), ("receive", "BEFORE", "loading"),
         ("receive", "AFTER", "loading"), ("receive", "BEFORE", "ready"), ("receive", "AFTER", "ready"),
         ("receive", "BEFORE", "starting"), ("receive", "AFTER", "starting"), ("receive", "BEFORE", "done")]


def case_crash(host, image, steps=None):
    """Each relay dies at every step of the switchover."""
    need_sabotage()
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    for where, when, state in steps or STEPS:
        source = crash(host, image, source, where, when, state)
    source.quit()


def qemu_dies(host, image, state, relay, victim):
    """A QEMU dies while one relay is stopped at a state."""
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **SMALL)
    env = {"WATARI_STOP_BEFORE": state}
    if relay == "receive":
        os.environ.update(env)
    try:
        attempt = Migration(source, destination, env=env if relay == "send" else None, send=HURRY, receive=HURRY)
    finally:
        os.environ.pop("WATARI_STOP_BEFORE", None)
    stopped = attempt.sender if relay == "send" else attempt.receiver
    wait_for(lambda: any(e.get("state") == state for e in events(stopped)), f"{relay} at {state}")
    dead, other = (source, destination) if victim == "source" else (destination, source)
    dead.process.kill()
    stopped.signal(signal.SIGCONT)
    codes = attempt.finish()
    if victim == "destination":
        expect(codes[0] != 0, "send succeeded although the destination died")
        still_fine(other)
    else:
        expect(codes[0] != 0, "send succeeded although the source died before the commit")
        expect(other.status() != "running", "the destination runs although nothing was committed")
    print(f"  {victim} QEMU died while {relay} was at {state}: exit codes {codes}", flush=True)
    source.quit()
    destination.quit()


def case_qemu_crash(host, image):
    """QEMUs die during the switchover: the survivor runs, or nobody does and nothing pretends otherwise."""
    need_sabotage()
    for state, relay, victim in (("stopped", "send", "destination"), ("loading", "receive", "destination"),
                                 ("ready", "receive", "destination"), ("stopped", "send", "source")):
        qemu_dies(host, image, state, relay, victim)


def netns(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


def case_cut(host, image):
    """The network fails in mid-transfer and comes back; it fails in the switchover and the source runs on."""
    if subprocess.run(["ip", "netns", "add", "wtprobe"], capture_output=True, check=False).returncode:
        raise Failure("network namespaces are needed: run as root, with CAP_NET_ADMIN")
    netns("netns", "del", "wtprobe")
    tag = f"wt{os.getpid() % 10000}"
    names = [f"{tag}a", f"{tag}b"]
    try:
        for name in names:
            netns("netns", "add", name)
        netns("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for i, name in enumerate(names):
            for words in (["address", "add", f"10.99.0.{i + 1}/24", "dev", name], ["link", "set", name, "up"],
                          ["link", "set", "lo", "up"]):
                netns("-n", name, *words)
        hosts = [Host(name, f"10.99.0.{i + 1}", name) for i, name in enumerate(names)]
        cut(hosts, names, image)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def cut(hosts, names, image):
    keys = install_key(hosts)
    subprocess.run(["ip", "netns", "exec", names[0], "tc", "qdisc", "add", "dev", names[0], "root", "tbf", "rate", "200mbit",
                    "burst", "256k", "latency", "50ms"], check=True, stdin=subprocess.DEVNULL)
    source = Guest(hosts[0], image, **SMALL)
    source.wait_reports(2)
    destination = Guest(hosts[1], image, incoming=True, **SMALL)
    attempt = Migration(source, destination, keys=keys, send=["--verify", "--switchover-timeout", "20s"])
    wait_for(lambda: any(e.get("moved_bytes", 0) > 8 << 20 for e in events(attempt.sender)), "the transfer")
    netns("-n", names[0], "link", "set", names[0], "down")
    wait_for(lambda: attempt.sender.find('"lost"'), "the source's word that the connection is lost", 30)
    still_fine(source)
    netns("-n", names[0], "link", "set", names[0], "up")
    attempt.succeed()
    expect(attempt.sender.find('"back"'), "the connection did not come back")
    destination.wait_round()

    source, destination = destination, Guest(hosts[0], image, incoming=True, **SMALL)
    attempt = Migration(source, destination, keys=keys[::-1], env=None, send=HURRY, receive=HURRY)
    wait_for(lambda: any(e.get("state") in ("stopped", "committing") for e in events(attempt.sender)) or
             not attempt.sender.running(), "the switchover")
    netns("-n", names[0], "link", "set", names[0], "down")
    code, _ = attempt.finish()
    netns("-n", names[0], "link", "set", names[0], "up")
    states = [guest.status() if alive(guest) else None for guest in (source, destination)]
    expect(states.count("running") <= 1, f"two guests run: {states}")
    if code == 0:
        print("  the switchover was faster than the cut", flush=True)
    elif code == 1:
        still_fine(source)
        destination.quit()
        destination = Guest(hosts[0], image, incoming=True, **SMALL)
        Migration(source, destination, keys=keys[::-1], send=["--verify"]).succeed()
    elif code == 3:
        expect(recover(hosts[0], source, destination)[0] == 0, "recover")
    print(f"  cut in the switchover: exit code {code}, {states}", flush=True)
    destination.wait_round()


CASES = {name[5:]: function for name, function in list(globals().items()) if name.startswith("case_")}


def main():
    names = sys.argv[1:]
    if names == ["all"]:
        names = list(CASES)
    if not names or any(name not in CASES for name in names):
        print(f"{__doc__}\ncases: {' '.join(CASES)}")
        return 2
    image = build_guest()
    code = 0
    for name in names:
        host = Host(name)
        start = time.monotonic()
        try:
            CASES[name](host, image)
            print(f"{name}: passed ({time.monotonic() - start:.0f} s)", flush=True)
        except Skip as why:
            print(f"{name}: skipped: {why}", flush=True)
            code = code or 77
        except (Failure, OSError, subprocess.SubprocessError):
            traceback.print_exc()
            print(f"{name}: FAILED after {time.monotonic() - start:.0f} s", flush=True)
            code = 1
        finally:
            Host.close_all()
    return code


if __name__ == "__main__":
    sys.exit(main())
