# SPDX-License-Identifier: BSD-3-Clause
"""migration.py - runs `watari send` and `watari receive` between two guests' hosts."""

import json
import os
import secrets
import time

from .hosts import ROOT, Failure, wait_for

BUILD = os.environ.get("WATARI_BUILD", os.path.join(ROOT, "build", "release"))

FEED = {"LD_PRELOAD": os.path.join(BUILD, "libwatari-feed.so")}  # in the environment of a QEMU


def watari():
    return os.path.join(BUILD, "watari")


def install_key(hosts, key=None):
    """The same pre-shared key on all hosts; answers each host's file."""
    key = key or secrets.token_hex(32)
    files = []
    for host in hosts:
        path = f"{host.run_dir}/keys.psk"
        code, text = host.call(["sh", "-c", f"umask 077; echo watari:{key} >{path}"])
        if code:
            raise Failure(f"no key on {host.name}: {text}")
        files.append(path)
    return files


def events(process):
    """The JSON events that a command has printed so far."""
    found = []
    for line in list(process.lines):
        if line.startswith("{"):
            found.append(json.loads(line))
    return found


class Receive:
    """`watari receive` for a guest's QEMU, listening."""

    def __init__(self, guest, *options, address="127.0.0.1", port=0, env=None, verbose=False):
        self.guest = guest
        self.address = address
        self.process = guest.host.start([watari(), "receive", "--qmp", guest.qmp, "--json", *options, f"{address}:{port}/vm"],
                                        "receive", env=env, verbose=verbose)
        wait_for(lambda: self.port() or not self.process.running(), "watari receive", 60 * guest.host.patience)
        if not self.port():
            raise Failure(f"watari receive ended: {self.process.tail()}")

    def port(self):
        return next((event["port"] for event in events(self.process) if event["event"] == "listening"), None)

    def target(self, address=None):
        return f"{address or self.address}:{self.port()}/vm"


class Migration:
    """One attempt. Starts the destination's relay first, then the source's. env and receive_env are for the source's and
    the destination's relay; wrap_send is a command that runs the source's."""

    def __init__(self, source, destination, *, keys=None, send=(), receive=(), env=None, receive_env=None, address=None,
                 port=None, qmp=None, channels=1, wrap_send=(), verbose=False):
        self.source, self.destination = source, destination
        secure = (lambda i: ["--psk", keys[i]]) if keys else (lambda i: ["--insecure"])
        here = destination.host.address if keys else "127.0.0.1"
        self.receive = Receive(destination, *secure(1), *receive, address=here, port=port or 0, env=receive_env, verbose=verbose)
        self.receiver = self.receive.process
        if channels > 1:
            send = [*send, "--channels", str(channels)]
        self.began = time.time()
        self.sender = source.host.start(
            [*wrap_send, watari(), "send", "--qmp", qmp or source.qmp, "--json", *secure(0), *send,
             self.receive.target(address)], "send", env=env, verbose=verbose)

    def port(self):
        return self.receive.port()

    def finish(self, timeout_s=300):
        """(exit code of send, of receive)"""
        code = self.sender.wait(timeout_s)
        try:
            return code, self.receiver.wait(60 * self.destination.host.patience)
        except Failure as failure:
            raise Failure(f"{failure}; send ended with {code}: {self.sender.tail()}") from None

    def summary(self):
        for event in events(self.sender):
            if event["event"] == "summary":
                return event
        raise Failure(f"no summary from watari send: {self.sender.tail()}")

    def succeed(self, timeout_s=300):
        """Waits for the end; answers the summary. Failure if either end failed."""
        codes = self.finish(timeout_s)
        if codes != (0, 0):
            raise Failure(f"exit codes {codes}: send: {self.sender.tail()}; receive: {self.receiver.tail()}")
        return self.summary()
