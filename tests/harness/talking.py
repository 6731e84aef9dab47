# SPDX-License-Identifier: BSD-3-Clause
"""talking.py - the other end of a guest's talker (tests/guest/talker.c): its disk, over NBD, and its networks. Every byte
is compared.
"""

import array
import os
import re
import socket
import threading

from .hosts import Failure, wait_for

STRIDE = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
BLOCK_WORDS, FRAME_WORDS = 512, 180
HEADER = b"\xff" * 6 + b"\x02watar" + b"\x88\xb5"


def words(index, count):
    """What block or frame `index` holds."""
    first = index * STRIDE & MASK
    return array.array("Q", [(first + w) & MASK for w in range(count)]).tobytes()


class Disk:
    """A raw file that both guests reach over NBD."""

    def __init__(self, host, mb=64):
        self.file = f"{host.run_dir}/talk.raw"
        self.socket = f"{host.run_dir}/talk.nbd"
        with open(self.file, "wb") as file:
            file.truncate(mb << 20)
        server = host.start(["qemu-nbd", "--persistent", "--shared", "4", "-f", "raw", "-k", self.socket, self.file], "qemu-nbd")
        wait_for(lambda: os.path.exists(self.socket) or not server.running(), "qemu-nbd")

    def options(self):
        return ("-drive", f"file=nbd+unix:///?socket={self.socket},format=raw,if=none,id=talk,cache=none",
                "-device", "virtio-blk-pci,drive=talk")

    def check(self, blocks):
        """The first `blocks` blocks are as the guest wrote them."""
        with open(self.file, "rb") as file:
            for index in range(blocks):
                if file.read(BLOCK_WORDS * 8) != words(index, BLOCK_WORDS):
                    raise Failure(f"block {index} of {blocks} is not as the guest wrote it")


class Network:
    """Where a QEMU's socket netdev connects to: over tcp (-netdev socket) or a unix socket (-netdev stream). What arrives
    is compared at once; one connection at a time counts, the newest."""

    def __init__(self, host, name, unix):
        self.name = name
        self.frames = 0  # of the talker, all right
        self.next = None
        self.wrong = None
        self.path = f"{host.run_dir}/{name}.net" if unix else None
        self.listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(self.path if unix else ("127.0.0.1", 0))
        self.listener.listen(4)
        self.port = None if unix else self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def options(self, address):
        netdev = (f"stream,id={self.name},server=off,addr.type=unix,addr.path={self.path}" if self.path else
                  f"socket,id={self.name},connect=127.0.0.1:{self.port}")
        return ("-netdev", netdev, "-device", f"virtio-net-pci,netdev={self.name},romfile=,mac=52:54:00:00:00:{address:02x}")

    def _accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._read, args=(connection.makefile("rb"),), daemon=True).start()

    def _read(self, stream):
        expected = None
        while len(head := stream.read(4)) == 4:
            frame = stream.read(int.from_bytes(head, "big"))
            if frame[12:14] != HEADER[12:14]:
                continue  # the guest's kernel says something
            index = int.from_bytes(frame[14:22], "little") * pow(STRIDE, -1, 1 << 64) & MASK
            if frame != HEADER + words(index, FRAME_WORDS) or expected not in (None, index):
                self.wrong = self.wrong or f"frame {index}, expected {expected}, is not as the guest sent it"
            expected = index + 1
            self.frames += 1

    def check(self):
        if self.wrong:
            raise Failure(f"network {self.name}: {self.wrong}")


def written(guest):
    """(blocks, frames) that the guest's talker has said last"""
    if "TALKER FAIL" in guest.console():
        raise Failure(next(line for line in guest.console().splitlines() if "TALKER FAIL" in line))
    said = re.findall(r"TALKER blocks=(\d+) frames=(\d+)", guest.console())
    return tuple(map(int, said[-1])) if said else (0, 0)
