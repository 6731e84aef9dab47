#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_lab.py CASE... - in lab hosts: real soft-RoCE, real KVM guests. See docs/LAB.md. `all` runs every case.

  verbs      a guest moves over verbs with RAM compared, and back over tcp
  hard       a guest writes more than half as fast as its memory gets across, and QEMU looks for that all the time
  uri        the same over verbs, begun by QEMU itself: exec: at both ends
  discard    a guest whose pages are discarded while it moves over verbs: by a balloon, and by free-page reporting
  hint       a guest may tell QEMU of its free pages: --verify is refused, and it moves
  plugged    a balloon is plugged in after memory was pinned
  memlock    too little memory may be locked for verbs
  contract   the contract suite of paths over verbs
  bench      the benchmarks over verbs, and perftest beside them
  soak       a guest moves to and fro over verbs, many times (WATARI_SOAK, default 20)
  daemon     the same through one daemon on each host, which pins memory while a guest moves, and keeps nothing
  valgrind   the same with both ends in valgrind
  rails      a guest moves over two RDMA devices, of which one breaks in the middle and comes back
  fabrics    memory is served to another host while RDMA breaks in the middle and comes back: verbs, tcp, verbs
"""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL as NATIVE, Skip, expect, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import ROOT, lab, wait_for  # noqa: E402
from harness.migration import BUILD, Migration, events, install_key, watari  # noqa: E402
from harness.uri import Receiver, Sender  # noqa: E402
from harness.valgrind import CALM, Valgrind, missing  # noqa: E402
from harness.wire import perftest, watari_wire  # noqa: E402

SMALL = {**NATIVE, "rate": 500}
SEND = ["--switchover-timeout", "20s"]
MIB = 1 << 20
BALLOON_MB = 192  # so little that a balloon takes pages that exist
CUT_UDP = ("modprobe -a sch_ingress cls_u32 act_gact && tc qdisc add dev fab0 clsact && "
           "tc filter add dev fab0 egress protocol ip prio 1 u32 match ip protocol 17 0xff action drop && "
           "tc filter add dev fab0 egress protocol ipv6 prio 2 u32 match ip6 protocol 17 0xff action drop")
HINT_MB = 320
REPORTING_MB = 320  # Linux reports free pages only while more than 64 MiB are free


def move(source, destination, keys, fabric, *options, channels=1):
    summary = Migration(source, destination, keys=keys, send=[*SEND, "--fabric", fabric, *options],
                        channels=channels).succeed(240)
    expect(summary["fabric"] == {"tcp": "tls"}.get(fabric, fabric) and summary["destination"][f"{fabric}_bytes"] > 0, f"not over {fabric}: {summary}")
    print(f"  {fabric}: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms, "
          f"{summary['moved_bytes'] >> 20} MiB, {summary['copied_pages']} pages copied", flush=True)
    source.ended()
    destination.wait_round()
    return summary


def case_verbs(image):
    with lab(2) as (a, b):
        keys = install_key([a, b])
        first = Guest(a, image, **SMALL)
        first.wait_reports(2)
        second = Guest(b, image, incoming=True, **SMALL)
        move(first, second, keys, "verbs", "--verify")
        third = Guest(a, image, incoming=True, **SMALL)
        move(second, third, keys[::-1], "tcp", "--verify")


def case_hard(image):
    """Memory is compared: QEMU looks for dirty pages in the midst of its passes, which only KVM's log of them bears."""
    writer = {"mb": 224, "work_mb": 64, "rate": 1100, "version": "10.0"}
    with lab(2) as (a, b):
        keys = install_key([a, b])
        source = Guest(a, image, **writer)
        source.wait_reports(2)
        destination = Guest(b, image, incoming=True, **writer)
        attempt = Migration(source, destination, keys=keys, send=[*SEND, "--max-rate", "6M", "--fabric", "verbs", "--verify"])
        wait_for(lambda: any(e.get("remaining_bytes") for e in events(attempt.sender)) or not attempt.sender.running(), "the transfer", 120)
        on = {c["capability"]: c["state"] for c in source.call("query-migrate-capabilities")[1]}
        expect(on["switchover-ack"], f"QEMU does not wait for the acknowledgement: {attempt.sender.tail()}")
        summary = attempt.succeed(300)
        seen = [e for e in events(attempt.sender) if e["event"] == "progress"]
        hard = max((e.get("dirty_bytes_per_s", 0) for e in seen), default=0)
        expect(hard > 3e6, f"the guest wrote {hard} bytes/s: it was no hard one")
        source.ended()
        destination.wait_round()
        print(f"  at most {hard / 1e6:.1f} MB/s written: {summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)


def case_valgrind(image):
    if reason := missing():
        raise Skip(reason)
    with lab(2, mem="2G") as (a, b):
        keys = install_key([a, b])
        source = Guest(a, image, **CALM)
        source.wait_reports(2)
        destination = Guest(b, image, incoming=True, **CALM)
        watched = Valgrind(a, b, slower=20)
        attempt = Migration(source, destination, keys=keys,
                            send=["--fabric", "verbs", "--switchover-timeout", "60s", "--downtime-limit", "20s"])
        attempt.finish(3000)
        left_out = watched.check(2)
        summary = attempt.succeed()
        expect(summary["fabric"] == "verbs" and summary["destination"]["verbs_bytes"] > 0, f"not over verbs: {summary}")
        source.ended()
        destination.wait_round()
        print(f"  {summary['moved_bytes'] >> 20} MiB moved; valgrind: no error, {left_out} of libraries left out", flush=True)


def case_uri(image):
    with lab(2) as (a, b):
        keys = install_key([a, b])
        source = Guest(a, image, **SMALL)
        source.wait_reports(2)
        receiver = Receiver(b, image, keys=keys, **SMALL)
        sender = Sender(source, receiver, keys=keys, options=[*SEND, "--fabric", "verbs", "--verify"])
        summary = sender.succeed()
        expect(sender.code() == 0 and summary["fabric"] == "verbs" and summary["destination"]["verbs_bytes"] > 0, summary)
        expect(summary["destination"]["compared_pages"] * 4096 == summary["ram_bytes"], f"not all compared: {summary}")
        expect(summary["copied_pages"] > 0, f"RAM was pinned although nobody knows what may discard it: {summary}")
        print(f"  {summary['total_ms']:.0f} ms, loaded {summary['switchover_ms']:.0f} ms after the end of RAM, "
              f"{summary['moved_bytes'] >> 20} MiB, {summary['copied_pages']} pages copied", flush=True)
        expect(source.status() == "postmigrate", f"the source is {source.status()}")
        receiver.guest.wait_round()


def case_plugged(image):
    """Aborted before the commit, and the next attempt knows the balloon. (While QEMU migrates it plugs nothing in itself.)"""
    need_sabotage()
    port = ("-device", "pcie-root-port,id=rp0,chassis=1")
    balloon = ("-device", "virtio-balloon-pci,id=balloon,bus=rp0")
    verbs = [*SEND, "--fabric", "verbs"]
    with lab(2) as (a, b):
        keys = install_key([a, b])
        source = Guest(a, image, extra=port, **SMALL)
        source.wait_reports(2)
        destination = Guest(b, image, incoming=True, extra=(*port, *balloon), **SMALL)
        attempt = Migration(source, destination, keys=keys, send=verbs, env={"WATARI_STOP_BEFORE": "streaming"})
        wait_for(lambda: any(e.get("state") == "streaming" for e in events(attempt.sender)), "the migration's begin")
        code, text = source.call("device_add", {"driver": "virtio-balloon-pci", "id": "balloon", "bus": "rp0"})
        expect(code == 0, f"device_add: {text}")
        expect(a.call(["pkill", "-CONT", "-f", "watari send"])[0] == 0, "the relay cannot be told to go on")
        refused(attempt.sender, "a balloon was plugged into the guest", 240)
        destination.ended()
        still_fine(source)
        destination = Guest(b, image, incoming=True, extra=(*port, *balloon), **SMALL)
        summary = Migration(source, destination, keys=keys, send=[*verbs, "--verify"]).succeed(240)
        expect(summary["copied_pages"] > 0, f"RAM with a balloon was served in place: {summary}")
        destination.wait_round()


def daemon_held(host):
    """{name: KiB or count} of the host's daemon, when no other watari runs there"""
    code, text = host.call(["sh", "-c", "p=$(pgrep -o -x watari) && echo fds: $(ls /proc/$p/fd | wc -l) && "
                                        "grep -E '^(VmPin|VmLck|Threads|RssAnon):' /proc/$p/status"])
    expect(code == 0, f"the daemon on {host.name}: {text}")
    return {line.split(":")[0]: int(line.split(":")[1].split()[0]) for line in text.splitlines()}


def case_daemon(image):
    """Over verbs, to and fro (WATARI_SOAK times, default 6)."""
    times = int(os.environ.get("WATARI_SOAK", "6"))
    with lab(2) as hosts:
        keys = install_key(hosts)
        for host in hosts:
            daemon = host.start([watari(), "daemon", "--json"], "daemon")
            wait_for(lambda p=daemon: events(p) or not p.running(), "the daemon")
        guest, counts = Guest(hosts[0], image, **SMALL), []
        guest.wait_reports(2)
        for number in range(times):
            here = hosts[number % 2]
            after = Guest(hosts[1 - number % 2], image, incoming=True, **SMALL)
            slow = [] if number else ["--max-rate", "4M", "--downtime-limit", "20s"]
            attempt = Migration(guest, after, keys=keys[::-1] if number % 2 else keys, receive=["--daemon"],
                                send=[*SEND, "--daemon", "--fabric", "verbs", *slow])
            if slow:
                wait_for(lambda: any(e.get("remaining_bytes") for e in events(attempt.sender)), "the transfer", 120)
                pinned = daemon_held(here)["VmPin"]
                expect(pinned > 0, "nothing is pinned over verbs")
            expect(attempt.succeed(300)["fabric"] == "verbs", "not over verbs")
            guest.ended()
            guest = after
            for host in hosts:
                wait_for(lambda h=host: daemon_held(h)["VmPin"] == 0, f"pinned memory on {host.name} that is let go", 120)
            counts.append([daemon_held(host) for host in hosts])
            print(f"  {number + 1}: {counts[-1]}", flush=True)
        guest.wait_round()
        print(f"  {pinned} KiB were pinned in the first one's midst", flush=True)
        for first, last in zip(counts[1], counts[-1]):
            expect(last["fds"] <= first["fds"] and last["Threads"] <= first["Threads"], f"something stays: {first}, {last}")


class Allocated:
    """How much of a guest's RAM really exists, ten times a second, from now on; and how much was given up."""

    def __init__(self, guest):
        self.process = guest.host.start(["/usr/bin/python3", "-u", os.path.join(ROOT, "tests", "harness", "allocated.py"),
                                         guest.pid_file, "memory-backend-memfd"], "allocated")
        wait_for(lambda: self.figures() or not self.process.running(), "the size of the guest's RAM")
        expect(self.figures(), f"no size of the guest's RAM: {self.process.tail()}")

    def figures(self):
        return [int(line) for line in list(self.process.lines) if line.isdigit()]

    def discarded(self):
        """The sum of all decreases, in bytes."""
        figures = self.figures()
        return sum(max(0, before - after) for before, after in zip(figures, figures[1:]))


SLOW = ["--max-rate", "256K"]  # keeps a migration from its end until `let_go`


def let_go(guest, attempt):
    expect(guest.call("query-migrate")[1].get("status") == "active", "the migration was over too soon")
    expect(attempt.sender.running(), f"send ended: {attempt.sender.tail()}")
    expect(guest.call("migrate-set-parameters", {"max-bandwidth": 1024 * MIB})[0] == 0, "max-bandwidth")


def discard(a, b, image, keys, mb, device, append, disturb, verify=()):
    """RAM that may be discarded is never pinned: everything goes through copies, and arrives. disturb(source, allocated)
    returns when enough was discarded, while QEMU migrates."""
    options = {**SMALL, "mb": mb, "extra": ("-device", device), "append": append}
    source = Guest(a, image, **options)
    source.wait_reports(2)
    destination = Guest(b, image, incoming=True, **options)
    attempt = Migration(source, destination, keys=keys, send=[*SEND, *SLOW, *verify, "--fabric", "verbs"])
    wait_for(lambda: source.call("query-migrate")[1].get("status") == "active", "QEMU migrates", 120)
    allocated = Allocated(source)
    disturb(source, allocated)
    let_go(source, attempt)
    summary = attempt.succeed(240)
    expect(summary["copied_pages"] > 0, "RAM that may be discarded was served in place")
    destination.wait_round()
    print(f"  {device}: {allocated.discarded() >> 20} MiB discarded while it moved, {summary['copied_pages']} pages copied",
          flush=True)
    return destination


def inflate(source, allocated):
    """The balloon takes memory and gives it back."""
    for size in (BALLOON_MB - 48, BALLOON_MB):
        before, had = allocated.discarded(), source.call("query-balloon")[1]["actual"]
        expect(source.call("balloon", {"value": size * MIB})[0] == 0, "balloon")
        if size * MIB < had:
            wait_for(lambda: allocated.discarded() >= before + 8 * MIB, f"8 MiB that a balloon of {BALLOON_MB - size} MiB discards", 90)
        else:
            wait_for(lambda: source.call("query-balloon")[1]["actual"] > had, "a balloon that shrinks", 90)


def reported(source, allocated):
    """The guest frees memory, and its kernel tells the host."""
    wait_for(lambda: allocated.discarded() >= 8 * MIB, "8 MiB of freed pages that QEMU discards", 90)
    source.check()


def case_discard(image):
    """Pages that are reported after they were sent differ, as nobody needs them: there the guest is the judge, alone."""
    with lab(2) as (a, b):
        keys = install_key([a, b])
        discard(a, b, image, keys, BALLOON_MB, "virtio-balloon-pci,id=balloon", "", inflate, ["--verify"]).quit()
        discard(a, b, image, keys, REPORTING_MB, "virtio-balloon-pci,id=balloon,free-page-reporting=on", "wt.lend=24",
                reported)


def case_hint(image):
    """free-page-hint: what QEMU leaves out is never announced; how much that is depends on who is faster, QEMU or the guest's
    hints, so it is only printed. The guest is the judge of what it uses."""
    device = ("-object", "iothread,id=io", "-device", "virtio-balloon-pci,id=balloon,free-page-hint=on,iothread=io")
    with lab(2) as (a, b):
        keys = install_key([a, b])
        options = {**SMALL, "mb": HINT_MB, "extra": device}
        source = Guest(a, image, **options)
        source.wait_reports(2)
        destination = Guest(b, image, incoming=True, **options)
        attempt = Migration(source, destination, keys=keys, send=[*SEND, "--verify", "--fabric", "verbs"])
        print(f"  {refused(attempt.sender, 'free-page-hint', 120)}", flush=True)
        still_fine(source)
        attempt.receiver.signal(signal.SIGTERM)
        attempt.receiver.wait(60)
        destination.quit()
        destination = Guest(b, image, incoming=True, **options)
        attempt = Migration(source, destination, keys=keys, send=[*SEND, *SLOW, "--fabric", "verbs"])
        wait_for(lambda: source.call("query-migrate")[1].get("ram", {}).get("remaining", HINT_MB * MIB) < HINT_MB * MIB // 2,
                 "that half of the memory is through, or free", 120)
        let_go(source, attempt)
        summary = attempt.succeed(240)
        announced = summary["in_place_pages"] + summary["copied_pages"] + summary["zero_pages"]
        print(f"  {announced * 4096 >> 20} MiB announced, of {HINT_MB} that there are", flush=True)
        destination.wait_round()


def case_memlock(image):
    """--fabric verbs with 1 MiB to lock, and no privilege to lock more: one sentence; without --fabric tcp is used."""
    with lab(2) as (a, b):
        keys = install_key([a, b])
        source = Guest(a, image, **SMALL)
        source.wait_reports(2)
        destination = Guest(b, image, incoming=True, **SMALL)
        attempt = Migration(source, destination, keys=keys, send=[*SEND, "--fabric", "verbs"], wrap_send=POOR)
        print(f"  {refused(attempt.sender, 'lock', 120)}", flush=True)
        still_fine(source)
        attempt.receiver.wait(60)
        destination.quit()
        destination = Guest(b, image, incoming=True, **SMALL)
        summary = Migration(source, destination, keys=keys, send=[*SEND, "--verify"], wrap_send=POOR).succeed(240)
        expect(summary["fabric"] == "tls", f"verbs with nothing to lock: {summary}")
        destination.wait_round()


POOR = ["prlimit", f"--memlock={MIB}:{MIB}", "setpriv", "--inh-caps=-ipc_lock,-sys_resource",
        "--bounding-set=-ipc_lock,-sys_resource"]


def case_contract(image):
    with lab(1) as (a,):
        code, text = a.call([os.path.join(BUILD, "test_path"), "verbs", a.address], 600)
        print(text[-3000:])
        expect(code == 0, f"the contract suite over verbs: exit code {code}")


def case_bench(image):
    """Benchmarks over verbs: memory is right, everything comes, and perftest's own programs run beside them."""
    with lab(2) as hosts:
        for more, iterations in ((("-s", "65536", "-n", "200", "--check"), 200),
                                 (("-s", "4096", "-n", "1000", "-q", "2", "-e", "--scattered", "--memory", "4M", "--check"), 2000)):
            found = watari_wire("wt_read_bw", *hosts, more)[-1]
            expect((found["fabric"], found["iterations"]) == ("verbs", iterations) and found["bw_average_mib_s"] > 0, f"{found}")
            print(f"  {found}", flush=True)
        found = watari_wire("wt_read_lat", *hosts, ["-s", "4096", "-n", "300", "-e"])[-1]
        expect((found["fabric"], found["iterations"]) == ("verbs", 300), f"{found}")
        columns = perftest("ib_read_bw", *hosts, 19000, ["-s", "65536", "-n", "200"])
        expect(columns[:2] == [65536, 200] and columns[3] > 0, f"perftest's columns: {columns}")


def case_soak(image):
    times = int(os.environ.get("WATARI_SOAK", "20"))
    with lab(2) as hosts:
        keys = install_key(hosts)
        guest = Guest(hosts[0], image, **SMALL)
        guest.wait_reports(2)
        for i in range(times):
            there = 1 - i % 2
            destination = Guest(hosts[there], image, incoming=True, **SMALL)
            move(guest, destination, keys if there else keys[::-1], "verbs", "--verify")
            guest = destination


def case_rails(image):
    """The second device is soft-RoCE on the other network. A guest that writes faster than that keeps the migration going."""
    devices = ["--device", "rxe0,rxe1"]
    with lab(2) as (a, b):
        for host in (a, b):
            code, text = host.call(["rdma", "link", "add", "rxe1", "type", "rxe", "netdev", "eth0"])
            expect(code == 0, f"no second device: {text}")
        keys = install_key([a, b])
        source = Guest(a, image, **SMALL)
        source.wait_reports(2)
        destination = Guest(b, image, incoming=True, **SMALL)
        attempt = Migration(source, destination, keys=keys,
                            send=[*SEND, "--max-rate", "1M", "--verify", "--fabric", "verbs", "--paths", "4", *devices],
                            receive=[*devices, "--data-host", f"{b.address},{b.ethernet}"])

        def counts():
            """Reads that were sent by each device of the destination, so far."""
            return [int(b.call(["cat", f"/sys/class/infiniband/rxe{i}/ports/1/hw_counters/sent_pkts"])[1]) for i in (0, 1)]

        def noted(text):
            wait_for(lambda: attempt.sender.find(text) or not attempt.sender.running(), f"'{text}'", 120)
            expect(attempt.sender.running(), f"send ended: {attempt.sender.tail()}")

        wait_for(lambda: source.call("query-migrate")[1].get("status") == "active", "QEMU migrates", 120)
        wait_for(lambda: min(counts()) > 20 or not attempt.sender.running(), "reads over both devices", 60)
        both = counts()
        cut = CUT_UDP.replace("fab0", "eth0")
        expect(a.call(["sh", "-c", cut])[0] == 0, "the second device cannot be cut")
        noted("goes on with 2 data connections")
        one = counts()
        expect(a.call(["tc", "qdisc", "del", "dev", "eth0", "clsact"])[0] == 0, "the second device cannot be mended")
        noted("all data connections are there again")
        again = counts()
        wait_for(lambda: counts()[1] > again[1] + 10, "reads over the second device again", 60)
        let_go(source, attempt)
        summary = attempt.succeed(240)
        expect(summary["fabric"] == "verbs" and not summary["destination"]["tcp_bytes"], f"not all over verbs: {summary}")
        destination.wait_round()
        print(f"  packets sent by the destination's devices: {both}, when one was cut {one}, when it was back {again}, "
              f"in the end {counts()}", flush=True)


def case_fabrics(image):
    example = os.path.join(BUILD, "tests", "serve_and_pull")
    with lab(2, mem="2560M") as (a, b):
        keys = install_key([a, b])
        code, digest = a.call(["sh", "-c", "head -c 1000M /dev/urandom >/dev/shm/memory && sha256sum </dev/shm/memory"], 240)
        expect(code == 0, f"no memory to serve: {digest}")
        puller = b.start([example, "pull", "/dev/shm/copy", "4711", keys[1]], "pull")
        wait_for(lambda: puller.find("4711") or not puller.running(), "the puller")
        start = time.monotonic()
        server = a.start([example, "serve", "/dev/shm/memory", b.address, "4711", keys[0]], "serve")

        def copied():
            return int(b.call(["sh", "-c", "stat -c %b /dev/shm/copy 2>/dev/null || echo 0"])[1]) * 512 >> 20

        wait_for(lambda: copied() > 50 or not server.running(), "the first 50 MiB over verbs", 60)
        expect(server.running() and not server.find("verbs"), f"not over verbs: {server.tail()}")
        code, text = a.call(["sh", "-c", CUT_UDP])  # soft-RoCE is UDP
        expect(code == 0, f"UDP cannot be cut: {text}")
        cut = copied()
        wait_for(lambda: server.find("verbs is not used") or not server.running(), "the fall from verbs", 60)
        expect(a.call(["tc", "qdisc", "del", "dev", "fab0", "clsact"])[0] == 0, "UDP cannot be mended")
        fell = copied()
        wait_for(lambda: server.find("verbs is used now") or not server.running(), "verbs again", 60)
        again = copied()
        expect(server.find("verbs is used now"), f"verbs did not come back: {server.tail()}")
        expect((server.wait(240), puller.wait(60)) == (0, 0), f"serve: {server.tail()}; pull: {puller.tail()}")
        code, copy = b.call(["sh", "-c", "sha256sum </dev/shm/copy"], 120)
        expect(code == 0 and copy == digest, f"the copy differs: {copy}, not {digest}")
        print(f"  verbs until {cut} MiB, tcp from {fell} MiB, verbs again from {again} MiB of 1000; "
              f"{time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
