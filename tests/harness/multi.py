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
    found = [json.loads(line) for line in list(process.lines) if line.startswith("{")]
    return next((value[word] for value in found if word in value), None)


def _wait(puller, servers, done, what, timeout_s):
    """Until done(), unless one of them ends before that without success."""
    def failed():
        return next((one for one in (puller, *servers) if one.child.poll()), None)

    wait_for(lambda: done() or failed(), f"{puller.name}: {what}", timeout_s)
    if not done():
        failed().reader.join(5)
        raise Failure(f"{failed().name} has failed: {failed().tail()}")


def pull(memory, receiver, senders, key="-", timeout_s=120):
    """What the puller says in the end: bytes, seconds, server_bytes. All hosts see the file `memory`, and that of the key."""
    puller, servers = receiver.start([PROGRAM, "pull", str(len(senders)), memory, "0", key], "pull"), []
    _wait(puller, servers, lambda: _told(puller, "port"), "its port", timeout_s)
    for number, sender in enumerate(senders):
        servers.append(sender.start([PROGRAM, "serve", str(number), memory, receiver.address, str(_told(puller, "port")), key],
                                    f"serve {number}"))
        if not number:
            _wait(puller, servers, lambda: _told(puller, "expects") is not None, "the first server", timeout_s)
    _wait(puller, servers, lambda: puller.child.poll() == 0, "all memory", timeout_s)
    for process in (puller, *servers):
        if process.wait(20):
            raise Failure(f"{process.name}: {process.tail()}")
    return json.loads(puller.lines[-1])
