# SPDX-License-Identifier: BSD-3-Clause
"""migrations.py - a real migration of a tiny guest with one fault in it, and what must hold afterwards.

After each fault, whatever it was:

  1. never do two guests run, and one is left: it runs after `watari recover` at the latest, and its memory is right;
  2. a command that failed says why in a sentence; none crashes, and all end within DEADLINE_S;
  3. nothing is left over: no relay, no process that one has started, no socket or file of one.
"""

import os
import signal
import subprocess
import time

from harness.hosts import Failure, Host, wait_for
from harness.migration import BUILD, events, watari

import calls
from tiny import ACCEL, Tiny, build_rom

LIBRARY = os.path.join(BUILD, "tests", "libfault.so")
DEADLINE_S = 60 if ACCEL == "tcg" else 180  # in a lab host everything is slow
UNCLEAR = ("unknown error", "error:00000000", "Success", "(null)", "error 0")
LOADING = ("loading", "ready", "starting")


def preload(**words):
    return {"LD_PRELOAD": LIBRARY, **{f"WATARI_FAULT{key and '_' + key}": value for key, value in words.items()}}


def judged(process, name):
    """Failure if a command that has ended did so badly; answers its last sentence, or None."""
    code = process.child.returncode
    process.reader.join(5)
    if code < 0:
        raise Failure(f"{name} died of {signal.Signals(-code).name}: {process.tail()}")
    said = [line for line in process.lines if line.startswith("watari")]
    if code > 0 and not said and not process.find('"result":"undone"'):  # the word of a gang that is given back
        raise Failure(f"{name} ended with {code} and said nothing: {process.tail()}")
    if unclear := [line for line in said if any(word in line for word in UNCLEAR)]:
        raise Failure(f"{name} is unclear: {unclear[0]}")
    return said[-1] if said else None


