# SPDX-License-Identifier: BSD-3-Clause
"""multi.py - runs wt_multi_bw: one puller, and servers on any hosts that all have the same memory."""

import json

from .hosts import Failure, wait_for
from .wire import port_of, program


def _wait(puller, servers, done, what, timeout_s):
    """Until done(), unless one of them ends before that without success."""
    def failed():
        return next((one for one in (puller, *servers) if one.child.poll()), None)

    wait_for(lambda: done() or failed(), f"{puller.name}: {what}", timeout_s)
    if not done():
        failed().reader.join(5)
        raise Failure(f"{failed().name} has failed: {failed().tail()}")


def pull(mib, receiver, senders, key=None, timeout_s=120):
    """What the puller says in the end: bytes, seconds, server_bytes ... All hosts see the file of the key."""
    argv = [program("wt_multi_bw"), "--json", "--fabric", "tcp", "-s", f"{mib}M", *(("--psk", key) if key else ())]
    puller, servers = receiver.start([*argv, "-p", "0", "--servers", str(len(senders))], "pull"), []
    port = port_of(puller)
    for number, sender in enumerate(senders):
        servers.append(sender.start([*argv, "-p", port, "--number", str(number), receiver.address], f"serve {number}"))
        if not number:
            _wait(puller, servers, lambda: puller.find('"expects"'), "the first server", timeout_s)
    _wait(puller, servers, lambda: puller.child.poll() == 0, "all memory", timeout_s)
    for process in (puller, *servers):
        if process.wait(20):
            raise Failure(f"{process.name}: {process.tail()}")
    return json.loads(puller.lines[-1])
