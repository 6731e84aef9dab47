#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_uri_stub.py CASE... - the relays of URI mode between two processes that behave like QEMU, no guest in them; `all`
runs every case.

What a real QEMU does in an instant is held still here: a cancel while the source waits for SHUT, a stream that breaks off at
any byte, a destination that refuses the device state and lives on. Both stubs have memory that their relay finds, write or
read a stream in QEMU's format, and do with it what QEMU 10.0 does. A stub says what became of its guest: the source runs,
or is stopped for good (`completed`); the destination has loaded (and would run), or not. Never both.
"""

import hashlib
import json
import mmap
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, need_sabotage  # noqa: E402
from harness.hosts import Process, wait_for  # noqa: E402
from harness.migration import watari  # noqa: E402
from harness.uri import words  # noqa: E402

SIZE = 8 << 20
PAGE = 4096
DEVICES = b"DEVICES!" * 20000
DESCRIPTION = json.dumps({"page_size": PAGE, "devices": [{"name": "x" * 3000}]}, separators=(",", ":")).encode()
TAIL = DEVICES + b"\0\x06" + struct.pack(">I", len(DESCRIPTION)) + DESCRIPTION
PATIENCE = ["--reconnect-timeout", "1s", "--confirm-timeout", "2s", "--switchover-timeout", "2s"]


# ---- the stubs, each a process of its own ----

def memory(seed):
    fd = os.memfd_create("ram")
    os.ftruncate(fd, SIZE)
    ram = mmap.mmap(fd, SIZE)
    if seed is not None:
        rng = random.Random(seed)
        for page in range(0, SIZE // PAGE, 2):
            ram[page * PAGE:(page + 1) * PAGE] = rng.randbytes(PAGE)
    return ram


def say(**what):
    print(json.dumps(what), flush=True)


def stream(ram, return_path):
    """Pieces of a stream: up to RAM's start, RAM, RAM's end."""
    footer = b"\x7e" + struct.pack(">I", 2)
    begin = b"QEVM" + struct.pack(">I", 3) + b"\x07" + struct.pack(">I", 4) + b"stub"
    if return_path:
        begin += b"\x08" + struct.pack(">HH", 1, 0) + b"\x08" + struct.pack(">HHI", 2, 4, 1)
    begin += b"\x01" + struct.pack(">IB", 2, 3) + b"ram" + struct.pack(">II", 0, 4)
    begin += struct.pack(">QB", SIZE | 4, 3) + b"mem" + struct.pack(">QQ", SIZE, 0x10) + footer
    pages = b"\x02" + struct.pack(">I", 2)
    for page in range(SIZE // PAGE):
        content = ram[page * PAGE:(page + 1) * PAGE]
        named = b"" if page else b"\x03mem"
        again = 0x20 if page else 0
        if any(content):
            pages += struct.pack(">Q", page * PAGE | 0x08 | again) + named + content
        else:
            pages += struct.pack(">Q", page * PAGE | 0x02 | again) + named + b"\0"
    pages += struct.pack(">Q", 0x10) + footer
    return begin, pages, b"\x03" + struct.pack(">IQ", 2, 0x10) + footer


def wait_shut(connection, cancel):
    """QEMU's wait for its return path: True on SHUT, False when it closed or when the operator cancels."""
    data = b""
    while True:
        ready, _, _ = select.select([connection, *([sys.stdin] if cancel else [])], [], [])
        if sys.stdin in ready:
            connection.shutdown(socket.SHUT_RDWR)
            return False
        got = connection.recv(4096)
        if not got:
            return False
        data += got
        while len(data) >= 8:
            if data[:2] == b"\0\x01":
                return True
            data = data[8:]


def source(options):
    ram = memory(options["seed"])
    child = connection = None
    try:
        if "path" in options:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(options["path"])
            write, close = connection.sendall, connection.close
        else:
            child = subprocess.Popen(["/bin/sh", "-c", options["exec"]], stdin=subprocess.PIPE, bufsize=0)
            write, close = child.stdin.write, child.stdin.close

        def put(data):
            while data:
                written = write(data)
                data = data[written:] if written else b""

        begin, pages, end = stream(ram, options.get("return_path"))
        for piece in (begin, pages, end, TAIL[:len(TAIL) - options.get("cut", 0)]):
            put(piece)
        say(event="written")
        if options.get("cut"):
            status = "failed"
        elif options.get("return_path"):
            status = "completed" if wait_shut(connection, options.get("cancel")) else "failed"
        else:
            status = "completed"
        close()
    except (BrokenPipeError, ConnectionResetError):
        status = "failed"
        if child:
            child.stdin.close()
    say(event="status", status=status, digest=hashlib.sha256(ram).hexdigest(), code=child and child.wait())
    sys.stdin.readline()