class World:
    """Where migrations happen: the guest that is left, and one destination that is started ahead."""

    def __init__(self):
        self.host = Host("fault")
        self.host.guest_dir = os.path.join(self.host.run_dir, "guests")
        os.mkdir(self.host.guest_dir)
        self.rom = build_rom(self.host.guest_dir)
        self.key = os.path.join(self.host.guest_dir, "keys.psk")
        with open(os.open(self.key, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(f"watari:{os.urandom(32).hex()}\n")
        self.guest = self.next = None
        self.usual = self.left_over()

    def left_over(self):
        """Files of relays in the run directory."""
        return {os.path.join(at, name) for at, _, names in os.walk(self.host.run_dir) for name in names
                if not at.startswith(self.host.guest_dir)}

    def pair(self):
        if not self.guest:
            self.guest = Tiny(self.host, self.rom)
        destination = self.next or Tiny(self.host, self.rom, incoming=True)
        self.next = None
        self.guest.ready()
        destination.ready()
        wait_for(self.guest.last, "the guest's first round")
        self.next = Tiny(self.host, self.rom, incoming=True)  # starts while this one migrates
        return self.guest, destination

    def drop(self):
        """Everything of a point that went wrong."""
        self.host.end_processes()
        self.guest = self.next = None
        self.clear()

    def clear(self):
        """Files that relays have left."""
        for path in self.left_over() - self.usual:
            os.unlink(path)

    def close(self):
        self.drop()
        self.host.close()
        Host.opened.remove(self.host)


class Plain:
    """`watari send` and `watari receive` with TLS by a key, all pages compared at the end."""

    components = ("sender", "receiver")
    binary = watari()
    words = {}  # for libfault.so
    keeps = None
    address = "127.0.0.1"
    send_options = ["--verify"]
    receive_options = []

    def __init__(self, world):
        self.world = world

    def prepare(self):
        """Before each migration."""

    def run(self, env):
        """One migration; env: for each component. Answers (who is left, what was said)."""
        world, host = self.world, self.world.host
        source, destination = world.pair()
        before = source.last()
        self.prepare()
        sender, receiver = self.begin(source, destination, env)
        if sender:
            ended(sender, "watari send")
        end_receiver(receiver)
        try:
            return self.after(source, destination, sender, receiver, before)
        finally:
            for process in (sender, receiver):
                if process:
                    host.processes.remove(process)

    def begin(self, source, destination, env):
        """(sender, or None if the receiver does not listen; receiver), started; env: for each component."""
        receiver = self.relay("receive", destination.qmp, self.receive_options, f"{self.address}:0/vm", env.get("receiver"))
        wait_for(lambda: port_of(receiver) or untold(receiver) or not receiver.running(), "watari receive to listen", DEADLINE_S)
        if not port_of(receiver):
            return None, receiver
        return self.relay("send", source.qmp, self.send_options, f"{self.address}:{port_of(receiver)}/vm", env.get("sender")), receiver

    def relay(self, verb, qmp, options, target, env):
        """The command, started."""
        return self.world.host.start([watari(), verb, "--qmp", qmp, "--json", "--psk", self.world.key, "--reconnect-timeout", "2s",
                                      *options, target], verb, env=env)

    def after(self, source, destination, sender, receiver, before):
        world = self.world
        said = [word for word in (judged(sender, "send") if sender else None, judged(receiver, "receive")) if word]
        if sender and sender.child.returncode == 0 and not any("has not ended yet" in word for word in said):
            wait_for(lambda: not source.alive(), "the end of the source's QEMU", 15)
        states = [source.status(), destination.status()]
        if states.count("running") > 1:
            raise Failure("two guests run")
        if "running" not in states:
            said.append(recovered(world.host, source, destination))
        left = [guest for guest in (source, destination) if guest.status() == "running"]
        if len(left) != 1:
            raise Failure(f"{len(left)} guests run after recover: {said}")
        left[0].fine(before)
        if sender and sender.child.returncode == 0 and left[0] is source:
            raise Failure("send claims success, and the guest is still here")
        world.guest = left[0]
        for guest in (source, destination):
            if guest is not left[0]:
                if guest.status() == "running":
                    raise Failure("two guests run")
                guest.end()
                guest.host.processes.remove(guest.process)
        return ("source" if left[0] is source else "destination"), said


class Verbs(Plain):
    """Over verbs, which may fall back on tcp. Inside of a lab host, see lab/test_faults_lab.py."""

    only = calls.DEVICE_CALLS
    address = os.environ.get("WATARI_RDMA_ADDRESS", "")
    send_options = ["--verify", "--switchover-timeout", "20s"]


class Replica(Plain):
    """The guest's RAM is written to files where it was, and files of before are used where it comes."""

    def __init__(self, world):
        super().__init__(world)
        self.kept, self.old = (os.path.join(world.host.guest_dir, name) for name in ("kept", "old"))
        self.send_options = ["--keep-replica", self.kept]
        self.receive_options = []
        Plain.run(self, {})
        subprocess.run(["cp", "-a", self.kept, f"{self.old}.first"], check=True)
        self.receive_options = ["--replica", self.old]

    def prepare(self):
        for path in (self.kept, self.old):
            subprocess.run(["rm", "-rf", path], check=True)
        if os.path.exists(f"{self.old}.first"):
            subprocess.run(["cp", "-a", f"{self.old}.first", self.old], check=True)


def port_of(process):
    return next((event["port"] for event in events(process) if event["event"] == "listening"), None)


def untold(process):
    """It had no memory to say where it listens: nobody can come."""
    return any(event["event"] == "untold" for event in events(process))


def ended(process, name):
    wait_for(lambda: not process.running(), f"{name} hangs: {process.tail()}: its end", DEADLINE_S)


def end_receiver(receiver):
    """One that nobody has come to is told to end, as an operator would."""
    until = time.monotonic() + 6
    while receiver.running() and time.monotonic() < until:
        if len([e for e in events(receiver) if e["event"] == "state"]) < 2:
            time.sleep(0.3)
            break
        time.sleep(0.02)
    if receiver.running() and not any(e.get("state") in LOADING for e in events(receiver)):
        receiver.signal(signal.SIGTERM)
    ended(receiver, "watari receive")


def outcome(left, said):
    """(result, what was said) of a point, of who is left."""
    if any(word.startswith("recover: ") for word in said):
        return "recovered", [f"left is the {left}", *said]
    return ("survived" if left == "destination" else "refused"), said


def recovered(host, source, destination):
    argv = [watari(), "recover"]
    argv += ["--qmp", source.qmp] if source.alive() else []
    argv += ["--destination-qmp", destination.qmp] if destination.alive() else []
    code, text = host.call(argv)
    if code:
        raise Failure(f"recover ends with {code}: {text}")
    return f"recover: {text}"


def leftovers(world, keeps):
    """Failure if relays left anything behind. keeps: part of the command lines that go on."""
    if left := world.left_over() - world.usual:
        raise Failure(f"left over: {sorted(os.path.relpath(path, world.host.run_dir) for path in left)}")
    ours = {process.child.pid for process in world.host.processes}
    told = subprocess.run(["ps", "-eo", "pid=,pgid=,args="], capture_output=True, text=True, check=True).stdout
    for line in told.splitlines():
        pid, group, args = line.split(None, 2)
        if world.host.run_dir in args and not (keeps and keeps in args) and not {int(pid), int(group)} & ours:
            raise Failure(f"a process is left: {args}")
