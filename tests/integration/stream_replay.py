#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""stream_replay.py - a real stream, stripped, loads into a real QEMU and the guest runs on.

    stream_replay.py --tool strip_stream [--source QEMU] [--destination QEMU] [--machine TYPE] [--return-path]
                     [--refuse CAPABILITY]

1. A guest that checks and rewrites 64 MiB of its memory round after round (stream_guest.S) runs on the source
   QEMU, its RAM a shared file, and is migrated to a file while it runs.
2. strip_stream takes the pages of that RAM out of the stream and into an image. The image must equal the
   source's RAM file, byte for byte.
3. A destination QEMU waits with empty RAM; the image is written into its RAM file; the stripped stream is
   loaded; the guest must go on counting where it stopped, finding no page wrong.
4. The same with a stream that another destination takes over in the middle, at each of HAND_OVERS.
5. The same as 3 with one page of the image spoilt: the guest must find that. So step 3 can fail.

With --refuse CAPABILITY the source has that capability on, and strip_stream must refuse the stream with a
sentence that names it.

Exit status: 0, 1 with the reason, 77 where a program is missing.
"""
import argparse
import json
import mmap
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

DEADLINE = 120  # seconds, for any single event
RAM = 256 << 20
FIRST = 0x100000  # the first address that the guest checks
SPOILT = 0x2000000  # another one
HAND_OVERS = (0.01, 0.5, 0.98)  # of the stream's bytes


class Failure(Exception):
    pass


class Qemu:
    """One QEMU process: its QMP connection and the lines its guest writes to the serial port."""

    def __init__(self, binary, machine, directory, name, guest, incoming=False):
        self.ram = os.path.join(directory, name + ".ram")
        self.lines = []
        self.events = []
        self.news = threading.Condition()
        qmp_ours, qmp_theirs = socket.socketpair()
        serial_ours, serial_theirs = socket.socketpair()
        command = shlex.split(binary) + [
            "-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-vga", "std", "-m", "256",
            "-M", machine + ",memory-backend=mem",
            "-object", f"memory-backend-file,id=mem,size={RAM},mem-path={self.ram},share=on",
            "-drive", f"if=none,id=disk,file={guest},format=raw,readonly=on",
            "-device", "virtio-blk-pci,drive=disk,bootindex=0",
            "-chardev", f"socket,id=qmp,fd={qmp_theirs.fileno()}", "-mon", "chardev=qmp,mode=control",
            "-chardev", f"socket,id=serial,fd={serial_theirs.fileno()}", "-serial", "chardev:serial",
        ] + (["-incoming", "defer"] if incoming else [])
        self.process = subprocess.Popen(command, pass_fds=[qmp_theirs.fileno(), serial_theirs.fileno()])
        qmp_theirs.close()
        serial_theirs.close()
        qmp_ours.settimeout(DEADLINE)
        self.qmp = qmp_ours.makefile("rw")
        self.receive()
        self.run("qmp_capabilities")
        threading.Thread(target=self.read_serial, args=(serial_ours,), daemon=True).start()

    def read_serial(self, connection):
        for line in connection.makefile("r", errors="replace"):
            with self.news:
                self.lines.append(line.strip())
                self.news.notify_all()

    def rounds(self, count):
        """Waits for `count` whole lines of the guest; answers [(round, right)]."""

        def whole():
            return [line for line in self.lines if len(line) == 9 and line[8] in ".!"]

        with self.news:
            if not self.news.wait_for(lambda: len(whole()) >= count, DEADLINE):
                raise Failure(f"the guest wrote {len(whole())} of {count} lines in {DEADLINE} s")
            return [(int(line[:8], 16), line[8] == ".") for line in whole()]

    def receive(self):
        line = self.qmp.readline()
        if not line:
            raise Failure("QEMU closed its QMP connection")
        return json.loads(line)

    def run(self, command, **arguments):
        self.qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.qmp.flush()
        while True:
            answer = self.receive()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Failure(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def next_event(self):
        return self.events.pop(0) if self.events else self.receive()

    def wait_stopped(self):
        while self.next_event().get("event") != "STOP":
            pass

    def wait_migrated(self):
        """Needs the capability `events`."""
        while True:
            event = self.next_event()
            status = event["data"]["status"] if event.get("event") == "MIGRATION" else None
            if status == "completed":
                return
            if status in ("failed", "cancelled"):
                raise Failure(f"migration {status}: {self.run('query-migrate').get('error-desc', '')}")

    def end(self):
        self.process.kill()
        self.process.wait()


def set_capabilities(qemu, names):
    qemu.run("migrate-set-capabilities", capabilities=[{"capability": n, "state": True} for n in names])


def build_guest(directory):
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stream_guest.S")
    built, image = os.path.join(directory, "guest.o"), os.path.join(directory, "guest.img")
    plain = os.path.join(directory, "guest.s")
    subprocess.run(["cpp", "-P", source, plain], check=True)
    subprocess.run(["as", "--32", plain, "-o", built], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", built, "-o", image],
                   check=True)
    os.truncate(image, 1 << 20)  # the firmware boots from no disk without a whole cylinder
    return image


def capture(args, directory, guest):
    """Step 1; answers (stream, RAM file)."""
    stream = os.path.join(directory, "stream")
    qemu = Qemu(args.source, args.machine, directory, "source", guest)
    try:
        qemu.rounds(3)
        set_capabilities(qemu, ["events"] + (["return-path"] if args.return_path else []))
        qemu.run("migrate-set-parameters", **{"max-bandwidth": 1 << 32, "downtime-limit": 2000})
        if args.return_path:
            capture_from_socket(qemu, stream)
        else:
            capture_from_command(qemu, stream)
        # QEMU says `completed` first and leaves this state a little later.
        while (status := qemu.run("query-status")["status"]) == "finish-migrate":
            time.sleep(0.01)
        if status != "postmigrate":
            raise Failure(f"the source is {status}, not postmigrate")
        return stream, qemu.ram
    finally:
        qemu.end()


class Saver:
    """Copies the open binary file `source` to the file `stream` until its end, in a thread."""

    def __init__(self, source, stream):
        self.whole = threading.Event()  # the last thing of the stream, QEMU's own description, has arrived
        self.thread = threading.Thread(target=self.copy, args=(source, stream), daemon=True)
        self.thread.start()

    def copy(self, source, stream):
        tail = b""
        with source, open(stream, "wb") as out:
            while chunk := source.read1(1 << 20):
                out.write(chunk)
                tail = (tail + chunk)[-(1 << 20):]
                if tail.endswith(b"}") and any(
                        found.end() + 4 + int.from_bytes(found[1], "big") == len(tail)
                        for found in re.finditer(rb"\x06(?=(....)\{)", tail, re.DOTALL)):
                    self.whole.set()

    def wait(self):
        self.thread.join(DEADLINE)
        if self.thread.is_alive():
            raise Failure(f"the stream did not end in {DEADLINE} s")


def capture_from_command(qemu, stream):
    """Through a pipe, whose end tells that the command has written everything."""
    pipe = stream + ".pipe"
    os.mkfifo(pipe)
    qemu.run("migrate", uri="exec:cat > " + shlex.quote(pipe))
    saver = Saver(open(pipe, "rb"), stream)
    qemu.wait_migrated()
    saver.wait()


def capture_from_socket(qemu, stream):
    """A socket, on which QEMU opens its return path. QEMU 7.2 fails if it gets SHUT while it still writes."""
    path = stream + ".sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(DEADLINE)
        qemu.run("migrate", uri="unix:" + path)
        connection = listener.accept()[0]
    with connection:
        connection.sendall(bytes([0, 2, 0, 4, 0, 0, 0, 1]))  # PONG 1
        saver = Saver(connection.makefile("rb"), stream)
        qemu.wait_stopped()
        if not saver.whole.wait(DEADLINE):
            raise Failure(f"the stream was not whole after {DEADLINE} s")
        connection.sendall(bytes([0, 1, 0, 4, 0, 0, 0, 0]))  # SHUT 0
        qemu.wait_migrated()
        saver.wait()


def strip(args, directory, stream, hand_over=None):
    stripped, image = os.path.join(directory, "stripped"), os.path.join(directory, "image")
    options = ["--hand-over", str(int(hand_over * os.path.getsize(stream)))] if hand_over else []
    with open(stream, "rb") as i, open(stripped, "wb") as o:
        done = subprocess.run([args.tool, *options, "--in-place", "mem=" + image], stdin=i, stdout=o,
                              stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failure(done.stderr.strip())
    counts = json.loads(done.stderr)
    if counts["bytes"] != os.path.getsize(stream) or counts["pages"] < 16384 or counts["zeros"] == 0:
        raise Failure(f"the stream was not stripped as it should be: {counts}")
    if args.return_path and (counts["pings"] != 1 or counts["return_paths"] != 1):
        raise Failure(f"the return path was not opened: {counts}")
    return stripped, image, counts


def same(one, other):
    with open(one, "rb") as a, open(other, "rb") as b:
        while True:
            x, y = a.read(1 << 22), b.read(1 << 22)
            if x != y:
                return False
            if not x:
                return True


def fill(image, ram, spoil):
    with open(image, "rb") as a, open(ram, "r+b") as b:
        shutil.copyfileobj(a, b, 1 << 22)
        b.flush()
        if spoil:
            with mmap.mmap(b.fileno(), RAM) as memory:
                memory[SPOILT] ^= 0xFF


def load(args, directory, guest, stripped, image, spoil):
    """Steps 3 to 5; answers the guest's first rounds at the destination."""
    name = "spoilt" if spoil else "destination"
    qemu = Qemu(args.destination, args.machine, directory, name, guest, incoming=True)
    try:
        fill(image, qemu.ram, spoil)
        set_capabilities(qemu, ["events"])
        qemu.run("migrate-incoming", uri="exec:cat " + shlex.quote(stripped))
        qemu.wait_migrated()
        rounds = qemu.rounds(3)
        status = qemu.run("query-status")["status"]
        if status != "running":
            raise Failure(f"the destination is {status}, not running")
        return rounds
    finally:
        qemu.end()
        os.unlink(qemu.ram)


