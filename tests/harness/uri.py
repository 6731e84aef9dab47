# SPDX-License-Identifier: BSD-3-Clause
"""uri.py - migrations that QEMU itself is told to begin: over exec:, or through relay daemons on unix sockets.

What the exec children say goes to files: QEMU's standard error is theirs, and their standard output is QEMU's.
"""

import json
import re
import shlex

from .guests import Guest
from .hosts import Failure, wait_for
from .migration import watari

PORT = re.compile(r"waiting for vm on port (\d+)")


def words(argv, env=None):
    """The command line, for a shell."""
    return " ".join([*(f"{key}={value}" for key, value in (env or {}).items()), shlex.join(argv)])


def security(keys, i):
    return ["--psk", keys[i]] if keys else ["--insecure"]


def address(host, keys):
    return host.address if keys else "127.0.0.1"


class Receiver:
    """A destination QEMU with its relay: the exec child that it starts, or `watari relay --incoming` beside it. options
    may be a function of the guest, for a relay."""

    count = 0

    def __init__(self, host, image, *, keys=None, options=(), env=None, relay=False, port=0, **guest):
        Receiver.count += 1
        self.host, self.relay = host, None
        target = f"{address(host, keys)}:{port}/vm"
        if relay:
            path = f"{host.run_dir}/in{Receiver.count}.sock"
            self.guest = Guest(host, image, incoming=f"unix:{path}", **guest)
            options = options(self.guest) if callable(options) else options
            self.relay = host.start([watari(), "relay", "--incoming", f"unix:{path}", *security(keys, 1), *options,
                                     target], "relay", env=env)
        else:
            line = words([watari(), "receive", *security(keys, 1), *options, target], env)
            self.guest = Guest(host, image, incoming=f"exec:{line}", **guest)
        self.port = int(wait_for(self._port, "the receiving relay's port"))

    def _port(self):
        process = self.relay or self.guest.process
        found = PORT.search("\n".join(process.lines))
        if not found and not process.running():
            raise Failure(f"the receiver ended: {process.tail()}")
        return found and found.group(1)

    def said(self, text):
        return any(text in line for line in list((self.relay or self.guest.process).lines))


class Sender:
    """What moves a source guest to a Receiver: `migrate exec:...`, or through a daemon that was started before."""

    count = 0

    def __init__(self, source, receiver, *, keys=None, options=(), env=None, daemon=None, target=None):
        Sender.count += 1
        self.source, self.daemon, self.run = source, daemon, len(daemon.runs()) - 1 if daemon else 0
        self.file = f"{source.host.out_dir}/send{Sender.count}.json"
        if daemon:
            uri = f"unix:{daemon.path}"
        else:
            target = target or f"{address(receiver.host, keys)}:{receiver.port}/vm"
            line = words([watari(), "send", "--json", *security(keys, 0), *options, target], env)
            file = shlex.quote(self.file)
            uri = f'exec:{line} >{file} 2>{file}.err; echo "{{\\"event\\":\\"exit\\",\\"code\\":$?}}" >>{file}'
        code, answer = source.call("migrate", {"uri": uri})
        if code:
            raise Failure(f"migrate: {answer}")

    def events(self):
        if self.daemon:
            return self.daemon.runs()[self.run]
        try:
            with open(self.file) as file:
                return [json.loads(line) for line in file.read().splitlines() if line.startswith("{")]
        except FileNotFoundError:
            return []

    def find(self, event):
        return next((e for e in self.events() if e["event"] == event), None)

    def state(self, name):
        return any(e.get("state") == name for e in self.events())

    def error(self):
        return (self.find("error") or {}).get("text", "")

    def code(self, timeout_s=120):
        """The relay's exit code (of an exec child), once it has ended."""
        return wait_for(lambda: self.find("exit"), f"the end of watari send: {self.events()[-3:]}", timeout_s)["code"]

    def succeed(self, timeout_s=240):
        """Waits for the summary and answers it."""
        wait_for(lambda: self.find("summary") or self.find("error"), f"the end of the migration: {self.events()[-3:]}",
                 timeout_s)
        if self.find("error"):
            raise Failure(f"the migration failed: {self.error()}")
        return self.find("summary")


class Daemon:
    """`watari relay --listen` at the source."""

    count = 0

    def __init__(self, host, receiver, *, keys=None, options=(), env=None):
        Daemon.count += 1
        self.path = f"{host.run_dir}/relay{Daemon.count}.sock"
        self.process = host.start([watari(), "relay", "--listen", f"unix:{self.path}", "--json", *security(keys, 0),
                                   *options, f"{address(receiver.host, keys)}:{receiver.port}/vm"], "relay", env=env)
        self.wait_listening()

    def runs(self):
        """The events of each migration; the last one may still be awaited."""
        runs = []
        for line in list(self.process.lines):
            if line.startswith("{"):
                event = json.loads(line)
                if event["event"] == "listening":
                    runs.append([])
                if runs:
                    runs[-1].append(event)
        return runs

    def wait_listening(self, times=1):
        wait_for(lambda: len(self.runs()) >= times or not self.process.running(), "the daemon")
        if len(self.runs()) < times:
            raise Failure(f"the daemon ended: {self.process.tail()}")


