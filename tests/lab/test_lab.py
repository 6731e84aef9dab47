#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_lab.py CASE... - in lab hosts: real soft-RoCE, real KVM guests. See docs/LAB.md.

  verbs      a guest moves over verbs with RAM compared, back over tcp, and once more over verbs with a balloon that is
             inflated and deflated meanwhile
  contract   the contract suite of paths over verbs
  fabrics    memory is served to another host while RDMA breaks in the middle and comes back: verbs, tcp, verbs
"""

import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Stall, lab, lab_usable, wait_for  # noqa: E402
from harness.migration import BUILD, Migration, install_key  # noqa: E402

SMALL = {"mb": 160, "work_mb": 24, "rate": 500}
SEND = ["--switchover-timeout", "20s"]


def expect(condition, text):
    if not condition:
        raise Failure(text)


def move(source, destination, keys, fabric, *options):
    summary = Migration(source, destination, keys=keys, send=[*SEND, "--fabric", fabric, *options]).succeed(240)
    expect(summary["fabric"] == fabric and summary["destination"][f"{fabric}_bytes"] > 0, f"not over {fabric}: {summary}")
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
        third.quit()
        balloon(a, b, image, keys)


def balloon(a, b, image, keys):
    """RAM that may be discarded is never pinned: everything goes through copies, and arrives."""
    device = ("-device", "virtio-balloon-pci,id=balloon,free-page-reporting=on")
    source = Guest(a, image, extra=device, **SMALL)
    source.wait_reports(2)
    destination = Guest(b, image, incoming=True, extra=device, **SMALL)
    attempt = Migration(source, destination, keys=keys, send=[*SEND, "--fabric", "verbs", "--verify"])
    for size in (120, 150, 110, 160):
        source.call("balloon", {"value": size << 20})
        time.sleep(0.5)
    summary = attempt.succeed(240)
    expect(summary["copied_pages"] > 0, "RAM with a balloon was served in place")
    destination.wait_round()
    print(f"  balloon: {summary['copied_pages']} pages copied", flush=True)


def case_contract(image):
    with lab(1) as (a,):
        code, text = a.call([os.path.join(BUILD, "test_path"), "verbs", a.address], 600)
        print(text[-3000:])
        expect(code == 0, f"the contract suite over verbs: exit code {code}")


def case_fabrics(image):
    example = os.path.join(BUILD, "tests", "serve_and_pull")
    with lab(2, mem="2560M") as (a, b):
        keys = install_key([a, b])
        code, text = a.call(["sh", "-c", "head -c 1000M /dev/urandom >/dev/shm/memory && sha256sum </dev/shm/memory"], 240)
        expect(code == 0, f"no memory to serve: {text}")
        puller = b.start([example, "pull", "/dev/shm/copy", "4711", keys[1]], "pull")
        wait_for(lambda: puller.find("4711") or not puller.running(), "the puller")
        start = time.monotonic()
        server = a.start([example, "serve", "/dev/shm/memory", b.address, "4711", keys[0]], "serve")

        def copied():
            return int(b.call(["sh", "-c", "stat -c %b /dev/shm/copy 2>/dev/null || echo 0"])[1]) * 512 >> 20

        wait_for(lambda: copied() > 50 or not server.running(), "the first 50 MiB over verbs", 60)
        expect(server.running() and not server.find("verbs"), f"not over verbs: {server.tail()}")
        udp = ["ipproto", "udp", "prohibit"]  # soft-RoCE is UDP
        expect(a.call(["ip", "rule", "add", *udp])[0] == 0, "no ip rule")
        cut = copied()
        wait_for(lambda: server.find("verbs is not used") or not server.running(), "the fall from verbs", 60)
        expect(a.call(["ip", "rule", "del", *udp])[0] == 0, "no ip rule")
        fell = copied()
        wait_for(lambda: server.find("verbs is used now") or not server.running(), "verbs again", 60)
        again = copied()
        expect(server.find("verbs is used now"), f"verbs did not come back: {server.tail()}")
        expect((server.wait(240), puller.wait(60)) == (0, 0), f"serve: {server.tail()}; pull: {puller.tail()}")
        code, copy = b.call(["sh", "-c", "sha256sum </dev/shm/copy"], 120)
        expect(code == 0 and copy == text, "the copy differs")
        print(f"  verbs until {cut} MiB, tcp from {fell} MiB, verbs again from {again} MiB of 1000; "
              f"{time.monotonic() - start:.0f} s", flush=True)


CASES = {name[5:]: function for name, function in list(globals().items()) if name.startswith("case_")}


def main():
    if len(sys.argv) < 2 or any(name not in CASES for name in sys.argv[1:]):
        print(__doc__)
        return 2
    if reason := lab_usable():
        print(f"skipped: {reason}")
        return 77
    image = build_guest()
    for name in sys.argv[1:]:
        start = time.monotonic()
        try:
            try:
                CASES[name](image)
            except Stall as stall:
                print(f"  {stall}; the whole case once more, in a new lab", flush=True)
                CASES[name](image)
        except Failure:
            traceback.print_exc()
            print(f"{name}: FAILED after {time.monotonic() - start:.0f} s", flush=True)
            return 1
        print(f"{name}: passed ({time.monotonic() - start:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
