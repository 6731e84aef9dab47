# SPDX-License-Identifier: BSD-3-Clause
"""guests.py - QEMU processes with the self-checking guest of tests/guest."""

import json
import os
import re
import subprocess
import sys
import time

from .hosts import ROOT, Failure, Stall, wait_for

QMP_CALL = os.path.join(ROOT, "tests", "harness", "qmp_call.py")
REPORT = re.compile(r"SELFCHECK round=(\d+) .*steps=(\d+) errors=(\d+)")


def build_guest():
    """The directory with vmlinux and guest.cpio."""
    built = subprocess.run([os.path.join(ROOT, "tests", "guest", "build")], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, text=True, check=True)
    return built.stdout.strip().splitlines()[-1]


def qemu(version):
    """The program of a version: 7.2 is Debian's own, 10.0 that of its backports."""
    if version == "7.2":
        return "qemu-system-x86_64"
    fetched = subprocess.run([os.path.join(ROOT, "scripts", "lab.d", "qemu10")], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, text=True, check=True)
    return fetched.stdout.strip().splitlines()[-1]


def qemu_for(host):
    """The QEMU to start on a host: Debian's own where there is KVM. QEMU 7.2 loses dirty pages of guests under TCG,
    so natively the newer one."""
    return qemu("7.2" if host.accel == "kvm" else "10.0")


class Guest:
    """One QEMU on one host. Two QMP sockets: `qmp` for watari, `monitor` for the test. incoming: True for a driven migration,
    or a URI.

    version and machine choose QEMU and its machine type; ram_options are appended to the memory backend's; numa replaces
    all of it; disk is a qcow2 image, opened with QEMU's locks; env is added to QEMU's environment.
    """

    count = 0

    def __init__(self, host, image, *, mb=256, work_mb=64, rate=2000, incoming=False, machine="q35",
                 backend="memfd", ram_file=None, ram_options="", version=None, numa=(), disk=None, initrd="guest.cpio", extra=(),
                 append="", env=None):
        Guest.count += 1
        self.host = host
        self.name = f"g{Guest.count}"
        self.qmp = f"{host.run_dir}/{self.name}.qmp"
        self.monitor = f"{host.run_dir}/{self.name}.mon"
        self.serial = f"{host.out_dir}/{self.name}.log"
        memory = f"memory-backend-{backend},id=mem,size={mb}M,share=on"
        if backend == "file":
            memory += f",mem-path={ram_file or f'{host.run_dir}/{self.name}.ram'}"
        memory += ram_options
        if disk:
            extra = [*extra, "-drive", f"file={disk},format=qcow2,if=none,id=disk,file.locking=on",
                     "-device", "virtio-blk-pci,drive=disk"]
        ram = list(numa) or ["-machine", "memory-backend=mem", "-object", memory]
        self.pid_file = f"{host.run_dir}/{self.name}.pid"
        argv = [qemu(version) if version else qemu_for(host), "-pidfile", self.pid_file, "-accel", host.accel, "-M", machine, "-m", f"{mb}", *ram,
                "-cpu", "host" if host.accel == "kvm" else "qemu64",
                "-nodefaults", "-display", "none", "-serial", f"file:{self.serial}",
                "-qmp", f"unix:{self.qmp},server=on,wait=off", "-qmp", f"unix:{self.monitor},server=on,wait=off",
                "-kernel", f"{image}/vmlinux", "-initrd", f"{image}/{initrd}", "-append",
                f"console=ttyS0 quiet wt.mb={work_mb} wt.rate={rate} {append}".strip(), *extra]
        self.incoming = bool(incoming)
        if incoming:
            argv += ["-incoming", "defer", "-S"] if incoming is True else ["-incoming", incoming]
        self.argv = argv
        self.process = host.start(argv, self.name, env=env)
        wait_for(self.answers, f"QEMU {self.name} on {host.name}: {self.process.tail()}", 180)

    def answers(self):
        if not self.process.running():
            raise Failure(f"QEMU {self.name} on {self.host.name} ended: {self.process.tail()}")
        return self.call("query-status")[0] == 0

    def call(self, command, arguments=None):
        """(exit code, value or error text)"""
        argv = [sys.executable if self.host.where == "native" else "/usr/bin/python3", QMP_CALL, self.monitor, command]
        if arguments:
            argv.append(json.dumps(arguments))
        code, text = self._call_patiently(argv)
        return code, json.loads(text) if code == 0 else text

    def _call_patiently(self, argv):
        """An emulated host may stall for a while under load; every command used here may be given twice."""
        for patience_s in (30, 60):
            try:
                return self.host.call(argv, patience_s)
            except Failure as failure:
                print(f"  {self.name}: {failure}; trying again", flush=True)
                if hasattr(self.host, "diagnose"):
                    self.host.diagnose()
        raise Stall(f"{self.host.name} does not answer; {self.name} cannot be asked")

    def status(self):
        """QEMU's run state; None when the process is gone."""
        code, value = self.call("query-status")
        return value["status"] if code == 0 else None

    def console(self):
        try:
            with open(self.serial, errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def reports(self):
        """(round, steps, errors) of every report so far."""
        return [tuple(map(int, match)) for match in REPORT.findall(self.console())]

    def failures(self):
        return [line for line in self.console().splitlines() if "SELFCHECK FAIL" in line]

    def wait_reports(self, more=1, timeout_s=120):
        """Waits until the guest has reported so many times more."""
        have = len(self.reports())
        wait_for(lambda: len(self.reports()) >= have + more or self.failures() or "Kernel panic" in self.console(),
                 f"the guest's next report on {self.host.name}", timeout_s)
        if "Kernel panic" in self.console():
            raise Failure(f"the guest's kernel gave up: {self.console().splitlines()[-1]}")

    def check(self):
        """Failure if the guest found anything wrong with its memory."""
        if bad := self.failures():
            raise Failure(f"the guest's memory is wrong: {bad[0]} ({len(bad)} in all)")
        if any(errors for _, _, errors in self.reports()):
            raise Failure("the guest counts errors in its memory")

    def wait_round(self, timeout_s=180):
        """Waits until the guest has looked at every page once more, and checks."""
        start = self.reports()
        first = start[-1][0] if start else -1
        try:
            wait_for(lambda: self.failures() or (self.reports() and self.reports()[-1][0] >= first + 2),
                     f"two rounds of the guest's check on {self.host.name}", timeout_s)
        except Failure as failure:
            raise self.silent(failure) from None
        self.check()

    def silent(self, failure):
        """What to raise for a guest that says nothing. On a lab host: a Stall, if QEMU runs it and its processor does not move, or
        KVM could not run a guest that has never been moved, which is its emulated KVM's doing (docs/LAB.md)."""
        found = []
        for pause_s in (5, 0):
            _, text = self.call("human-monitor-command", {"command-line": "info registers"})
            found.append((self.status(), next((line.split()[0] for line in str(text).splitlines() if "RIP=" in line), text)))
            time.sleep(pause_s)
        state = found[0][0]
        emulated = state == "running" or (state == "internal-error" and not self.incoming)
        stalled = self.host.where == "lab" and found[0] == found[1] and emulated
        return (Stall if stalled else Failure)(f"{failure}; its state and where its processor is, twice: {found}; {self.process.tail()}")

    def ended(self, timeout_s=15):
        wait_for(lambda: not self.process.running(), f"the end of QEMU {self.name}", timeout_s)

    def quit(self):
        if self.process.running():
            self.call("quit")
            self.process.kill()