class Reader:
    """QEMUFile: 32 KiB at a time, on demand."""

    def __init__(self, fd):
        self.fd, self.data, self.ended = fd, b"", False

    def more(self):
        got = os.read(self.fd, 32768)
        self.data += got
        self.ended |= not got
        return bool(got)

    def until(self, what):
        """Reads until `what` is in the data; takes it and all before it. False: the stream ends before."""
        while what not in self.data:
            if not self.more():
                return False
        self.data = self.data[self.data.index(what) + len(what):]
        return True


def destination(options):
    ram = memory(None)
    child = listener = None
    if "path" in options:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(options["path"])
        listener.listen(1)
        say(event="waits")
        connection, _ = listener.accept()
        fd = connection.fileno()
    else:
        child = subprocess.Popen(["/bin/sh", "-c", options["exec"]], stdout=subprocess.PIPE, bufsize=0)
        fd = child.stdout.fileno()
        connection = child.stdout
    reader = Reader(fd)
    loaded = reader.until(DEVICES) and not options.get("refuse") and reader.until(b"\0")
    if loaded:
        while len(reader.data) < len(DESCRIPTION) + 5 and reader.more():
            pass  # a cut in the description is a warning
    if options.get("die") and loaded:
        os.kill(os.getpid(), signal.SIGKILL)
    connection.close()
    code = child and child.wait()
    say(event="status", status="loaded" if loaded else "failed", digest=hashlib.sha256(ram).hexdigest(), code=code)
    if loaded:
        sys.stdin.readline()


# ---- the test ----

class Stub:
    """One of the two as a process; `tell` writes a line to it."""

    def __init__(self, host, role, **options):
        self.process = Process([sys.executable, __file__, role, json.dumps(options)], role, stdin=subprocess.PIPE)
        host.processes.append(self.process)

    def event(self, name, timeout_s=30):
        def found():
            return next((e for e in (json.loads(line) for line in list(self.process.lines) if line.startswith("{"))
                         if e["event"] == name), None)
        return wait_for(lambda: found() or (not self.process.running() and {"status": "gone", "digest": None, "code": None}),
                        f"{name} of {self.process.name}: {self.process.tail()}", timeout_s)

    def tell(self):
        self.process.child.stdin.write("\n")
        self.process.child.stdin.flush()

    def said(self, text):
        return self.process.find(text)


class Pair:
    """Both stubs and their relays, begun. unix: through daemons, else exec:."""

    def __init__(self, host, unix=False, send=(), receive=(), send_env=None, receive_env=None, source=(), destination=()):
        directory = tempfile.mkdtemp(dir=host.run_dir)
        self.daemon = self.relay = None
        argv = [watari(), "receive", "--insecure", *PATIENCE[:2], *receive, "127.0.0.1:0/vm"]
        if unix:
            path = f"{directory}/in"
            self.destination = Stub(host, "destination", path=path, **dict(destination))
            self.destination.event("waits")
            self.relay = host.start([watari(), "relay", "--incoming", f"unix:{path}", *argv[2:]], "relay", env=receive_env)
        else:
            self.destination = Stub(host, "destination", exec=words(argv, receive_env), **dict(destination))
        said = self.relay or self.destination.process
        wait_for(lambda: said.find("on port") or not said.running(), "the receiver's port")
        port = said.find("on port").split()[-1]
        argv = [watari(), "send", "--insecure", *PATIENCE, *send, f"127.0.0.1:{port}/vm"]
        options = {"seed": random.randrange(1 << 30), **dict(source)}
        if unix:
            path = f"{directory}/out"
            self.daemon = host.start([watari(), "relay", "--listen", f"unix:{path}", "--once", *argv[2:]], "daemon",
                                     env=send_env)
            wait_for(lambda: self.daemon.find("waiting for QEMU"), "the daemon")
            self.source = Stub(host, "source", path=path, **options)
        else:
            self.source = Stub(host, "source", exec=words(argv, send_env), **options)

    def end(self):
        """(source's status, destination's, exit code of send), when everything is still. Never both guests."""
        there = self.source.event("status", 60), self.destination.event("status", 60)
        code = self.daemon.wait(30) if self.daemon else there[0]["code"]
        states = there[0]["status"], there[1]["status"]
        expect(states != ("failed", "loaded"), f"both guests run: {states}, {self.source.process.tail()}")
        if states[1] == "loaded":
            expect(there[0]["digest"] == there[1]["digest"], "memory differs")
        return (*states, code)

    def sent(self):
        return self.daemon or self.source.process


