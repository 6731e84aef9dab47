#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""tcp_limit.py receive ADDRESS FILE BYTES | send ADDRESS PORT FILE BYTES - the least that moving so much memory over tcp takes here.

One connection. The sender hands a file's pages to the socket (sendfile, no copy), the receiver lets the kernel copy them into
memory that exists, through a mapping of its own: what any process needs that fills another one's memory. No QEMU, no protocol,
nothing looked at. `receive` says its port; both say at the end, as JSON, their processor seconds since the connection, and
when they were done.
"""
import json
import mmap
import os
import resource
import socket
import sys
import time

SLICE = 1 << 20
LARGE = 1 << 30
MADV_POPULATE_WRITE = 23


def memory(path, size, noise):
    """That file, or one in memory ("-"), of that size and all of it there."""
    file = os.memfd_create("tcp-limit") if path == "-" else os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.truncate(file, size)
    block = os.urandom(SLICE + 4096) if noise else bytes(SLICE + 1)
    for at in range(0, size, SLICE):
        shift = at // SLICE % 4096 if noise else 0
        os.pwrite(file, block[shift:shift + SLICE], at)
    return file


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def say(**facts):
    print(json.dumps(facts), flush=True)


def receive(address, path, size):
    file = memory(path, size, False)
    with socket.create_server((address, 0)) as server:
        say(port=server.getsockname()[1])
        peer, _ = server.accept()
    before, room = used(), mmap.mmap(file, size)
    room.madvise(MADV_POPULATE_WRITE)  # cheaper than the faults would be
    room = memoryview(room)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, SLICE // 4)
    at = 0
    while at < size:
        got = peer.recv_into(room[at:at + SLICE], 0, socket.MSG_WAITALL)
        if not got:
            sys.exit("the sender has gone")
        at += got
    say(cpu=used() - before, done=time.time())


def send(address, port, path, size):
    file = memory(path, size, True)
    peer = socket.create_connection((address, port))
    before, began, at = used(), time.time(), 0
    while at < size:
        at += os.sendfile(peer.fileno(), file, at, min(LARGE, size - at))
    say(cpu=used() - before, began=began)


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "receive":
        receive(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif len(sys.argv) == 6 and sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
