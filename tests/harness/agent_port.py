# SPDX-License-Identifier: BSD-3-Clause
"""agent_port.py - agents on hosts of this machine, with a port in place of QEMU's virtio-serial."""

import json
import os
import select
import socket
import threading
import tty

from .migration import BUILD

AGENT = os.path.join(BUILD, "watari-guest")


class Port:
    """Behaves as QEMU's chardev with server=on: one client at a time, and what the guest says while there is none is lost."""

    def __init__(self, host):
        self.path = f"{host.run_dir}/agent.sock"
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.file = os.ttyname(self.slave)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(4)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        client = None
        while True:
            ready, _, _ = select.select([self.master, client or self.listener], [], [])
            if self.master in ready:
                said = os.read(self.master, 4096)
                if client:
                    try:
                        client.sendall(said)
                    except OSError:
                        pass  # the client is about to be seen to have gone
            if self.listener in ready:
                client, _ = self.listener.accept()
            elif client in ready:
                try:
                    asked = client.recv(1024)
                except OSError:
                    asked = b""
                if asked:
                    os.write(self.master, asked)
                else:
                    client.close()
                    client = None


class Agent:
    """watari-guest on a host, for jobs in its folder."""

    def __init__(self, host, folder):
        self.host, self.folder, self.port = host, folder, Port(host)
        self.start()

    def start(self):
        self.process = self.host.start([AGENT, "--port", self.port.file, "--hooks", self.host.run_dir, "--ranks", self.folder], "watari-guest")


class OldAgent:
    """Answers to a ping, and knows nothing else. others: what it was asked beside."""

    def __init__(self, host):
        self.others = []
        self.path = f"{host.run_dir}/old.sock"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(4)
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
