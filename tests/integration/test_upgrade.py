#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_upgrade.py CASE... - the QEMU below a running guest is replaced, on this machine; `all` runs every case.

`watari upgrade` starts the new QEMU itself, from the old one's command line. In every case the guest runs afterwards, at the
sockets that it had, and its own check finds no error.
"""

import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.guests import Guest, qemu  # noqa: E402
from harness.handover import Upgraded, pid_of, ram_path  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import events, watari  # noqa: E402


def first(host, image, **options):
    guest = Guest(host, image, **{**SMALL, **options})
    guest.wait_reports(2)
    return guest


def version_of(guest):
    version = guest.call("query-version")[1]["qemu"]
    return f"{version['major']}.{version['minor']}"


def check_place(guest, former):
    """What is at the guest's names is the new QEMU, and nothing is left beside them."""
    pid = pid_of(guest)
    expect(pid != former, "the pid file still has the old QEMU")
    wait_for(lambda: not os.path.exists(f"/proc/{former}/exe"), "the end of the old QEMU", 10)
    left = [name for name in os.listdir(guest.host.run_dir) if ".watari-" in name]
    expect(not left, f"left behind: {left}")
    return pid


def replace(host, image, binaries):
    """On a memfd, with the machine type q35; sockets, pid file and the console's log stay. Answers the last summary."""
    guest = first(host, image, machine="pc-q35-7.2" if len(binaries) > 1 else "q35")
    with Upgraded(guest) as upgraded:
        pid, log = pid_of(guest), len(guest.console())
        for binary, version in binaries:
            told = upgraded.upgrade(*(["--binary", binary] if binary else []))
            print(f"  {told['old_qemu']} to {told['new_qemu']}: {told['total_ms']:.0f} ms, {told['downtime_ms']:.1f} ms down",
                  flush=True)
            expect(version_of(guest) == version, f"QEMU {version_of(guest)}, not {version}")
            pid = check_place(guest, pid)
            still_fine(guest)
        expect(len(guest.console()) > log, "the console's log was emptied")
        guest.wait_round()
    return told


def case_upgrade(host, image):
    """To the same program, as after an update."""
    replace(host, image, [(None, "10.0")])


def case_versions(host, image):
    """Three times in a row: to the same program, to 7.2, and to 10.0 again."""
    told = replace(host, image, [(None, "10.0"), (qemu("7.2"), "7.2"), (qemu("10.0"), "10.0")])
    expect(told["dropped_bytes"] == 0, f"QEMU walked over the memory: {told}")


def case_plugged(host, image):
    """What was plugged in is there afterwards: a device, memory, and both once more."""
    mb = 384  # a guest whose memory may grow beyond 4 GiB keeps 64 MiB for DMA
    guest = first(host, image, mb=mb, machine="pc", backend="file", extra=["-m", f"size={mb}M,slots=2,maxmem=1G"])
    for command, arguments in (
            ("object-add", {"qom-type": "memory-backend-memfd", "id": "more", "size": 128 << 20, "share": True}),
            ("device_add", {"driver": "pc-dimm", "id": "dimm", "memdev": "more"}),
            ("device_add", {"driver": "virtio-rng-pci", "id": "rng"})):
        code, text = guest.call(command, arguments)
        expect(code == 0, f"{command}: {text}")
    with Upgraded(guest) as upgraded:
        for _ in range(2):
            told = upgraded.upgrade()
            expect(told["moved_bytes"] == (mb + 128) << 20, f"not all memory was handed over: {told}")
            names = [device["name"] for device in guest.call("qom-list", {"path": "/machine/peripheral"})[1]]
            expect({"dimm", "rng"} <= set(names), f"devices are missing: {names}")
            still_fine(guest)