def check_refused(args, directory):
    """The stream goes straight into strip_stream, which must end by itself, however far QEMU gets."""
    pipe = os.path.join(directory, "pipe")
    os.mkfifo(pipe)
    qemu = Qemu(args.source, args.machine, directory, "source", build_guest(directory))
    try:
        qemu.rounds(3)
        set_capabilities(qemu, [args.refuse])
        qemu.run("migrate-set-parameters", **{"max-bandwidth": 1 << 32, "downtime-limit": 1})
        qemu.run("migrate", uri="exec:cat > " + shlex.quote(pipe))
        with open(pipe, "rb") as stream:
            done = subprocess.run([args.tool, "--in-place", "mem=" + os.path.join(directory, "image")],
                                  stdin=stream, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                  timeout=DEADLINE, check=False)
        print(done.stderr.strip())
        if done.returncode != 1 or args.refuse not in done.stderr:
            raise Failure(f"a stream with {args.refuse} was not refused by that name")
    finally:
        qemu.end()


def check_rounds(rounds, last):
    if not all(right for _, right in rounds):
        raise Failure(f"the guest found wrong pages after loading: {rounds}")
    if not last <= rounds[0][0] <= last + 1:
        raise Failure(f"the guest stopped in round {last} and went on in round {rounds[0][0]}")


