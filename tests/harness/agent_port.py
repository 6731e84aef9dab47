# SPDX-License-Identifier: BSD-3-Clause
"""agent_port.py - agents on hosts of this machine, with a port in place of QEMU's virtio-serial."""

import json
import os
import select
import socket
import threading

from .hosts import wait_for
from .migration import BUILD

AGENT = os.path.join(BUILD, "watari-guest")


def listen(path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(4)
    return listener


class End:
    """One end of a port: one peer at a time, and what is said while there is none is lost."""

    def __init__(self, path):
        self.path, self.listener, self.peer = path, listen(path), None

    def waits_at(self):
        return self.peer or self.listener

    def read(self):
        """What the peer says, if it says anything; a peer comes or goes."""
        if not self.peer:
            self.peer, _ = self.listener.accept()
            return b""
        try:
            said = self.peer.recv(4096)
        except OSError:
            said = b""
        if not said:
            self.peer.close()
            self.peer = None
        return said

    def write(self, said):
        try:
            if self.peer:
                self.peer.sendall(said)
        except OSError:
            pass  # it is about to be seen to have gone


class Port:
    """In place of QEMU's chardev with server=on and of the guest's port. Sockets and no pseudo terminal: those hand bytes over
    in a thread of the kernel, which waits for its turn for seconds where processes spin."""

    def __init__(self, host):
        self.host_end, self.guest_end = End(f"{host.run_dir}/agent.sock"), End(f"{host.run_dir}/port.sock")
        self.path, self.file = self.host_end.path, self.guest_end.path
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        ends = (self.host_end, self.guest_end)
        while True:
            ready, _, _ = select.select([end.waits_at() for end in ends], [], [])
            for end, other in (ends, ends[::-1]):
                if end.waits_at() in ready:
                    other.write(end.read())


class Agent:
    """watari-guest on a host, for jobs in its folder."""

    def __init__(self, host, folder):
        self.host, self.folder, self.port = host, folder, Port(host)
        self.start()

    def start(self):
        self.process = self.host.start([AGENT, "--port", self.port.file, "--hooks", self.host.run_dir, "--ranks", self.folder], "watari-guest")

    def wait_open(self):
        """For a host that does not repeat what it says: from here on the agent hears it."""
        wait_for(lambda: self.port.guest_end.peer, "the agent at its port", 60)

    def state(self):
        """For the word of a test that fails."""
        code, port = self.process.child.poll(), self.port.thread.is_alive()
        return f"{self.host.name} {'runs' if code is None else f'ended with {code}'}, its port {'passes on' if port else 'has died'}"


class OldAgent:
    """Answers to a ping, and knows nothing else. others: what it was asked beside."""

    def __init__(self, host):
        self.others = []
        self.path = f"{host.run_dir}/old.sock"
        self.listener = listen(self.path)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            client, _ = self.listener.accept()
            with client, client.makefile("r") as lines:
                for line in lines:
                    asked = json.loads(line) if line.strip() else {}
                    if asked and asked["do"] != "ping":
                        self.others.append(asked["do"])
                    if asked.get("do") == "ping":
                        client.sendall(json.dumps({"id": asked["id"], "ok": True, "version": "0.0.9"}).encode() + b"\n")
