# SPDX-License-Identifier: BSD-3-Clause
"""ram_file.py PIDFILE fill|digest - the memory of a stopped guest, by way of its QEMU's memfd, on the host where it is.

  fill    random bytes into all of it; no two pages are equal, and none is zero
  digest  prints a digest of all of it: that of two guests is equal where their memory is
"""

import hashlib
import os
import sys

CHUNK = 16 << 20
STEP = 8  # a chunk begins so many bytes later than the one before it


def memory(pid):
    """An open file: the memory backend's memfd."""
    descriptors = f"/proc/{pid}/fd"
    for name in os.listdir(descriptors):
        if "memfd:memory-backend" in os.readlink(f"{descriptors}/{name}"):
            return open(f"{descriptors}/{name}", "r+b", buffering=0)
    raise FileNotFoundError(f"process {pid} has no memory backend in a memfd")


def fill(file):
    size = os.fstat(file.fileno()).st_size
    noise = os.urandom(CHUNK + STEP * (size // CHUNK + 1))
    for number, offset in enumerate(range(0, size, CHUNK)):
        start = number * STEP
        os.pwrite(file.fileno(), noise[start:start + min(CHUNK, size - offset)], offset)


def digest(file):
    found = hashlib.blake2b(digest_size=16)
    while piece := file.read(CHUNK):
        found.update(piece)
    print(found.hexdigest(), flush=True)


def main():
    with open(sys.argv[1]) as pid_file:
        pid = int(pid_file.read())
    with memory(pid) as file:
        {"fill": fill, "digest": digest}[sys.argv[2]](file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
