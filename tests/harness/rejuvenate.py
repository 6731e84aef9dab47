# SPDX-License-Identifier: BSD-3-Clause
"""rejuvenate.py - guests that leave their host and come home, or get another QEMU; the plan, and `watari rejuvenate`."""

import contextlib
import json
import os
import shlex
import signal

from .cases import SMALL, expect, still_fine
from .common_memory import long_file
from .gang import free_port
from .guests import Guest
from .hosts import wait_for
from .migration import events, watari

START = """[ -S {qmp} ] && kill -0 $(cat {pid}) 2>/dev/null && exit 0
exec {command} >/dev/null 2>&1
"""


class ByPid:
    """A QEMU that somebody else has started, as hosts.Process."""

    def __init__(self, pid_file):
        self.pid_file = pid_file

    def pid(self):
        try:
            with open(self.pid_file, encoding="utf-8") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                return None if file.read().rsplit(")", 1)[1].split()[0] == "Z" else pid
        except (OSError, ValueError):
            return None

    def running(self):
        return self.pid() is not None

    def kill(self):
        with contextlib.suppress(OSError, TypeError):
            os.kill(self.pid(), signal.SIGKILL)

    def tail(self, count=6):
        return "started by the plan"


class Elsewhere(Guest):
    """The QEMU of a guest that a plan starts: at home (suffix "") once more, or away."""

    def __init__(self, first, suffix):  # nothing is started
        def mine(text):
            return text.replace(f"/{first.name}.", f"/{first.name}{suffix}.")

        self.host, self.name = first.host, first.name + suffix
        self.qmp, self.monitor, self.serial = mine(first.qmp), mine(first.monitor), mine(first.serial)
        self.process = ByPid(mine(first.pid_file))
        first.host.processes.append(self.process)
        self.script = f"{first.host.run_dir}/{self.name}.start"
        command = shlex.join([mine(word) for word in first.argv] + ["-incoming", "defer", "-S", "-daemonize"])
        with open(self.script, "w", encoding="utf-8") as file:
            file.write(START.format(qmp=self.qmp, pid=self.process.pid_file, command=command))

    def end(self, host, name):
        return {"host": host, "qmp": self.qmp, "insecure": True, "address": f"127.0.0.1:{free_port()}", "start": ["sh", self.script]}


class Resident:
    """A guest of a host that is renewed. away: the host that it goes to; without, it gets another QEMU. common: both hosts have its
    memory in common."""

    def __init__(self, host, image, name, at, away=None, common=False):
        self.name = name
        ram = long_file(f"{host.run_dir}/{name}.ram", SMALL["mb"]) if common else {}
        self.first = Guest(host, image, **{**SMALL, **ram})
        self.home = Elsewhere(self.first, "")
        self.plan = {"home": {"host": at, "qmp": self.first.qmp}}
        if not away:
            return
        self.away = Elsewhere(self.first, "-away")
        self.kept = f"{host.run_dir}/{name}.kept"
        self.plan = {"home": self.home.end(at, name), "away": self.away.end(away, name)}
        if common:
            for end in self.plan.values():
                end.update(send=["--common-memory"], receive=["--common-memory"])
        else:
            self.plan["replica"] = self.kept

    def at_home(self):
        """It runs there, its memory right, and nowhere else."""
        still_fine(self.home)
        if hasattr(self, "away"):
            expect(self.away.status() in (None, "inmigrate"), f"{self.name} is {self.away.status()} away, too")

    def is_away(self):
        still_fine(self.away)
        expect(self.home.status() in (None, "inmigrate"), f"{self.name} is {self.home.status()} at home, too")


class Rejuvenation:
    """`watari rejuvenate`."""

    def __init__(self, host, hosts, residents, *, name="plan", **plan):
        self.host = host
        self.path = f"{host.run_dir}/{name}.json"
        self.journal = f"{self.path}.journal"
        self.plan = {"version": 1, "hold_s": 60, "watari": watari(), "hosts": hosts,
                     "guests": {r.name: r.plan for r in residents}, **plan}
        self.write(self.plan)

    def write(self, plan):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(plan if isinstance(plan, str) else json.dumps(plan))

    def start(self, *words, env=None):
        return self.host.start([watari(), "rejuvenate", self.path, "--json", *words], "rejuvenate", env=env)

    def run(self, *words, env=None, timeout_s=200):
        """(exit code, its process)"""
        process = self.start(*words, env=env)
        return process.wait(timeout_s), process

    def lines(self):
        with open(self.journal, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def steps(self):
        """(step, guest or host) that were said, in order"""
        return [(line["step"], line.get("guest") or line.get("host")) for line in self.lines() if "step" in line]


def summary(process):
    found = [event for event in events(process) if event["event"] == "summary"]
    expect(found, f"no summary: {process.tail()}")
    return found[-1]


def wait_step(process, step, state="begun"):
    wait_for(lambda: not process.running() or any(e["event"] == "step" and e["step"] == step and e["state"] == state
                                                  for e in events(process)), f"{step} {state}", 120)
    expect(process.running(), f"it has ended: {process.tail()}")
