#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""how long a guest is without its passed-through device while it moves between two lab hosts, and where that time goes.

A guest under KVM (nested, in emulated hosts), nearly all of its RAM in use, 2 % of it written again and again, with a NIC
passed through by VFIO that carries soft-RoCE; a process in it holds a verbs context, which its hook gives up.

  device_outage_ms    from the order to let go until the device works again at the destination, against the same without
                      warm-up; and its parts: quiesce (the guest's hook), unplug, move, plug, link up
  watari_overhead_ms  the outage, less those parts of the guest and of QEMU: hook, unplug, QEMU's migration, plug, link up
  downtime_ms         how long the guest is stopped meanwhile
  warm_up_outage      the outage less unplug, plug and link up, against the same without warm-up
  outage_1TiB_ms      what a straight line through the outages of all sizes says of 1 TiB, on this wire with these processors;
                      only with three sizes or more

A warm-up spares what digests cost less than the wire. Digests are slow in emulated hosts (`watari doctor` in one tells), so the
link is shaped to a quarter of that, unless --wire says otherwise: on real hosts the wire may well be no faster than that.
"""

import json
import os
import re
import signal
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import interleave, parser, show  # noqa: E402
from harness.devices import PATIENT, DeviceGuest, DeviceMove, build_devices_guest, has, with_device, write_map  # noqa: E402
from harness.hosts import Failure, lab, lab_usable, wait_for  # noqa: E402
from harness.migration import FEED, install_key, watari  # noqa: E402

SIZES = [256, 512, 1024]  # MiB
CHANGING = 0.02
SPARE_MB, SPARE = 110, 0.05  # of a guest's RAM: its kernel, and what it needs to run
REWRITES_PER_MB = 5  # and second: all of it within a minute; more, and an emulated host does nothing else
PARTS = {"quiesce_ms": "quiesce_ms", "unplug_ms": "unplug_ms", "move_ms": "move_ms", "plug_ms": "plug_ms", "link_up_ms": "attach_ms"}
PATIENCE_S = 1500
TIB_MIB = 1 << 20


def say(text):
    print(f"passthrough: {text}", file=sys.stderr, flush=True)


def digest_speed(host):
    """Bytes per second and processor. It is told with few digits, and not the same each time."""
    def once():
        code, text = host.call([watari(), "doctor", "--json"], 120)
        found = re.search(r"GMAC ([0-9.]+) GB/s", text)
        if not found:
            raise Failure(f"watari doctor does not tell the speed of digests ({code}): {text[-300:]}")
        return float(found.group(1)) * 1e9
    return statistics.median(once() for _ in range(5))


def shape(hosts, bytes_per_s):
    for host in hosts:
        code, text = host.call(["sh", "-c", f"modprobe sch_tbf; tc qdisc replace dev fab0 root tbf rate {int(bytes_per_s * 8)}bit "
                                            "burst 128k latency 2s"])
        if code:
            raise Failure(f"{host.name}: the link cannot be shaped: {text}")


class Move:
    """A new guest of so many MiB, and its move from the first host to the second."""

    def __init__(self, hosts, image, keys, mb, more=()):
        self.hosts, self.image, self.keys, self.mb, self.more = hosts, image, keys, mb, list(more)

    def guest(self, host, **more):
        work = max(1, round(self.mb * CHANGING))
        return DeviceGuest(host, self.image, mb=self.mb, work_mb=work, rate=REWRITES_PER_MB * work, hook="release",
                           append=f"wt.hold wt.ip=10.99.0.1/24 wt.const={round(self.mb * (1 - SPARE)) - SPARE_MB - work} wt.zero=1 wt.round=600 wt.tick=50 wt.report=5000", env=FEED, **more)

    def run(self):
        source = self.guest(self.hosts[0], devices=with_device(self.hosts[0]))
        source.wait_reports(2, 600)
        wait_for(lambda: "HOLD eth" in source.console(), "a verbs context in the guest", 120)
        destination = self.guest(self.hosts[1], incoming=True)
        maps = [write_map(host, {"a": has(self.hosts[0]), "b": has(self.hosts[1])}, PATIENT) for host in self.hosts]
        move = DeviceMove(source, destination, maps[0], there=maps[1], keys=self.keys, send=["--switchover-timeout", "60s", *self.more])
        found = self.figures(move.succeed(PATIENCE_S))
        wait_for(lambda: "HOLD eth" in destination.console(), "a verbs context again", 120)
        destination.wait_reports(1)
        destination.check()
        for guest in (source, destination):
            guest.quit()
        return found

    def figures(self, summary):
        devices = summary["devices"]
        if "trouble" in devices or any(device["error"] for device in devices["there"]):
            raise Failure(f"it did not move as wanted: {devices}")
        outage = devices["device_outage_ms"]
        qemus = summary["total_ms"] + sum(devices[part] for part in ("quiesce_ms", "unplug_ms", "plug_ms", "attach_ms"))
        found = {name: devices[key] for name, key in PARTS.items()}
        found |= {"device_outage_ms": outage, "downtime_ms": summary["downtime_ms"], "watari_overhead_ms": outage - qemus,
                  "warm_up_outage": outage - sum(devices[part] for part in ("unplug_ms", "plug_ms", "attach_ms"))}
        say(f"{self.mb} MiB {' '.join(self.more)}: " + json.dumps({name: round(value) for name, value in found.items()}) +
            f", warm-up {devices['warm_up_ms']:.0f} ms, {devices['warm_up_bytes'] >> 20} MiB, kept {summary['replica_pages'] >> 8}, "
            f"wire {(summary['tcp_bytes'] + summary['verbs_bytes']) >> 20} MiB")
        return found


def line(points):
    """(at 0, per MiB) of the straight line that fits best"""
    slope, start = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return start, slope


def told(args, found):
    """found: {(MiB, with warm-up): [figures of each run]}"""
    for mb in args.sizes:
        warm, cold = found[mb, True], found[mb, False]
        for metric in ("device_outage_ms", "warm_up_outage"):
            show(args, "passthrough", f"{mb}MiB", metric, "ms", "lower", [run[metric] for run in warm], "no warm-up", [run[metric] for run in cold])
        for metric in (*PARTS, "downtime_ms", "watari_overhead_ms"):
            show(args, "passthrough", f"{mb}MiB", metric, "ms", "lower", [run[metric] for run in warm])
    if len(args.sizes) < 3:
        return
    lines = {}
    for warm in (True, False):
        start, slope = lines[warm] = line([(mb, run["device_outage_ms"]) for mb in args.sizes for run in found[mb, warm]])
        say(f"{'with' if warm else 'without'} warm-up: {start:.0f} ms and {slope * 1024:.0f} ms per GiB of RAM")
    at = {warm: start + slope * TIB_MIB for warm, (start, slope) in lines.items()}
    show(args, "passthrough", "1TiB", "outage_1TiB_ms", "ms", "lower", [at[True]], "no warm-up", [at[False]])


def command_line():
    made = parser(__doc__, runs=1)
    made.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="RAM of the guest, MiB")
    made.add_argument("--wire", type=float, help="bytes per second of the link between the hosts; default: a quarter of what digests do")
    return made.parse_args()


def main():
    args = command_line()
    if reason := lab_usable():
        print(f"passthrough: the lab cannot run here: {reason}", file=sys.stderr)
        return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # and so ends the lab
    image = build_devices_guest()
    with lab(2, mem=f"{max(args.sizes) + 1536}M", options=["--vfio-nic"]) as hosts:
        keys = install_key(hosts)
        speed = min(digest_speed(host) for host in hosts)
        wire = args.wire or speed / 4
        shape(hosts, wire)
        say(f"digests {speed / 1e6:.1f} MB/s per processor of a lab host; the link is shaped to {wire / 1e6:.1f} MB/s")
        contenders = {(mb, warm): Move(hosts, image, keys, mb, () if warm else ("--no-warm-up",)).run
                      for mb in args.sizes for warm in (True, False)}
        told(args, interleave(contenders, args.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
