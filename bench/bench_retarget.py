#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""the destination of a running migration is changed, against the optimum of the links and against beginning anew.

Three hosts, each of which sends at most 400 Mbit/s, a guest of 2 GiB that uses all of it and writes at 2 % of that rate.

  time_vs_optimum          from the command to the end, over what the links need at least: the bytes that only the source has
                           over its link, or all bytes over both, whichever takes longer; iperf3's goodput in the same run
  time_vs_restart          the same time, over that of QEMU's own migration, cancelled at this point and begun anew
  source_bytes_vs_restart  what the source sends from the command on, with --prefer old-destination, over the same of QEMU's
"""

import json
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import options, show  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402
from harness.migration import Receive, events, install_key, watari  # noqa: E402
from harness.network import network  # noqa: E402

LINK_MBIT_S = 400
PAGE = 4096
GUEST = {"mb": 2048, "work_mb": 1840, "rate": LINK_MBIT_S * 125000 * 2 // 100 // PAGE}
PARTS = (0.2, 0.5, 0.8)
FAST = 1 << 40  # bytes per second: no limit of QEMU's own


def sent_bytes(host):
    """What has left the host by its cable."""
    code, text = host.call(["ip", "-j", "-s", "link", "show", host.name])
    if code:
        raise Failure(text)
    return json.loads(text)[0]["stats64"]["tx"]["bytes"]


def need(guest, command, arguments=None):
    code, value = guest.call(command, arguments)
    if code:
        raise Failure(f"{command}: {value}")
    return value


def first_pass(ram):
    """The part of QEMU's first pass that is behind it."""
    return 1 - ram["remaining"] / ram["total"] if ram.get("total") else 0


def part_of(guest):
    return first_pass(need(guest, "query-migrate").get("ram", {}))


def watari_run(net, image, keys, part, *prefer):
    """Seconds, bytes that the source sent, and the summary; all from the command on."""
    a, b, c = net.hosts
    source = Guest(a, image, **GUEST)
    source.wait_reports(1, 600)
    ends = [Receive(Guest(host, image, incoming=True, **GUEST), "--psk", keys[i], "--data-plain", address=host.address)
            for i, host in ((1, b), (2, c))]
    sender = a.start([watari(), "send", "--qmp", source.qmp, "--json", "--psk", keys[0], "--data-plain", ends[0].target()],
                     "send")
    wait_for(lambda: part_of(source) >= part or not sender.running(), f"{part:.0%} of the first pass", 600)
    began, before = time.monotonic(), sent_bytes(a)
    code, text = a.call([watari(), "retarget", "vm", "--to", ends[1].target(), "--no-wait", *prefer])
    if code:
        raise Failure(f"retarget: {text}")
    wait_for(lambda: sender.find('"event":"summary"') or not sender.running(), "the end", 600)
    took, sent = time.monotonic() - began, sent_bytes(a) - before
    if sender.wait(60):
        raise Failure(f"send: {sender.tail()}")
    ends[1].guest.wait_reports(1, 600)
    ends[1].guest.check()
    for end in ends:
        end.guest.quit()
    source.quit()
    return took, sent, next(e for e in events(sender) if e["event"] == "summary")


def optimum(summary, source_rate, old_rate):
    """Seconds that the links need for what the new destination needed."""
    change = summary["retarget"]
    all_bytes = (change["need_pages"] + change["announced_pages"]) * PAGE
    only_source = all_bytes - change["helper_pages"] * PAGE
    return max(only_source / source_rate, all_bytes / (source_rate + old_rate))


def qemu_migrate(source, destination, host, port):
    uri = {"uri": f"tcp:{host.address}:{port}"}
    for guest in (source, destination):
        need(guest, "migrate-set-capabilities", {"capabilities": [{"capability": "multifd", "state": True}]})
        need(guest, "migrate-set-parameters", {"multifd-channels": 2})
    need(source, "migrate-set-parameters", {"max-bandwidth": FAST, "downtime-limit": 300})
    need(destination, "migrate-incoming", uri)
    need(source, "migrate", uri)


def qemu_run(net, image, part):
    """Seconds, and bytes that the source sent, from the cancel to the end of a migration to the third host."""
    a, b, c = net.hosts
    source = Guest(a, image, **GUEST)
    source.wait_reports(1, 600)
    old, new = (Guest(host, image, incoming=True, **GUEST) for host in (b, c))
    qemu_migrate(source, old, b, 4711)
    wait_for(lambda: part_of(source) >= part, f"{part:.0%} of QEMU's first pass", 600)
    began, before = time.monotonic(), sent_bytes(a)
    need(source, "migrate_cancel")
    wait_for(lambda: need(source, "query-migrate")["status"] == "cancelled", "QEMU's cancel")
    qemu_migrate(source, new, c, 4712)
    wait_for(lambda: need(source, "query-migrate")["status"] in ("completed", "failed"), "QEMU's migration", 600)
    took, sent = time.monotonic() - began, sent_bytes(a) - before
    if need(source, "query-migrate")["status"] != "completed":
        raise Failure(f"QEMU's migration: {need(source, 'query-migrate')}")
    for guest in (source, old, new):
        guest.quit()
    return took, sent


def measure(args):
    image = build_guest()
    with network(3) as net:
        for i in range(3):
            net.limit(LINK_MBIT_S, i)
        keys = install_key(net.hosts)
        for part in PARTS:
            found = []
            for _ in range(args.runs):
                rates = net.goodput(0, 2), net.goodput(1, 2)
                took, _, summary = watari_run(net, image, keys, part)
                found.append((took, optimum(summary, *rates)))
            show(args, "retarget", f"{part:.0%}", "time_vs_optimum", "s", "lower", [run[0] for run in found],
                 "optimum of the links", [run[1] for run in found])
        anew = [qemu_run(net, image, PARTS[-1]) for _ in range(args.runs)]
        show(args, "retarget", f"{PARTS[-1]:.0%}", "time_vs_restart", "s", "lower", [run[0] for run in found],
             "qemu-tcp, begun anew", [run[0] for run in anew])
        spare = [watari_run(net, image, keys, PARTS[-1], "--prefer", "old-destination") for _ in range(args.runs)]
        show(args, "retarget", f"{PARTS[-1]:.0%}", "source_bytes_vs_restart", "B", "lower", [run[1] for run in spare],
             "qemu-tcp, begun anew", [run[1] for run in anew])


def main():
    args = options(__doc__, runs=3)
    try:
        measure(args)
    finally:
        Host.close_all()


if __name__ == "__main__":
    sys.exit(main())
