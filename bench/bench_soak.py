#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""what a relay daemon keeps: a guest goes back and forth between two hosts, through one daemon on each.

Two hosts of this machine, in network namespaces joined by a switch, with a `watari daemon` each that lives through all
migrations (tcp, TLS with a pre-shared key). The guest is small, runs on, and proves its own memory all the time; with each
50th migration --verify compares all RAM of both sides, and both daemons are looked at between two migrations:

  rss_growth      resident memory (Rss of smaps_rollup) after the last migration, against that after the first sample
  private_growth  of that, what is the process's own (Anonymous)
  fd_growth       open file descriptors
  thread_growth   threads
  pinned_growth   locked and pinned memory (VmLck + VmPin)

The first sample is after the 100th migration, or after half of them if there are fewer than 200; ratio 1: nothing was
kept. Each figure is the greater one of the two daemons'. The last line, seconds, is the median time of one migration with all that is
around it.
"""

import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import parser  # noqa: E402
from harness.guests import Guest, build_guest  # noqa: E402
from harness.hosts import Failure, Host, Process, wait_for  # noqa: E402
from harness.migration import events, install_key, watari  # noqa: E402
from harness.network import network  # noqa: E402
from harness.qmp_call import call  # noqa: E402

EVERY = 50
FIRST = 100
SMALL = {"mb": 96, "work_mb": 2, "rate": 50, "append": "wt.const=1 wt.zero=1 wt.lend=1 wt.report=200"}
METRICS = {"rss_growth": ("rss_kib", "KiB"), "private_growth": ("private_kib", "KiB"), "fd_growth": ("fds", "fds"),
           "thread_growth": ("threads", "threads"), "pinned_growth": ("pinned_kib", "KiB")}


def fields(path):
    """{name: number} of a file of lines like "VmRSS:   123 kB" """
    found = {}
    with open(path) as file:
        for line in file:
            words = line.split()
            if len(words) > 1 and words[0].endswith(":") and words[1].isdigit():
                found[words[0][:-1]] = int(words[1])
    return found


def held(pid):
    """What a process has at this moment."""
    rollup, status = fields(f"/proc/{pid}/smaps_rollup"), fields(f"/proc/{pid}/status")
    return {"rss_kib": rollup["Rss"], "private_kib": rollup["Anonymous"], "fds": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": status["Threads"], "pinned_kib": status["VmLck"] + status["VmPin"]}


class SoakGuest(Guest):
    """A guest that is asked over QMP without a process for each question."""

    def call(self, command, arguments=None):
        try:
            reply = call(self.monitor, command, arguments)
        except (OSError, ValueError) as error:
            return 2, str(error)
        return (1, reply["error"]["desc"]) if "error" in reply else (0, reply["return"])


class Side:
    """One host with its daemon."""

    def __init__(self, host, key, options=()):
        self.host, self.key = host, key
        self.daemon = host.start([watari(), "daemon", "--json", *options], "daemon")
        wait_for(lambda: events(self.daemon) or not self.daemon.running(), "the daemon")
        if not self.daemon.running():
            raise Failure(f"the daemon ended: {self.daemon.tail()}")

    def run(self, verb, guest, target, *options):
        """A client of the daemon; it needs no network of its own."""
        return Process([watari(), verb, "--daemon", "--qmp", guest.qmp, "--psk", self.key, "--json", *options, target],
                       f"{self.host.name}:{verb}", env={**os.environ, "XDG_RUNTIME_DIR": self.host.run_dir})

    def held(self):
        return held(self.daemon.child.pid)


def listening(receiver):
    wait_for(lambda: any(e["event"] == "listening" for e in events(receiver)) or not receiver.running(), "watari receive")
    port = next((e["port"] for e in events(receiver) if e["event"] == "listening"), None)
    if port is None:
        raise Failure(f"watari receive ended: {receiver.tail()}")
    return port


def migrate(here, there, guest, successor, *options):
    """The guest goes to the QEMU that awaits it there."""
    receiver = there.run("receive", successor, f"{there.host.address}:0/vm")
    sender = here.run("send", guest, f"{there.host.address}:{listening(receiver)}/vm", *options)
    codes = sender.wait(600), receiver.wait(600)
    if codes != (0, 0):
        raise Failure(f"exit codes {codes}: send: {sender.tail()}; receive: {receiver.tail()}")
    guest.process.wait(60)
    here.host.processes.remove(guest.process)
    for path in (guest.qmp, guest.monitor, guest.serial, guest.pid_file):
        if os.path.exists(path):
            os.unlink(path)


def say(args, number, samples, took):
    if args.json:
        print(json.dumps({"bench": "soak", "sample": number, "seconds": round(took, 3), "daemons": samples}), file=sys.stderr,
              flush=True)
    else:
        print(f"  {number:5}  {took:.2f} s  " + "  ".join(
            " ".join(f"{name} {value}" for name, value in one.items()) for one in samples), file=sys.stderr, flush=True)


class Soak:
    def __init__(self, args, sides, image):
        self.args, self.sides, self.image = args, sides, image
        self.samples, self.times = {}, []  # {migration: [of each daemon]}, seconds
        self.first = FIRST if args.migrations >= 2 * FIRST else args.migrations // 2

    def wanted(self, number):
        return number % EVERY == 0 or number in (self.first, self.args.migrations)

    def prove(self, guest):
        """The guest has looked at its memory since it came, and found it right."""
        guest.wait_reports(1)
        guest.check()

    def start(self, side, incoming=True):
        return SoakGuest(side.host, self.image, incoming=incoming, **SMALL)

    def go(self):
        here, there = self.sides
        guest = self.start(here, incoming=False)
        guest.wait_reports(2, 300)
        with concurrent.futures.ThreadPoolExecutor(1) as starter:  # a QEMU starts while the guest moves to the one before it
            successor = starter.submit(self.start, there)
            for number in range(1, self.args.migrations + 1):
                began = time.monotonic()
                awaiting, successor = successor.result(), starter.submit(self.start, here)
                migrate(here, there, guest, awaiting, *(["--verify"] if self.wanted(number) else []))
                self.times.append(time.monotonic() - began)
                guest, here, there = awaiting, there, here
                if self.wanted(number):
                    self.prove(guest)
                    self.samples[number] = [side.held() for side in self.sides]
                    say(self.args, number, self.samples[number], statistics.median(self.times[-EVERY:]))
            for last in (guest, successor.result()):
                last.quit()

    def worst(self, key):
        """(before, after) of the daemon that grew most."""
        pairs = [(before[key], after[key]) for before, after in
                 zip(self.samples[self.first], self.samples[self.args.migrations])]
        return max(pairs, key=lambda pair: pair[1] / pair[0] if pair[0] else pair[1] + 1)

    def report(self):
        case = f"{self.args.migrations} migrations"
        for metric, (key, unit) in METRICS.items():
            before, after = self.worst(key)
            line = {"bench": "soak", "metric": metric, "case": case, "unit": unit, "better": "lower", "value": after,
                    "baseline": f"after the {self.first}th", "baseline_value": before,
                    "ratio": round(after / before, 4) if before else 1.0 if not after else None,
                    "runs": self.args.migrations, "spread": 0}
            self.tell(line)
        self.tell({"bench": "soak", "metric": "seconds", "case": case, "unit": "s", "better": "lower",
                   "value": round(statistics.median(self.times), 3), "baseline": None, "baseline_value": None, "ratio": None,
                   "runs": len(self.times), "spread": 0})

    def tell(self, line):
        if self.args.json:
            print(json.dumps(line), flush=True)
        else:
            print(f"{line['metric']:16} {line['value']:10} {line['unit']:8} {line['baseline'] or ''} "
                  f"{'' if line['baseline_value'] is None else line['baseline_value']}  ratio {line['ratio']}", flush=True)


def measure(args):
    image = build_guest()
    with network(2) as net:
        keys = install_key(net.hosts)
        soak = Soak(args, [Side(host, key) for host, key in zip(net.hosts, keys)], image)
        soak.go()
        for side in soak.sides:
            side.daemon.child.terminate()
            if side.daemon.wait(60):
                raise Failure(f"the daemon ended badly: {side.daemon.tail()}")
        soak.report()


def main():
    options = parser(__doc__, runs=1)
    options.add_argument("--migrations", type=int, default=2000)
    args = options.parse_args()
    try:
        measure(args)
    except subprocess.SubprocessError as error:
        raise SystemExit(f"soak: {error}") from error
    finally:
        Host.close_all()


if __name__ == "__main__":
    sys.exit(main())
