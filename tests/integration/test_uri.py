#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_uri.py CASE... - migrations that QEMU itself is told to begin: exec: and relay daemons, over tcp; `all` runs every
case.

watari promises *at most one* here: after a crash perhaps nobody runs, and then `cont` at the source must help. Every case
ends with one guest that runs and whose own check finds no error.
"""

import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import HURRY, SMALL, alive, expect, main, need_sabotage, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import events, install_key, watari  # noqa: E402
from harness.uri import Daemon, Receiver, Sender  # noqa: E402

NUMA = ("-object", "memory-backend-memfd,id=n0,size=80M,share=on", "-object",
        "memory-backend-memfd,id=n1,size=80M,share=on", "-numa", "node,memdev=n0", "-numa", "node,memdev=n1")


def booted(host, image, **options):
    source = Guest(host, image, **{**SMALL, **options})
    source.wait_reports(2)
    return source


def arrived(summary, source, destination):
    """The guest runs at the destination alone, and finds nothing wrong."""
    if summary["verified"]:
        expect(summary["destination"]["compared_pages"] * 4096 == summary["ram_bytes"], f"not all compared: {summary}")
    expect(source.status() in ("postmigrate", None), f"the source is {source.status()}")
    wait_for(lambda: destination.status() == "running", "the destination runs")
    destination.wait_round()
    source.quit()


def case_exec(host, image):
    """exec: at both ends, twice in a row with a key; pc on a file; a paused QEMU (-S) stays paused."""
    keys = install_key([host, host])
    source = booted(host, image)
    for _ in range(2):
        receiver = Receiver(host, image, keys=keys, **SMALL)
        sender = Sender(source, receiver, keys=keys, options=["--verify"])
        summary = sender.succeed()
        expect(sender.code() == 0 and summary["mode"] == "uri" and summary["copied_pages"] == 0, summary)
        arrived(summary, source, receiver.guest)
        source = receiver.guest
    source.quit()
    options = {"machine": "pc", "backend": "file"}
    source = booted(host, image, **options)
    receiver = Receiver(host, image, extra=["-S"], **{**SMALL, **options})
    Sender(source, receiver, options=["--verify"]).succeed()
    wait_for(lambda: receiver.guest.status() == "paused", "the destination is loaded and paused")
    receiver.guest.call("cont")
    receiver.guest.wait_round()


def return_path(guest, on):
    guest.call("migrate-set-capabilities", {"capabilities": [{"capability": "return-path", "state": on}]})


def multifd(guest, channels):
    guest.call("migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": channels > 0}]})
    if channels:
        guest.call("migrate-set-parameters", {"multifd-channels": channels})


def case_relay(host, image):
    """One daemon, one migration after another: without and with a return path, with multifd; received by exec: and by a
    relay that connects to its QEMU."""
    source = booted(host, image)
    receiver = Receiver(host, image, relay=True, **SMALL)
    daemon = Daemon(host, receiver, options=["--verify"])
    for run, (channels, path) in enumerate(((0, False), (0, True), (2, True), (4, True), (2, False)), 1):
        return_path(source, path)
        multifd(source, channels)
        sender = Sender(source, receiver, daemon=daemon)
        summary = sender.succeed()
        expect(summary["return_path"] == path and summary["channels"] == channels, summary)
        arrived(summary, source, receiver.guest)
        print(f"  {channels} channels of multifd, return path {path}: {summary['total_ms']:.0f} ms, loaded "
              f"{summary['switchover_ms']:.0f} ms after the end of RAM", flush=True)
        source = receiver.guest
        if receiver.relay:
            expect(receiver.relay.wait(20) == 0, receiver.relay.tail())
        daemon.wait_listening(run + 1)
        receiver = Receiver(host, image, relay=run % 2 == 0, port=receiver.port, **SMALL)
    daemon.process.signal(signal.SIGTERM)
    expect(daemon.process.wait(20) == 0, f"an idle daemon that is ended: {daemon.process.tail()}")
    still_fine(source)


def memory_files(guest, ids):
    """--ram options for memory backends of one size: QEMU creates them in the order of its command line."""
    pid = guest.process.child.pid
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        if "memory-backend-memfd" in os.readlink(path):
            found[os.stat(path).st_ino] = path
    expect(len(found) == len(ids), f"QEMU has {found}")
    return [word for name, inode in zip(ids, sorted(found)) for word in ("--ram", f"{name}={found[inode]}")]


def case_ambiguous(host, image):
    """Two nodes of one size: refused by the destination, copied by the source, unless --ram names the files."""
    options = {**SMALL, "numa": NUMA}
    source = booted(host, image, **options)
    receiver = Receiver(host, image, **options)
    sender = Sender(source, receiver)
    expect(sender.code() == 1 and "--ram n0=PATH" in sender.error(), f"a guess? {sender.events()[-3:]}")
    expect("several" not in sender.error() and any("copied out" in e.get("text", "") for e in sender.events()),
           "no note at the source")
    still_fine(source)
    expect(alive(receiver.guest), "a source that does not fit must not end the destination")
    receiver.guest.quit()

    def files(guest):
        return memory_files(guest, ["n0", "n1"])

    receiver = Receiver(host, image, relay=True, options=files, **options)
    summary = Sender(source, receiver).succeed()
    expect(summary["copied_pages"] > 0, f"copied from an unknown mapping? {summary}")
    arrived(summary, source, receiver.guest)

    source = receiver.guest
    receiver = Receiver(host, image, relay=True, options=files, **options)
    summary = Sender(source, receiver, options=["--verify", *files(source)]).succeed()
    expect(summary["copied_pages"] == 0, f"copied although the files were named: {summary}")
    arrived(summary, source, receiver.guest)


def case_refused(host, image):
    """Each mistake gets its sentence, and the source guest runs on."""
    source = booted(host, image)
    driven = Guest(host, image, incoming=True, **SMALL)
    process = host.start([watari(), "receive", "--qmp", driven.qmp, "--json", "--insecure", "127.0.0.1:0/vm"], "receive")
    port = wait_for(lambda: next((e["port"] for e in events(process) if e["event"] == "listening"), 0), "watari receive")
    sender = Sender(source, None, target=f"127.0.0.1:{port}/vm")
    expect(sender.code() == 1 and "--qmp" in sender.error(), f"a URI and a driven end: {sender.events()[-3:]}")
    still_fine(source)

    receiver = Receiver(host, image, **SMALL)
    attempt = host.start([watari(), "send", "--qmp", source.qmp, "--insecure", f"127.0.0.1:{receiver.port}/vm"], "send")
    expect(attempt.wait(60) == 1 and attempt.find("--qmp"), f"a driven and a URI end: {attempt.tail()}")
    receiver.guest.ended()
    still_fine(source)

    receiver = Receiver(host, image, **SMALL)
    return_path(source, True)
    sender = Sender(source, receiver)
    expect(sender.code() == 1 and "return-path" in sender.error(), f"a return path over exec: {sender.events()[-3:]}")
    return_path(source, False)
    sender = Sender(source, receiver, options=["--ram", "mem=/etc/passwd"])
    expect(sender.code() == 1 and "/etc/passwd" in sender.error(), f"a wrong file: {sender.events()[-3:]}")
    still_fine(source)
    for words, text in ((["receive", "--json", "--insecure", ":0/vm"], "--json"),
                        (["send", "--insecure", "127.0.0.1:1/vm"], "--qmp"),
                        (["relay", "--insecure", ":0/vm"], "--listen"),
                        (["relay", "--listen", "unix:relative", "--insecure", ":0/vm"], "absolute")):
        code, said = host.call([watari(), *words])
        expect(code in (1, 2) and text in said, f"{words}: {code}: {said}")
    Sender(source, receiver, options=["--verify"]).succeed()
    receiver.guest.wait_round()


def case_stranded(host, image):
    """A QEMU that refuses the device state at the very end: nobody takes that for success, and `cont` at the source helps."""
    source = booted(host, image, extra=("-device", "virtio-rng-pci"))
    for relay in (False, True):
        receiver = Receiver(host, image, relay=relay, **SMALL)
        sender = Sender(source, receiver)
        expect(sender.code() == 3 and "type cont" in sender.error(), f"{sender.events()[-2:]}")
        receiver.guest.ended(20)
        wait_for(lambda: receiver.said("type cont at the source"), "the receiving relay's word")
        expect(source.status() == "postmigrate", f"the source is {source.status()}")
        source.call("cont")
        still_fine(source)


def case_cancel(host, image):
    """migrate_cancel in mid-transfer, over exec: and over a socket: the source runs on, the destination QEMU ends."""
    source = booted(host, image)
    for daemon_wanted in (False, True):
        source.call("migrate-set-parameters", {"max-bandwidth": 8 << 20})
        receiver = Receiver(host, image, **SMALL)
        daemon = Daemon(host, receiver, options=["--once"]) if daemon_wanted else None
        sender = Sender(source, receiver, daemon=daemon)
        wait_for(lambda: any(e.get("moved_bytes", 0) > 4 << 20 for e in sender.events()), "the transfer")
        source.call("migrate_cancel")
        code = daemon.process.wait(30) if daemon else sender.code()
        expect(code == 1, f"exit code {code}: {sender.events()[-2:]}")
        receiver.guest.ended(30)
        wait_for(lambda: source.call("query-migrate")[1]["status"] == "cancelled", "QEMU's word")
        still_fine(source)
    source.call("migrate-set-parameters", {"max-bandwidth": 1 << 30})
    receiver = Receiver(host, image, **SMALL)
    Sender(source, receiver, options=["--verify"]).succeed()
    receiver.guest.wait_round()


def settle(source, destination, ended):
    """The relays are gone: at most one guest runs; if none does, `cont` at the source helps. Answers the one that runs."""
    wait_for(ended, "the relays' end", 60)

    def states():
        found = [guest.status() if alive(guest) else None for guest in (source, destination)]
        expect(found.count("running") <= 1, f"two guests run: {found}")
        return found

    # A QEMU whose exec child was killed before it wrote a byte waits for ever; it runs nothing.
    wait_for(lambda: states()[1] in ("running", "inmigrate", None), "the destination QEMU runs, or does not", 60)
    if states()[1] == "inmigrate":
        destination.quit()
    if states()[1] is None and states()[0] != "running":
        source.call("cont")
    wait_for(lambda: states().count("running") == 1, "one guest", 20)
    survivor = source if states()[0] == "running" else destination
    still_fine(survivor)
    states()
    return survivor


def crash(host, image, source, where, when, state, path):
    """One relay dies at one step."""
    env = {f"WATARI_DIE_{when}": state}
    receiver = Receiver(host, image, options=HURRY, env=env if where == "receive" else None, **SMALL)
    options = [*HURRY, "--confirm-timeout", "4s"]
    daemon = None
    return_path(source, path)
    if path:
        daemon = Daemon(host, receiver, options=[*options, "--once"], env=env if where == "send" else None)
    sender = Sender(source, receiver, options=options, env=env if where == "send" else None, daemon=daemon)
    ended = (lambda: not daemon.process.running()) if path else (lambda: sender.find("exit"))
    survivor = settle(source, receiver.guest, ended)
    code = daemon.process.child.returncode if path else sender.code()
    expect(where != "send" or code in (-signal.SIGKILL, 128 + signal.SIGKILL), f"send did not die at {state}: {code}")
    expect(where == "send" or code in (1, 3), f"send says {code} although receive died at {state}")
    print(f"  {where} died {when.lower()} {state}, return path {path}: send {code}, "
          f"{'source' if survivor is source else 'destination'} runs; {sender.error()}", flush=True)
    (receiver.guest if survivor is source else source).quit()
    return survivor


STEPS = [("send", "AFTER", "streaming", False), ("send", "BEFORE", "stopped", False),
         ("send", "BEFORE", "delivering", False), ("send", "AFTER", "delivering", False),
         ("send", "BEFORE", "done", False), ("receive", "AFTER", "receiving", False), ("receive", "BEFORE", "ready", False),
         ("receive", "AFTER", "ready", False), ("receive", "BEFORE", "loading", False),
         ("receive", "AFTER", "loading", False), ("receive", "BEFORE", "done", False),
         ("send", "BEFORE", "stopped", True), ("send", "BEFORE", "committing", True), ("send", "AFTER", "committing", True),
         ("receive", "BEFORE", "ready", True), ("receive", "AFTER", "ready", True), ("receive", "BEFORE", "loading", True)]


def case_crash(host, image):
    """Each relay dies at every step, with and without a return path."""
    need_sabotage()
    source = booted(host, image)
    for step in STEPS:
        source = crash(host, image, source, *step)


def case_qemu_crash(host, image):
    """QEMUs die while a relay is stopped at a step."""
    need_sabotage()
    for state, relay, victim, path in (("stopped", "send", "destination", True), ("loading", "receive", "destination", True),
                                       ("loading", "receive", "destination", False), ("stopped", "send", "source", True),
                                       ("delivering", "send", "source", True)):
        source = booted(host, image)
        return_path(source, path)
        env = {"WATARI_STOP_BEFORE": state}
        receiver = Receiver(host, image, relay=True, options=HURRY, env=env if relay == "receive" else None, **SMALL)
        daemon = Daemon(host, receiver, options=[*HURRY, "--once", "--confirm-timeout", "4s", "--switchover-timeout", "9s"],
                        env=env if relay == "send" else None)
        Sender(source, receiver, daemon=daemon)
        stopped = daemon.process if relay == "send" else receiver.relay
        wait_for(lambda: re.search(r"State:\s+T", open(f"/proc/{stopped.child.pid}/status").read()), f"{relay} at {state}")
        dead, other = (source, receiver.guest) if victim == "source" else (receiver.guest, source)
        dead.process.kill()
        stopped.signal(signal.SIGCONT)
        codes = daemon.process.wait(60), receiver.relay.wait(60)
        if victim == "destination":
            expect(codes[0] in (1, 3), f"send says {codes[0]} although the destination died")
            if other.status() != "running":
                other.call("cont")
            still_fine(other)
        elif codes[0] == 0:
            still_fine(other)
        else:
            wait_for(lambda: not alive(other), "the destination QEMU's end")
        print(f"  {victim} QEMU died while {relay} was at {state}, return path {path}: exit codes {codes}; "
              f"{daemon.process.tail(1)}", flush=True)
        source.quit()
        receiver.guest.quit()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
