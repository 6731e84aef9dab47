# SPDX-License-Identifier: BSD-3-Clause
"""multi.py - runs wt_multi: one puller, and servers on any hosts that all have the same memory."""

import json
import os

from .hosts import Failure, wait_for
from .migration import BUILD

PROGRAM = os.path.join(BUILD, "bench", "wt_multi")


def make_memory(host, mib):
    """A file of random bytes, which differ from page to page."""
    path = os.path.join(host.run_dir, "memory")
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    return path


def _told(process, word):
    return next((value[word] for value in map(json.loads, [line for line in list(process.lines) if line.startswith("{")])
                 if word in value), None)


def _wait(process, word, others=(), timeout_s=60):
    """What the process says under that name, as soon as it does."""
    def ended():
        return next((one for one in (process, *others) if not one.running()), None)

    wait_for(lambda: _told(process, word) is not None or ended(), f"{process.name}: {word}", timeout_s)
    found = _told(process, word)
    if found is None:
        raise Failure(f"{ended().name} has ended: {ended().tail()}")
    return found


def pull(memory, receiver, senders, key="-", timeout_s=120):
    """What the puller says in the end: bytes, seconds, server_bytes. All hosts see the file `memory`, and that of the key."""
    puller = receiver.start([PROGRAM, "pull", str(len(senders)), memory, "0", key], "pull")
    port = str(_wait(puller, "port"))
    servers = []
    for number, sender in enumerate(senders):
        servers.append(sender.start([PROGRAM, "serve", str(number), memory, receiver.address, port, key], f"serve {number}"))
        if not number:
            _wait(puller, "expects", servers)
    if puller.wait(timeout_s):
        raise Failure(f"{puller.name}: {puller.tail()}")
    for server in servers:
        if server.wait(20):
            raise Failure(f"{server.name}: {server.tail()}")
    return json.loads(puller.lines[-1])
