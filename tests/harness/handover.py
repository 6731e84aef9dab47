# SPDX-License-Identifier: BSD-3-Clause
"""handover.py - pairs of QEMUs on one memory, `watari handover` and `watari upgrade` between them."""

import os
import signal

from .guests import Guest
from .hosts import Failure, wait_for
from .migration import events, watari


def pid_of(guest):
    with open(guest.pid_file) as file:
        return int(file.read())


def ram_path(guest):
    """Where another QEMU finds a guest's main memory: its largest file, through its descriptor."""
    directory = f"/proc/{pid_of(guest)}/fd"
    sizes = {}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if os.path.isfile(path):
                sizes[path] = os.stat(path).st_size
        except OSError:
            continue
    return max(sizes, key=sizes.get)


def successor(old, image, **options):
    """A QEMU on the memory of another one, that awaits its guest."""
    return Guest(old.host, image, incoming=True, backend="file", ram_file=ram_path(old), **options)


def start(old, new, *options, env=None):
    return old.host.start([watari(), "handover", "--from", old.qmp, "--to", new.qmp, "--json", *options], "handover", env=env)


def summary(process, timeout_s=60):
    """Of a handover or upgrade that succeeds."""
    code = process.wait(timeout_s)
    if code:
        raise Failure(f"exit code {code}: {process.tail()}")
    return next(event for event in events(process) if event["event"] == "summary")


def hand_over(old, image, *, send=(), **options):
    """(the new QEMU, the summary); the old one has ended."""
    new = successor(old, image, **options)
    told = summary(start(old, new, *send))
    old.ended()
    return new, told


class Upgraded:
    """What `watari upgrade` leaves behind is nobody's child here: ended with the block."""

    def __init__(self, guest):
        self.guest = guest
        self.pids = set()

    def __enter__(self):
        return self

    def upgrade(self, *options, env=None):
        process = self.start(*options, env=env)
        told = summary(process)
        self.note(process)
        return told

    def start(self, *options, env=None):
        return self.guest.host.start([watari(), "upgrade", "--qmp", self.guest.qmp, "--json", *options], "upgrade", env=env)

    def note(self, process):
        """Remembers the QEMU that it has started."""
        self.pids |= {event["pid"] for event in events(process) if event["event"] == "started"}

    def alive(self):
        return [pid for pid in self.pids if os.path.exists(f"/proc/{pid}/exe")]

    def __exit__(self, *_):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_for(lambda: not self.alive(), "the end of upgraded QEMUs", 15)
