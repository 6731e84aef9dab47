# SPDX-License-Identifier: BSD-3-Clause
"""wire.py - runs a benchmark of two ends on two hosts: watari's wt_*, or perftest's ib_*."""

import json
import os

from .hosts import Failure, wait_for
from .migration import BUILD

BENCH = os.path.join(BUILD, "bench")


def program(name):
    return os.path.join(BENCH, name)


def both(waiting, calling, timeout_s):
    """The output of the end that calls; both must succeed."""
    code = calling.wait(timeout_s)
    if code:
        waiting.kill()
        raise Failure(f"{calling.name}: exit code {code}: {calling.tail()} | {waiting.name}: {waiting.tail()}")
    if waiting.wait(20):
        raise Failure(f"{waiting.name}: {waiting.tail()}")
    return list(calling.lines)


def port_of(process, timeout_s=60):
    """The port on which an end that waits with --json says that it listens."""
    wait_for(lambda: process.find('"port"') or not process.running(), f"{process.name}: its port", timeout_s)
    found = process.find('"port"')
    if not found:
        raise Failure(f"{process.name} has ended: {process.tail()}")
    return str(json.loads(found)["port"])


def watari_wire(name, server, client, options=(), timeout_s=120):
    """What the end that calls says, an object for each size."""
    waiting = server.start([program(name), "-p", "0", "--json"], f"{name} waits")
    calling = client.start([program(name), "-p", port_of(waiting), "--json", *options, server.address], name)
    return [json.loads(line) for line in both(waiting, calling, timeout_s) if line.startswith("{")]


def perftest(name, server, client, port, options=(), timeout_s=120):
    """The columns of the last line of perftest's table, as numbers. GID 1 is the lab's IPv4 one. It says that it waits
    a little before it does, so who calls tries again."""
    argv = ["stdbuf", "-oL", name, "-F", "-x", "1", "-p", str(port), *options]
    waiting = server.start(argv, f"{name} waits")
    wait_for(lambda: waiting.find("Waiting for client") or not waiting.running(), f"{waiting.name}: that it waits", 60)
    calling = client.start([*argv, server.address], name)
    try:
        for _ in range(5):
            if calling.wait(timeout_s) == 0 or not waiting.running():
                break
            calling = client.start([*argv, server.address], name)
    except Failure:
        waiting.kill()
        raise
    table = [line.split() for line in both(waiting, calling, timeout_s) if line.strip()[:1].isdigit()]
    if not table:
        raise Failure(f"{name} says nothing: {calling.tail()}")
    return [float(column) for column in table[-1]]