def check(args, directory):
    guest = build_guest(directory)
    stream, ram = capture(args, directory, guest)
    stripped, image, counts = strip(args, directory, stream)
    print(json.dumps(counts))
    if not same(image, ram):
        raise Failure("the pages of the stream, put together, are not the source's RAM")
    with open(ram, "rb") as memory:
        memory.seek(FIRST)
        last = int.from_bytes(memory.read(4), "little")  # the round in which, or after which, it stopped
    rounds = load(args, directory, guest, stripped, image, spoil=False)
    check_rounds(rounds, last)
    for hand_over in HAND_OVERS:
        stripped, image, _ = strip(args, directory, stream, hand_over)
        check_rounds(load(args, directory, guest, stripped, image, spoil=False), last)
    spoilt = load(args, directory, guest, stripped, image, spoil=True)
    if all(right for _, right in spoilt):
        raise Failure(f"the guest did not notice a spoilt page: {spoilt}")
    print(f"the guest stopped in round {last} and went on: {rounds[0][0]} .. {rounds[-1][0]}; a spoilt page was seen")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", required=True, help="the strip_stream program")
    parser.add_argument("--source", default="qemu-system-x86_64", help="QEMU command")
    parser.add_argument("--destination", help="QEMU command; the source's by default")
    parser.add_argument("--machine", default="q35")
    parser.add_argument("--return-path", action="store_true", help="migrate over a socket with a return path")
    parser.add_argument("--refuse", metavar="CAPABILITY", help="expect a refusal that names it")
    args = parser.parse_args()
    args.destination = args.destination or args.source
    for program in (shlex.split(args.source)[0], shlex.split(args.destination)[0], args.tool, "as", "ld", "cpp"):
        if not shutil.which(program):
            print(f"skipped: no {program}")
            return 77
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no QEMU is left behind
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="watari-stream-", dir=shm) as directory:
        try:
            (check_refused if args.refuse else check)(args, directory)
        except (Failure, TimeoutError, subprocess.TimeoutExpired) as failure:
            print(f"failed: {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
