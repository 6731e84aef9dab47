#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_common_memory.py CASE... - send and receive --common-memory: none of the guest's memory is moved. Both hosts are this
machine here; host VMs are those of tests/lab/test_common_memory_lab.py.

  stays     a guest moves, and its memory stays in its file; then once more
  versions  7.2 and 10.0, to and fro
  unlike    memory that is not the same, has another size, has no room behind it or is private, and the word at one end
            only: refused, the guest runs on
  aborts    the destination fails behind the stop: the guest runs on, on memory that the other QEMU had mapped
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main, need_sabotage, still_fine  # noqa: E402
from harness.common_memory import long_file  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.migration import Migration  # noqa: E402

COMMON = ["--common-memory"]


def first(host, image, name="ram", **shape):
    ram = {**SMALL, **long_file(f"{host.run_dir}/{name}", SMALL["mb"]), **shape}
    guest = Guest(host, image, **ram)
    guest.wait_reports(2)
    return guest, ram


def move(guest, new, send=COMMON, receive=COMMON, **options):
    return Migration(guest, new, send=send, receive=receive, **options)


def case_stays(host, image):
    guest, ram = first(host, image)
    for _ in range(2):
        new = Guest(host, image, incoming=True, **ram)
        told = move(guest, new).succeed()
        expect(told["moved_bytes"] == 0 and told["common_bytes"] == ram["mb"] << 20, f"memory was moved: {told}")
        expect(told["stream_bytes"] < 4 << 20, f"too much went through the stream: {told}")
        print(f"  {told['total_ms']:.0f} ms, {told['downtime_ms']:.1f} ms down, {told['stream_bytes']} bytes", flush=True)
        guest.ended()
        guest = new
        still_fine(guest)
    capabilities = {c["capability"]: c["state"] for c in guest.call("query-migrate-capabilities")[1]}
    expect(not capabilities["x-ignore-shared"], "the next migration would leave the memory out")
    guest.wait_round()


def case_versions(host, image):
    shape = {"machine": "pc-q35-7.2"}  # both versions have it
    guest, ram = first(host, image, version="7.2", **shape)
    for version in ("10.0", "7.2", "7.2", "10.0"):
        ram["version"] = version
        new = Guest(host, image, incoming=True, **ram)
        told = move(guest, new).succeed()
        expect(told["moved_bytes"] == 0, f"memory was moved: {told}")
        print(f"  to {version}: {told['total_ms']:.0f} ms, {told['downtime_ms']:.1f} ms down", flush=True)
        guest.ended()
        guest = new
        still_fine(guest)
    guest.wait_round()


def refuse(guest, new, text, **options):
    """The migration is refused with that text; the guest runs on."""
    migration = move(guest, new, **options)
    codes = migration.sender.wait(60)
    said = [line for line in migration.sender.lines if line.startswith("watari: ")]
    expect(codes == 1 and any(text in line for line in said), f'no word of "{text}": {codes} {migration.sender.tail()}')
    print(f"  {said[-1]}", flush=True)
    still_fine(guest)
    migration.receiver.kill()
    new.quit()


def case_unlike(host, image):
    guest, ram = first(host, image)
    elsewhere = {**ram, **long_file(f"{host.run_dir}/other", SMALL["mb"])}
    refuse(guest, Guest(host, image, incoming=True, **elsewhere), "is not the same memory at the destination")
    other, _ = first(host, image, "guest")
    refuse(guest, Guest(host, image, incoming=True, **{**ram, "ram_file": f"{host.run_dir}/guest"}),
           "is not the same memory at the destination")
    still_fine(other)
    other.quit()
    smaller = {**ram, **long_file(f"{host.run_dir}/smaller", SMALL["mb"] - 32)}
    refuse(guest, Guest(host, image, incoming=True, **smaller), f"has {SMALL['mb'] << 20} bytes here and")
    refuse(guest, Guest(host, image, incoming=True, **ram), "was started without --common-memory", receive=[])
    refuse(guest, Guest(host, image, incoming=True, **ram), "was started with --common-memory", send=[])
    guest.quit()
    short = {**SMALL, "backend": "file"}
    guest = Guest(host, image, **short)
    guest.wait_reports(2)
    new = Guest(host, image, incoming=True, **ram)
    refuse(guest, new, "must be behind the guest's RAM")
    guest.quit()
    guest = Guest(host, image, **SMALL)
    guest.wait_reports(2)
    refuse(guest, Guest(host, image, incoming=True, **ram), "has no file name")


def case_aborts(host, image):
    need_sabotage()
    guest, ram = first(host, image)
    for state in ("loading", "ready"):
        new = Guest(host, image, incoming=True, **ram)
        migration = move(guest, new, send=[*COMMON, "--reconnect-timeout", "2s"], receive_env={"WATARI_DIE_BEFORE": state})
        expect(migration.sender.wait(60) == 1, f"it did not fail: {migration.sender.tail()}")
        new.process.kill()
        still_fine(guest)
    new = Guest(host, image, incoming=True, **ram)
    move(guest, new).succeed()
    guest.ended()
    still_fine(new)
    new.wait_round()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
