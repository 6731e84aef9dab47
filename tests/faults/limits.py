# SPDX-License-Identifier: BSD-3-Clause
"""limits.py - a relay runs out of something: descriptors, address space, locked memory, processes, disk.

The limit is the kernel's (prlimit, a small tmpfs), so whatever needs one more is what fails, wherever it is.
"""

import os
import subprocess

from harness.hosts import Failure

from migrations import Plain, Replica

MIB = 1 << 20
DESCRIPTORS = [*range(4, 33), 40, 48]
SPACE_MIB = (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
DISK_KIB = (0, 4, 16, 64, 256, 1024, 2048, 4096, 6144, 8192)


class Limits(Replica):
    """One limit each. The disk: a tmpfs of some size where the sender keeps its replica."""

    def __init__(self, world):
        super().__init__(world)
        self.disk = os.path.join(world.host.guest_dir, "disk")
        os.mkdir(self.disk)

    def points(self):
        """[(component, kind, name, what)]"""
        found = [(component, kind, f"{component}: {text}", (component, option))
                 for component in ("sender", "receiver") for kind, text, option in
                 [("descriptors", f"RLIMIT_NOFILE {n}", ("nofile", n)) for n in DESCRIPTORS] +
                 [("memory", f"RLIMIT_AS {n} MiB", ("as", n * MIB)) for n in SPACE_MIB] +
                 [("memory", f"RLIMIT_MEMLOCK {n} KiB", ("memlock", n << 10)) for n in (0, 64)] +
                 [("system", f"RLIMIT_NPROC {n}", ("nproc", n)) for n in (1, 2)]]
        return found + [("sender", "files", f"sender: disk of {n} KiB", ("sender", ("disk", n << 10))) for n in DISK_KIB]

    def run(self, what):
        component, (option, value) = what
        if option == "disk":
            return self.run_disk(value)
        start = self.world.host.start
        wanted = {"sender": "send", "receiver": "receive"}[component]

        def wrapped(argv, process_name, **more):
            if process_name != wanted:
                return start(argv, process_name, **more)
            return start(["prlimit", f"--{option}={value}", *argv], process_name, **more)
        self.world.host.start = wrapped
        try:
            return self.result(*Plain.run(self, {}))
        finally:
            self.world.host.start = start

    def run_disk(self, size):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, 4096)},nr_inodes={3 if not size else 64}", "watari",
                        self.disk], check=True)
        kept = self.send_options
        self.send_options = ["--keep-replica", os.path.join(self.disk, "kept")]
        try:
            return self.result(*Plain.run(self, {}))
        finally:
            self.send_options = kept
            if subprocess.run(["umount", self.disk], check=False).returncode:
                raise Failure("the disk is still in use")

    @staticmethod
    def result(left, said):
        if any(word.startswith("recover: ") for word in said):
            return "recovered", [f"left is the {left}", *said]
        return ("survived" if left == "destination" else "refused"), said
