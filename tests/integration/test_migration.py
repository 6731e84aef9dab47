#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_migration.py CASE... - real QEMUs on this machine, over tcp; `all` runs every case.

Every case ends with exactly one guest that runs (or is paused, if it was) and whose own check finds no error. Cases
that need a test build (CMake option WATARI_SABOTAGE) say so and are skipped (77) without.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, Skip, alive, expect, has_sabotage, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.guests import QMP_CALL, Guest  # noqa: E402
from harness.hosts import Failure, wait_for  # noqa: E402
from harness.migration import Migration, events, install_key, watari  # noqa: E402
from harness.network import network  # noqa: E402
from harness.valgrind import CALM, Valgrind, missing  # noqa: E402

BUSY = {**SMALL, "rate": 8000}  # many pages are dirtied while it moves


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


def send(host, guest, target, *options):
    return host.start([watari(), "send", "--qmp", guest.qmp, "--json", *options, target], "send")


def case_two_sends(host, image):
    """Two sends of one guest, by two QMP sockets: the one that comes too late does not run the guest that has moved."""
    need_sabotage()
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    first, second = (Guest(host, image, incoming=True, **SMALL) for _ in range(2))
    late = Migration(source, second, send=["--job", "late"], receive=["--job", "late-in"], qmp=source.monitor,
                     env={"WATARI_STOP_BEFORE": "streaming"})
    wait_for(lambda: any(e.get("state") == "streaming" for e in events(late.sender)), "the late one's begin")
    Migration(source, first, send=["--keep-source"]).succeed()
    late.sender.signal(signal.SIGCONT)
    expect(late.finish()[0] == 1, f"the late one: {late.sender.tail()}")
    status = host.call([sys.executable, QMP_CALL, source.qmp, "query-status"])
    expect(status[0] == 0 and '"postmigrate"' in status[1], f"the source is {status}")
    first.wait_round()


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


def case_cut(host, image):
    """The network fails in mid-transfer and comes back: the migration goes on, and completes."""
    with network() as net:
        keys = install_key(net.hosts)
        net.limit(200)
        source = Guest(net.hosts[0], image, **SMALL)
        source.wait_reports(2)
        destination = Guest(net.hosts[1], image, incoming=True, **SMALL)
        attempt = Migration(source, destination, keys=keys, send=["--verify", "--switchover-timeout", "20s"])
        wait_for(lambda: any(e.get("moved_bytes", 0) > 8 << 20 for e in events(attempt.sender)), "the transfer")
        net.cut()
        wait_for(lambda: attempt.sender.find('"lost"'), "the source's word that the connection is lost", 30)
        still_fine(source)
        net.mend()
        attempt.succeed()
        expect(attempt.sender.find('"back"'), "the connection did not come back")
        destination.wait_round()


def case_valgrind(host, image):
    """Both ends run in valgrind, over several channels and connections with encryption; and an attempt that is refused."""
    if reason := missing():
        raise Skip(reason)
    source = Guest(host, image, **CALM)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **CALM)
    keys = install_key([host, host])
    watched = Valgrind(host)
    refused(send(host, source, "127.0.0.1:1/vm", "--psk", keys[0]), "127.0.0.1", 300)
    attempt = Migration(source, destination, keys=keys, channels=2,
                        send=["--verify", "--switchover-timeout", "120s", "--downtime-limit", "20s"])
    attempt.finish(900)
    left_out = watched.check(3)
    summary = attempt.succeed()
    expect(summary["verified"], f"not compared: {summary}")
    source.ended()
    destination.wait_round()
    print(f"  {summary['moved_bytes'] >> 20} MiB moved; valgrind: no error, {left_out} of libraries left out", flush=True)


def case_soak(host, image):
    """One guest moves to and fro, many times (WATARI_SOAK, default 60); all RAM is compared each time, and the guest
    finds no error."""
    times = int(os.environ.get("WATARI_SOAK", "60"))
    keys = install_key([host, host])
    guest = Guest(host, image, **BUSY)
    guest.wait_reports(2)
    down = []
    for _ in range(times):
        destination = Guest(host, image, incoming=True, **BUSY)
        summary = Migration(guest, destination, keys=keys, send=["--verify"]).succeed()
        guest.ended()
        guest = destination
        guest.wait_reports(2)
        guest.check()
        down.append(summary["downtime_ms"])
    guest.wait_round()
    down.sort()
    print(f"  {times} times to and fro; downtime with the comparison: median {down[times // 2]:.0f}, most {down[-1]:.0f} ms",
          flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
