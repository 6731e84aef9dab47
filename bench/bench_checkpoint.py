#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""a running guest is written to files, and goes on from them, against QEMU's own migration to a file.

  save_time         until all is on disk; the baseline is the better one of QEMU's exec:cat, and file: with mapped-ram, two channels
                    of multifd and direct-io
  downtime          how long the guest is stopped meanwhile
  restore_time      from files that are in no cache, until the guest runs
  incremental_time  the same as save_time after the guest has rewritten 5 % of its memory; the baseline is QEMU's save, which knows no such thing
  save_vs_fio       save_time against fio writing as many bytes (direct, 1 MiB, 16 at once), fsync included

One guest on QEMU 10.0 with 1 GiB, of which it uses 700 MiB and rewrites 8 MB a second; with libwatari-feed.so, which does nothing for QEMU's own
migrations. The page cache is dropped before each save and restore, and fsync is part of each save. The case with zstd stands apart.
"""

import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import options, show  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, wait_for  # noqa: E402
from harness.migration import FEED, events, watari  # noqa: E402

GUEST = {"mb": 1024, "work_mb": 700, "rate": 2000, "version": "10.0", "env": FEED}
CHANGED = 0.05
FAST = 1 << 40  # bytes per second: no limit of QEMU's own
CHANNELS = 2


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def need(guest, command, arguments=None):
    code, text = guest.call(command, arguments)
    if code:
        raise Failure(f"{command}: {text}")
    return text


def summary_of(process):
    if process.wait(300):
        raise Failure(f"{process.name}: {process.tail()}")
    return next(event for event in events(process) if event["event"] == "summary")


# ---- watari ----

def save(guest, directory, *more):
    drop_caches()
    return summary_of(guest.host.start([watari(), "checkpoint", "--qmp", guest.qmp, "--json", *more, directory], "checkpoint"))


def restore(host, image, directory):
    guest = Guest(host, image, incoming=True, **GUEST)
    drop_caches()
    summary = summary_of(host.start([watari(), "restore", "--qmp", guest.qmp, "--json", directory], "restore"))
    guest.wait_reports(1)
    guest.check()
    guest.quit()
    return summary["total_ms"]


def steps(guest):
    return guest.reports()[-1][1]


def ours(host, image, guest, run, *more):
    directory = f"{host.run_dir}/saved-{run}-{len(more)}"
    first = save(guest, directory, *more)
    begin = steps(guest)
    found = {"save_time": first["total_ms"], "downtime": first["downtime_ms"], "bytes": first["written_bytes"], "sync": first["sync_ms"],
             "restore_time": restore(host, image, directory)}
    wait_for(lambda: steps(guest) - begin >= CHANGED * GUEST["mb"] * 256, "5 % of the pages", 120)
    second = save(guest, directory, *more)
    found["incremental_time"], found["incremental_sync"] = second["total_ms"], second["sync_ms"]
    print(f"watari {' '.join(more)}: {found}, then {second['written_bytes']} bytes; restored then in {restore(host, image, directory):.0f} ms",
          file=sys.stderr, flush=True)
    subprocess.run(["rm", "-r", directory], check=True)
    return found


# ---- QEMU ----

def settings(guest, mapped):
    need(guest, "migrate-set-capabilities", {"capabilities": [{"capability": name, "state": mapped} for name in ("multifd", "mapped-ram")]})
    need(guest, "migrate-set-parameters", {"multifd-channels": CHANNELS, "max-bandwidth": FAST, "downtime-limit": 300,
                                           "direct-io": mapped})


def completed(guest):
    status = need(guest, "query-migrate").get("status")
    if status == "failed":
        raise Failure(f"QEMU's migration: {need(guest, 'query-migrate')}")
    return status == "completed"


def qemus(host, image, guest, run, mapped):
    path = f"{host.run_dir}/qemu-{run}"
    settings(guest, mapped)
    drop_caches()
    begin = time.monotonic()
    need(guest, "migrate", {"uri": f"file:{path}" if mapped else f"exec:cat >{path}"})
    wait_for(lambda: completed(guest), "QEMU's migration", 300)
    subprocess.run(["sync", path], check=True)
    save_ms = (time.monotonic() - begin) * 1e3
    downtime_ms = need(guest, "query-migrate")["downtime"]
    need(guest, "cont")
    settings(guest, False)
    found = {"save_time": save_ms, "downtime": downtime_ms, "restore_time": qemu_restore(host, image, path, mapped)}
    print(f"QEMU {'mapped-ram' if mapped else 'exec:cat'}: {found}", file=sys.stderr, flush=True)
    os.unlink(path)
    return found


def qemu_restore(host, image, path, mapped):
    guest = Guest(host, image, incoming=True, **GUEST)
    settings(guest, mapped)
    drop_caches()
    begin = time.monotonic()
    need(guest, "migrate-incoming", {"uri": f"file:{path}" if mapped else f"exec:cat {path}"})
    wait_for(lambda: completed(guest), "QEMU's restore", 300)
    need(guest, "cont")
    ms = (time.monotonic() - begin) * 1e3
    guest.wait_reports(1)
    guest.check()
    guest.quit()
    return ms


def fio(host, length):
    """Milliseconds for so many bytes."""
    drop_caches()
    told = subprocess.run(["fio", "--name=save", f"--filename={host.run_dir}/fio", "--rw=write", "--bs=1M", f"--size={length >> 20}M",
                           "--ioengine=libaio", "--iodepth=16", "--direct=1", "--end_fsync=1", "--output-format=json"],
                          capture_output=True, text=True, check=True)
    os.unlink(f"{host.run_dir}/fio")
    return json.loads(told.stdout[told.stdout.index("{"):])["jobs"][0]["job_runtime"]


def main():
    args = options(__doc__, runs=3)
    image, host = build_guest(), Host("bench")
    found = {"watari": [], "zstd": [], "exec-cat": [], "mapped-ram": [], "fio": []}
    try:
        guest = Guest(host, image, **GUEST)
        guest.wait_reports(3)
        for run in range(args.runs):
            found["watari"].append(ours(host, image, guest, run))
            found["exec-cat"].append(qemus(host, image, guest, run, False))
            found["mapped-ram"].append(qemus(host, image, guest, run, True))
            found["fio"].append(fio(host, found["watari"][-1]["bytes"]))
            found["zstd"].append(ours(host, image, guest, run, "--zstd"))
        guest.check()
    finally:
        Host.close_all()
    of = {name: {metric: sorted(each[metric] for each in found[name]) for metric in ("save_time", "downtime", "restore_time")}
          for name in ("exec-cat", "mapped-ram")}
    for name, case in (("watari", f"{GUEST['mb']}MiB"), ("zstd", f"{GUEST['mb']}MiB-zstd")):
        for metric in ("save_time", "downtime", "restore_time", "incremental_time"):
            wanted = "save_time" if metric == "incremental_time" else metric
            better = min(of, key=lambda other: of[other][wanted][args.runs // 2])
            show(args, "checkpoint", case, metric, "ms", "lower", [each[metric] for each in found[name]], better, of[better][wanted])
    show(args, "checkpoint", f"{GUEST['mb']}MiB", "save_vs_fio", "ms", "lower", [each["save_time"] for each in found["watari"]], "fio",
         found["fio"])


if __name__ == "__main__":
    sys.exit(main())