def refuse(guest, text, *options):
    """It is refused with that text; the guest runs on where it was, and nothing is left of the attempt."""
    pid = pid_of(guest)
    with Upgraded(guest) as upgraded:
        process = upgraded.start(*options)
        said = refused(process, text)
        upgraded.note(process)
        wait_for(lambda: not upgraded.alive(), "the end of the new QEMU", 15)
    print(f"  {said}", flush=True)
    expect(pid_of(guest) == pid and guest.status() == "running", "the guest is not where it was")
    left = [name for name in os.listdir(guest.host.run_dir) if ".watari-" in name]
    expect(not left, f"left behind: {left}")


def case_refused(host, image):
    """A new QEMU that will not start, is none, or is another machine; what cannot be carried over."""
    guest = first(host, image, backend="file")
    refuse(guest, "ended with exit code 1", "--binary", "/bin/false")
    refuse(guest, "cannot be started", "--binary", "/nonexistent/qemu")
    refuse(guest, "did not come up", "--start-timeout", "1s", "--binary", sleeper(host))
    other = os.path.join(host.run_dir, "other.sh")
    with open(other, "w") as file:
        file.write(f"exec {qemu('10.0')} -S -incoming defer -M pc,memory-backend=mem -accel tcg -nodefaults -display none "
                   f"-m {SMALL['mb']} -qmp unix:$WATARI_QMP,server=on,wait=off "
                   f"-object memory-backend-file,id=mem,share=on,size={SMALL['mb']}M,mem-path={ram_path(guest)}\n")
    refuse(guest, "machine type", "--command", other)
    still_fine(guest)
    guest.quit()
    port = first(host, image, backend="file", extra=["-serial", "tcp:127.0.0.1:0,server=on,wait=off"])
    refuse(port, "listens on TCP port")
    port.quit()
    private = first(host, image, numa=["-m", "160"])
    refuse(private, "is private to the old QEMU")
    private.quit()
    disk = os.path.join(host.run_dir, "disk.raw")
    with open(disk, "w") as file:
        file.truncate(1 << 20)
    throwaway = first(host, image, backend="file", extra=["-drive", f"file={disk},format=raw,if=virtio,snapshot=on"])
    refuse(throwaway, "lost when that QEMU ends")


def sleeper(host):
    """A program that takes any arguments and never answers."""
    path = os.path.join(host.run_dir, "sleeper")
    with open(path, "w") as file:
        file.write("#!/bin/sh\nexec sleep 600\n")
    os.chmod(path, 0o755)
    return path


def case_script(host, image):
    """The new QEMU is started by a script of the operator's."""
    guest = first(host, image)
    script = os.path.join(host.run_dir, "new.sh")
    with open(script, "w") as file:
        file.write(f"exec {qemu('10.0')} -accel tcg -M $WATARI_MACHINE,memory-backend=mem -m {SMALL['mb']} "
                   f"-object memory-backend-file,id=mem,size={SMALL['mb']}M,share=on,mem-path=$WATARI_RAM_mem -cpu qemu64 "
                   f"-nodefaults -display none -serial file:{guest.serial}.new -qmp unix:$WATARI_QMP,server=on,wait=off "
                   "-S -incoming defer\n")
    with Upgraded(guest) as upgraded:
        upgraded.upgrade("--command", script)
        guest.ended()
        guest.monitor, guest.serial = guest.qmp, guest.serial + ".new"
        still_fine(guest)


def case_die(host, image):
    """watari is killed behind the commit: `recover` finds both QEMUs by the names that were told."""
    need_sabotage()
    guest = first(host, image, backend="file")
    with Upgraded(guest) as upgraded:
        process = upgraded.start(env={"WATARI_DIE_BEFORE": "starting"})
        expect(process.wait(60) == -signal.SIGKILL, f"watari was not killed: {process.tail()}")
        upgraded.note(process)
        new = next(event["qmp"] for event in events(process) if event["event"] == "started")
        code, said = host.call([watari(), "recover", "--qmp", guest.qmp, "--destination-qmp", new])
        expect(code == 0, f"recover: exit code {code}: {said}")
        guest.ended()
        guest.monitor = new
        still_fine(guest)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
