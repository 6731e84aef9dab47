# SPDX-License-Identifier: BSD-3-Clause
"""tiny.py - real QEMUs whose guest is guest.S: 8 MiB, up within half a second, and each word of 4 MiB checked all the time."""

import os
import re
import subprocess

from harness.guests import qemu
from harness.hosts import Failure, wait_for
from harness.qmp_call import call

MB = 8
ACCEL = os.environ.get("WATARI_ACCEL", "tcg")  # kvm inside of lab hosts
HERE = os.path.dirname(os.path.abspath(__file__))
LINE = re.compile(r"^([0-9a-f]{8})([.!])$", re.M)


def build_rom(directory):
    """The firmware, built in the directory; answers its path."""
    rom, built, plain = (os.path.join(directory, f"guest.{end}") for end in ("rom", "o", "s"))
    for argv in (["cpp", "-P", os.path.join(HERE, "guest.S"), plain], ["as", "--32", plain, "-o", built],
                 ["ld", "-m", "elf_i386", "-Ttext", "0", "--oformat", "binary", built, "-o", rom]):
        subprocess.run(argv, check=True)
    return rom


class Tiny:
    """One QEMU. `qmp` is for watari, `monitor` for the test."""

    count = 0

    def __init__(self, host, rom, incoming=False):
        Tiny.count += 1
        self.host = host
        self.name = f"t{Tiny.count}"
        self.qmp, self.monitor, self.serial = (os.path.join(host.guest_dir, f"{self.name}.{end}") for end in ("qmp", "mon", "log"))
        memory = f"memory-backend-memfd,id=mem,size={MB}M,share=on"
        self.process = host.start(
            [qemu("7.2" if ACCEL == "kvm" else "10.0"), "-accel", ACCEL, "-M", "q35,memory-backend=mem", "-m", f"{MB}", "-object", memory, "-bios", rom,
             "-nodefaults", "-display", "none", "-serial", f"file:{self.serial}",
             "-qmp", f"unix:{self.qmp},server=on,wait=off", "-qmp", f"unix:{self.monitor},server=on,wait=off",
             *(["-incoming", "defer", "-S"] if incoming else [])], self.name)

    def ready(self):
        wait_for(lambda: self.status() or not self.alive(), f"QEMU {self.name}", 60)
        if not self.alive():
            raise Failure(f"QEMU {self.name} ended: {self.process.tail()}")
        return self

    def alive(self):
        return self.process.running()

    def ended(self, timeout_s=15):
        wait_for(lambda: not self.alive(), f"the end of QEMU {self.name}", timeout_s)

    def ask(self, command, arguments=None):
        """The answer; None when QEMU cannot be reached."""
        try:
            return call(self.monitor, command, arguments).get("return")
        except (OSError, ValueError):
            return None

    def status(self):
        return (self.ask("query-status") or {}).get("status") if self.alive() else None

    def lines(self):
        """[(round, right)] of whole lines so far"""
        try:
            with open(self.serial, errors="replace", encoding="ascii") as file:
                return [(int(count, 16), mark == ".") for count, mark in LINE.findall(file.read())]
        except FileNotFoundError:
            return []

    def last(self):
        found = self.lines()
        return found[-1][0] if found else 0

    def fine(self, after=0):
        """Failure unless the guest looks at all its memory twice more, finds it right, and is past that round."""
        have = len(self.lines())
        wait_for(lambda: len(self.lines()) >= have + 3, f"the guest's next rounds ({self.name} is {self.status()})", 60)
        bad = [count for count, right in self.lines() if not right]
        if bad:
            raise Failure(f"the guest's memory is wrong in round {bad[0]}")
        if self.last() <= after:
            raise Failure(f"the guest is at round {self.last()}, and was past {after} already")

    def end(self):
        self.process.kill()
