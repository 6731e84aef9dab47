#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""gang_stub.py send|receive|checkpoint|restore|proceed|cancel|status|recover ... - stands for watari in tests of its coordinator, where no
QEMU is wanted: the same words, events and exit codes, and a file for each QEMU at the path of its QMP socket.

The file of a source says "running device", "running", or "postmigrate"; that of a destination "inmigrate", "loaded",
"running", or "running device". STUB_FAIL in the environment makes a guest fail at a point: NAME:POINT, ... with the points
refuse (its devices do not leave), move (after it was told to), run (after the commit: its destination is lost), save (before
it holds), load (the same), sync (after it was told to go on). STUB_HANG: NAME stays in its move, or works, until it is cancelled.
What checkpoint and restore do is in the file `order` in $XDG_RUNTIME_DIR, in order: WHAT NAME.
"""

import contextlib
import json
import os
import selectors
import socket
import sys
import time


def emit(event, **fields):
    """As watari, it does not mind that nobody reads."""
    line = json.dumps({"event": event, "time_ms": 0, **fields}, separators=(",", ":")) + "\n"
    with contextlib.suppress(OSError):
        os.write(1, line.encode())


def state(name):
    emit("state", state=name)


def end(text, code=1):
    emit("error", text=text)
    print(f"watari: {text}", file=sys.stderr, flush=True)
    sys.exit(code)


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path, text):
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(f"{path}.new", path)


def socket_of(job):
    return os.path.join(os.environ["XDG_RUNTIME_DIR"], f"{job}.stub")


def ask(job, word):
    """The answer: {"return": ...} or {"error": sentence}; None: no such job."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(socket_of(job))
            client.sendall(f"{word}\n".encode())
            text = client.makefile().readline()
        except OSError:
            return None
    return json.loads(text) if text else None


def lives(job):
    """Without a word to it: two that ask each other would wait for each other."""
    pid = read(f"{socket_of(job)}.pid")
    stat = read(f"/proc/{pid}/stat") if pid else None
    return stat is not None and stat.rsplit(")", 1)[1].split()[0] != "Z"


class Job:
    """One client, one word, one answer at a time. on: word -> function that answers the text, or raises Refused."""

    class Refused(Exception):
        pass

    def __init__(self, name, on):
        self.path, self.on, self.state, self.held = socket_of(name), on, "", False
        if lives(name):
            end(f"a job {name} lives already")
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen(8)
        write(f"{self.path}.pid", str(os.getpid()))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.server, selectors.EVENT_READ)

    def go(self, name):
        self.state = name
        state(name)

    def answer(self, word):
        if word == "status":
            return {"return": {"state": self.state, "held": self.held, "pid": os.getpid()}}
        try:
            return {"return": {"text": self.on[word]()}}
        except Job.Refused as why:
            return {"error": str(why)}

    def turn(self, seconds):
        if not self.selector.select(max(seconds, 0)):
            return
        client, _ = self.server.accept()
        with client:
            word = client.makefile().readline().strip()
            answer = self.answer(word)
            try:
                client.sendall((json.dumps(answer) + "\n").encode())
            except OSError:
                pass

    def wait(self, condition, seconds):
        """Serves until the condition holds; answers whether it does."""
        until = time.monotonic() + seconds
        while not (value := condition()) and time.monotonic() < until:
            self.turn(min(0.05, until - time.monotonic()))
        return value


def options(argv):
    found = {"hold": 60.0}
    for at, word in enumerate(argv):
        if word.startswith("--hold="):
            found["hold"] = float(word[7:].rstrip("s"))
        elif word.startswith(("--job=", "--name=")):
            found[word[2:word.index("=")]] = word[word.index("=") + 1:]
        elif word == "--base":
            found["base"] = argv[at + 1]
        elif word == "--qmp":
            found["qmp"] = argv[at + 1]
    found["name"], found["directory"] = argv[-1].rsplit("/", 1)[-1], argv[-1]
    return found


def fails(name, point):
    return f"{name}:{point}" in os.environ.get("STUB_FAIL", "").split(",")


def send(argv):
    o = options(argv)
    name, qmp = o["name"], o["qmp"]
    said = {"cancel": False, "proceed": False}
    late = ("committing", "delivering", "done")

    def cancel():
        if job.state in late:
            raise Job.Refused("too late to cancel")
        said["cancel"] = True
        return "cancelled; the guest goes on here"

    def proceed():
        if not job.held:
            raise Job.Refused("this job does not hold, or not yet; see --hold")
        said["proceed"] = True
        return "it goes on"

    def give_up(why):
        ask(f"{name}-incoming", "abort")
        job.go("aborted")
        write(qmp, "running device")
        end(f"{why}; the guest goes on here as before")

    job = Job(name, {"cancel": cancel, "proceed": proceed})
    if not (read(qmp) or "").startswith("running"):
        end(f"{qmp}: no guest runs here")
    if not ask(f"{name}-incoming", "hello"):
        job.go("aborted")
        end("connection refused; the guest goes on here as before")
    if fails(name, "refuse"):
        give_up("the hook refuses")
    write(qmp, "running")
    job.held = True
    emit("held", timeout_ms=o["hold"] * 1000)
    job.wait(lambda: said["proceed"] or said["cancel"] or not lives(f"{name}-incoming"), o["hold"])
    job.held = False
    if said["cancel"] or not said["proceed"]:
        give_up("cancelled by the operator" if said["cancel"] else "nobody said watari proceed")
    job.go("streaming")
    emit("progress", total_bytes=1000, remaining_bytes=400)
    job.wait(lambda: said["cancel"], 60 if os.environ.get("STUB_HANG") == name else 0.02)
    if said["cancel"] or fails(name, "move") or not ask(f"{name}-incoming", "load"):
        give_up("cancelled by the operator" if said["cancel"] else "the move fails")
    job.go("stopped")
    job.go("committing")
    write(qmp, "postmigrate")
    job.go("delivering")
    if fails(name, "run") or not ask(f"{name}-incoming", "run"):
        job.go("undelivered")
        end("the destination did not confirm that it runs", 3)
    job.go("done")
    os.unlink(qmp)
    job.wait(lambda: not lives(f"{name}-incoming"), o["hold"] + 10)
    emit("summary", downtime_ms=5.0, devices={"device_outage_ms": 50.0})


