# SPDX-License-Identifier: BSD-3-Clause
"""allocated.py PIDFILE NAME - prints, ten times a second, how many bytes the file behind a QEMU's RAM really has.

NAME is part of the file's name, as /proc/PID/fd shows it (memfd backends: "memory-backend-memfd"). Pages that QEMU
discards (balloon, free-page reporting) leave that file, so the figure falls. Ends with QEMU.
"""

import os
import sys
import time


def ram_of(pid, name):
    """The descriptor of the largest such file, as a path."""
    folder = f"/proc/{pid}/fd"
    found = [f"{folder}/{fd}" for fd in os.listdir(folder) if name in os.readlink(f"{folder}/{fd}")]
    return max(found, key=lambda path: os.stat(path).st_size)


def main():
    with open(sys.argv[1]) as file:
        pid = int(file.read())
    path = ram_of(pid, sys.argv[2])
    try:
        while True:
            print(os.stat(path).st_blocks * 512, flush=True)
            time.sleep(0.1)
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
