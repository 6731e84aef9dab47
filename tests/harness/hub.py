# SPDX-License-Identifier: BSD-3-Clause
"""hub.py - a network of guests of this machine: what one QEMU sends, every other one gets. A guest's next QEMU joins before its
last one leaves.
"""

import socket
import threading


class Member:
    """One QEMU. While its guest does not take anything, frames for it are lost; none is cut."""

    def __init__(self, connection):
        self.connection = connection
        self.rest = b""  # of a frame that was sent in part

    def give(self, frame):
        try:
            if self.rest:
                self.rest = self.rest[self.connection.send(self.rest, socket.MSG_DONTWAIT):]
            if not self.rest:
                self.rest = frame[self.connection.send(frame, socket.MSG_DONTWAIT):]
        except OSError:
            pass


class Hub:
    """Where QEMU's `-netdev stream` connects to."""

    def __init__(self, host, name="hub"):
        self.name = name
        self.path = f"{host.run_dir}/{name}.net"
        self.lock = threading.Lock()
        self.members = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def cable(self):
        """A place for a NIC, whose `netdev` is the hub's name."""
        return "-netdev", f"stream,id={self.name},server=off,addr.type=unix,addr.path={self.path}"

    def options(self, number):
        """The NIC of guest `number`, wherever it is."""
        return (*self.cable(),
                "-device", f"virtio-net-pci,netdev={self.name},romfile=,addr=0x12,mac=52:54:00:00:01:{number:02x}")

    def _accept(self):
        while True:
            member = Member(self.listener.accept()[0])
            with self.lock:
                self.members.append(member)
            threading.Thread(target=self._read, args=(member,), daemon=True).start()

    def _read(self, member):
        try:
            with member.connection.makefile("rb", buffering=1 << 18) as stream:
                while len(head := stream.read(4)) == 4:
                    frame = head + stream.read(int.from_bytes(head, "big"))
                    with self.lock:
                        for other in self.members:
                            if other is not member:
                                other.give(frame)
        except OSError:
            pass  # its QEMU was killed
        with self.lock:
            self.members.remove(member)