def receive(argv):
    o = options(argv)
    name, qmp = o["name"], o["qmp"]
    said = {}

    def word(text, refused=False):
        def take():
            if refused and not job.held:
                raise Job.Refused("this job does not hold")
            if text == "cancel" and ("run" in said or "load" in said):
                raise Job.Refused("too late to cancel here")
            if text == "load":
                write(qmp, "loaded")
            if text == "run":
                write(qmp, "running")
            said[text] = True
            return "taken"
        return take

    job = Job(f"{name}-incoming", {w: word(w) for w in ("hello", "load", "run", "abort", "cancel")} |
              {"proceed": word("proceed", True)})
    if read(qmp) != "inmigrate":
        end(f"{qmp}: this QEMU awaits nothing")
    emit("listening", port=4711)
    job.wait(lambda: said.keys() & {"run", "abort", "cancel"} or ("hello" in said and not lives(name)), 120)
    if "run" not in said and "load" in said:
        job.go("orphan")
        end("the guest is loaded here and paused, and the source may have committed", 3)
    if "run" not in said:
        if "hello" in said:
            os.unlink(qmp)
        job.go("failed")
        end("the source aborted")
    for name_ in ("receiving", "loading", "ready", "starting", "done"):
        job.go(name_)
    job.held = True
    emit("held", timeout_ms=o["hold"] * 1000)
    job.wait(lambda: "proceed" in said, o["hold"])
    job.held = False
    write(qmp, "running device")
    emit("devices", devices=[{"name": "ib0", "what": "e1000e", "error": None}])


def happened(what, name):
    with open(os.path.join(os.environ["XDG_RUNTIME_DIR"], "order"), "a", encoding="utf-8") as file:
        file.write(f"{what} {name}\n")


def hold(o, what, work):
    """It works, holds, and is told to go on; what: of the guest meanwhile. Ends otherwise."""
    said = {}

    def word(text):
        def take():
            if text == "proceed" and not job.held:
                raise Job.Refused("this job does not hold, or not yet; see --hold")
            said[text] = True
            return "taken"
        return take

    job = Job(o["job"], {name: word(name) for name in ("proceed", "cancel")})
    if os.environ.get("STUB_HANG") == o["name"]:
        job.wait(lambda: said, 60)
    failure = work() if not said else None
    if not failure and not said:
        happened(what, o["name"])
        job.held = True
        emit("held", timeout_ms=o["hold"] * 1000)
        job.wait(lambda: said, o["hold"])
        job.held = False
    return failure or (None if "proceed" in said else "cancelled by the operator" if said else "nobody said watari proceed")


def checkpoint(argv):
    o = options(argv)
    name, qmp = o["name"], o["qmp"]

    def work():
        if read(qmp) != "running":
            return f"{qmp}: no guest runs here"
        if "base" in o and not read(f"{o['base']}/ram"):
            return "the base is no checkpoint"
        os.mkdir(o["directory"])
        if fails(name, "save"):
            return "No space left on device"
        write(qmp, "stopped")
        return None

    why = hold(o, "stopped", work)
    if not why:
        happened("goes-on", name)
    if os.path.exists(qmp):
        write(qmp, "running")
    if not why and fails(name, "sync"):
        why = "the disk has gone"
    if why:
        end(f"{why}; the guest goes on")
    write(f"{o['directory']}/ram", f"{name} on {o.get('base', 'nothing')}")
    emit("summary", written_bytes=1000, state_bytes=10, downtime_ms=5.0)


def restore(argv):
    o = options(argv)
    name, qmp = o["name"], o["qmp"]

    def work():
        if read(qmp) != "inmigrate":
            return f"{qmp}: this QEMU awaits nothing"
        if not read(f"{o['directory']}/ram") or fails(name, "load"):
            return "the checkpoint is damaged"
        write(qmp, "loaded")
        return None

    why = hold(o, "loaded", work)
    if why:
        if read(qmp) == "loaded":
            os.unlink(qmp)
        end(why)
    happened("runs", name)
    write(qmp, "running")
    emit("summary", running=True)


def recover(argv):
    qmp = options(argv)["qmp"]
    found = read(qmp)
    if not found:
        end(f"{qmp}: no QEMU")
    if found == "postmigrate":
        end("committed, and no loaded destination was given", 3)
    write(qmp, "running device")


def tell(command, argv):
    answer = ask(argv[0], command)
    if not answer or "error" in answer:
        end(answer["error"] if answer else f"there is no job {argv[0]} here")
    print(json.dumps(answer["return"]) if command == "status" else answer["return"]["text"], flush=True)


def main():
    command, argv = sys.argv[1], sys.argv[2:]
    roles = {"send": send, "receive": receive, "checkpoint": checkpoint, "restore": restore, "recover": recover}
    if command in roles:
        roles[command](argv)
    else:
        tell(command, argv)


if __name__ == "__main__":
    main()