def case_move(host, image):
    """Over exec: and sockets, with and without a return path, memory compared by the test and by --verify."""
    for unix, path in ((False, False), (True, False), (True, True)):
        pair = Pair(host, unix, send=["--verify"], source={"return_path": path})
        expect(pair.end() == ("completed", "loaded", 0), f"{unix} {path}: {pair.end()}: {pair.sent().tail()}")
        print(f"  unix {unix}, return path {path}: moved", flush=True)


def case_cut_stream(host, image):
    """A source that breaks its stream off, at bytes near its end: it runs on, so the destination must not load."""
    for unix in (False, True):
        for cut in (1, 2, 100, len(DESCRIPTION) - 1, len(DESCRIPTION), len(DESCRIPTION) + 5, len(DESCRIPTION) + 6, 100000):
            pair = Pair(host, unix, send=["--switchover-timeout", "300ms"], source={"cut": cut})
            expect(pair.end()[:2] == ("failed", "failed") and pair.end()[2] in (1, 3), f"cut by {cut}: {pair.end()}")


def case_cancel_in_wait(host, image):
    """migrate_cancel while the source waits for SHUT, before the destination has everything, and while it compares RAM."""
    need_sabotage()
    pair = Pair(host, True, source={"return_path": True, "cancel": True}, receive_env={"WATARI_STOP_BEFORE": "ready"})
    pair.source.event("written", 120)  # megabytes through a relay on a machine that is busy
    wait_for(lambda: "T" in open(f"/proc/{pair.relay.child.pid}/stat").read().split()[2], "the relay at ready")
    pair.source.tell()
    expect(pair.source.event("status")["status"] == "failed", "the cancel")
    pair.relay.signal(signal.SIGCONT)
    expect(pair.end() == ("failed", "failed", 1), f"{pair.end()}: {pair.sent().tail()}")


def case_refuse(host, image):
    """A destination that does not take the device state, closes, and lives on until its child has ended; one that dies."""
    for unix in (False, True):
        for destination in ({"refuse": True}, {"die": True}):
            pair = Pair(host, unix, destination=destination)
            states = pair.end()
            expect(states[0] == "completed" and states[1] in ("failed", "gone") and states[2] == 3, f"{destination}: {states}")
            expect(pair.sent().find("type cont"), f"no word on cont: {pair.sent().tail()}")


STEPS = {"send": ["connecting", "streaming", "stopped", "committing", "delivering", "done"],
         "receive": ["receiving", "verifying", "ready", "loading", "done"]}


def case_die(host, image):
    """Each relay dies before and after every state, over exec: and over sockets with a return path."""
    need_sabotage()
    seen = {}
    for unix in (False, True):
        for where, states in STEPS.items():
            for state in states:
                for when in ("BEFORE", "AFTER"):
                    env = {f"WATARI_DIE_{when}": state}
                    pair = Pair(host, unix, send=["--verify"], source={"return_path": unix}, **{f"{where}_env": env})
                    result = pair.end()[:2]
                    seen[result] = seen.get(result, 0) + 1
    print(f"  {seen}", flush=True)
    expect(("completed", "loaded") in seen and ("failed", "failed") in seen, f"the deaths had no effect: {seen}")


if __name__ == "__main__":
    if sys.argv[1:2] in (["source"], ["destination"]):
        globals()[sys.argv[1]](json.loads(sys.argv[2]))
    else:
        sys.exit(main(globals(), __doc__))
