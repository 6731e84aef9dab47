# SPDX-License-Identifier: BSD-3-Clause
"""hosts.py - where processes run: this machine, a network namespace of it, or a lab host.

A host runs commands and has two directories: `run` for sockets and secrets (local to the
host) and `out` for files that this machine reads while they grow (logs).
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from .qmp_call import call

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAB = os.path.join(ROOT, "scripts", "lab")


class Failure(Exception):
    """A test's expectation did not hold; the text says which."""


class Stall(Failure):
    """A lab host did not answer at all for minutes: no word on watari."""


def wait_for(condition, what, timeout_s=60.0):
    """Polls until condition() is true; Failure with `what` after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.02)
    return value


class Process:
    """A running command whose output is gathered line by line."""

    def __init__(self, argv, name, verbose=False, **options):
        self.name = name
        self.lines = []
        options.setdefault("stdin", subprocess.DEVNULL)
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
                                      start_new_session=True, **options)
        self.reader = threading.Thread(target=self._read, args=(verbose,), daemon=True)
        self.reader.start()

    def _read(self, verbose):
        for line in self.child.stdout:
            self.lines.append(line.rstrip("\n"))
            if verbose:
                print(f"[{self.name}] {line}", end="", file=sys.stderr, flush=True)

    def find(self, text):
        return next((line for line in list(self.lines) if text in line), None)

    def wait(self, timeout_s):
        """The exit code; Failure when it does not end in time."""
        try:
            code = self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            if "WATARI_KEEP" not in os.environ:
                self.kill()
            raise Failure(f"{self.name} did not end within {timeout_s:.0f} s: {self.tail()}") from None
        self.reader.join(5)
        return code

    def running(self):
        return self.child.poll() is None

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.child.wait()

    def tail(self, count=6):
        """Its last words; progress is none."""
        return " | ".join([line for line in list(self.lines) if '"event":"progress"' not in line][-count:])


class Host:
    """This machine, or a network namespace of it. wrap: a command that runs each `watari` that is started here. patience: how
    many times as long as usual is waited for what it says."""

    where = "native"
    accel = "tcg"
    opened = []
    wrap = shlex.split(os.environ.get("WATARI_WRAP", ""))
    patience = 1

    @classmethod
    def close_all(cls):
        """Kills what was started on hosts of this machine and removes their directories."""
        for host in cls.opened:
            host.close()
        cls.opened.clear()

    def __init__(self, name, address="127.0.0.1", netns=None):
        self.processes = []
        Host.opened.append(self)
        self.name = name
        self.address = address
        self.prefix = self.prefix_with_input = ["ip", "netns", "exec", netns] if netns else []
        self.run_dir = self.out_dir = tempfile.mkdtemp(prefix=f"watari-{name}-")

    def wrapped(self, argv):
        return [*self.wrap, *argv] if os.path.basename(argv[0]) == "watari" else argv

    def start(self, argv, name, env=None, verbose=False):
        """The job sockets of what is started are in run_dir, so cases that run side by side may use one name."""
        process = Process(self.prefix + self.wrapped(argv), f"{self.name}:{name}", verbose,
                          env={**os.environ, "XDG_RUNTIME_DIR": self.run_dir, **(env or {})})
        self.processes.append(process)
        return process

    def call(self, argv, timeout_s=60):
        """(exit code, output)"""
        process = self.start(argv, argv[0])
        code = process.wait(timeout_s)
        if process in self.processes:
            self.processes.remove(process)
        return code, "\n".join(process.lines)

    def end_processes(self):
        for process in self.processes:
            if process.running():
                process.kill()
        self.processes.clear()

    def close(self):
        self.end_processes()
        shutil.rmtree(self.run_dir, ignore_errors=True)


class LabHost(Host):
    """A host of a started lab; see scripts/lab."""

    where = "lab"
    accel = "kvm"

    def __init__(self, lab_dir, index):
        self.processes = []
        self.name = f"h{index}"
        self.index = index
        self.address = f"10.77.0.1{index}"
        self.ethernet = f"10.88.0.1{index}"
        self.lab_dir = lab_dir
        self.prefix, self.prefix_with_input = ([LAB, "exec", *stdin, "--dir", lab_dir, "--host", str(index), "--"]
                                               for stdin in ((), ("--stdin",)))
        self.run_dir = "/run/watari-test"
        code, share = self.call(["sh", "-c", f"mkdir -p -m 700 {self.run_dir} && echo $LAB_DIR"])
        if code:
            raise Failure(f"lab host {index} does not answer: {share}")
        self.out_dir = os.path.join(share.strip(), f"out-{self.name}")
        os.makedirs(self.out_dir, exist_ok=True)

    def diagnose(self):
        """Prints what can be seen from outside of a host that does not answer: its processors, the processor time of its
        QEMU's threads within two seconds, the end of its console."""
        def monitor(command):
            reply = call(os.path.join(self.lab_dir, f"{self.name}.qmp"), "human-monitor-command", {"command-line": command}, 5)
            return reply.get("return", str(reply))

        try:
            with open(os.path.join(self.lab_dir, "lab.json")) as file:
                pid = json.load(file)["pids"][self.name]
            before = thread_times(pid)
            time.sleep(2)
            for thread, (name, ticks) in sorted(thread_times(pid).items()):
                print(f"  {self.name}: thread {thread} {name}: {ticks - before.get(thread, (name, ticks))[1]} ticks in 2 s")
            for line in monitor("info registers -a").splitlines():
                if "RIP=" in line or line.startswith("CPU"):
                    print(f"  {self.name}: {line}")
            with open(os.path.join(self.lab_dir, f"{self.name}.console"), errors="replace") as file:
                print("".join(f"  {self.name} console: {line}" for line in file.readlines()[-30:]), flush=True)
        except (OSError, ValueError, KeyError) as error:
            print(f"  {self.name} cannot be looked at: {error}", flush=True)

    def print_consoles(self):
        """What its guests said last."""
        for name in sorted(os.listdir(self.out_dir)):
            with open(os.path.join(self.out_dir, name), errors="replace") as file:
                print("".join(f"  {self.name} {name}: {line}" for line in file.readlines()[-20:]), flush=True)

    def cpu_seconds(self):
        """Processor time of all that this host has done so far: that of its QEMU."""
        with open(os.path.join(self.lab_dir, "lab.json")) as file:
            pid = json.load(file)["pids"][self.name]
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def start(self, argv, name, env=None, verbose=False):
        argv = self.wrapped(argv)
        if env:
            argv = ["env", *(f"{key}={value}" for key, value in env.items()), *argv]
        return Process(self.prefix + argv, f"{self.name}:{name}", verbose)

    def close(self):
        pass


def thread_times(pid):
    """{thread: (name, clock ticks of processor time)} of a process"""
    times = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
        fields = fields.split()
        times[thread] = (name, int(fields[11]) + int(fields[12]))
    return times


@contextlib.contextmanager
def lab(count, mem="1536M", options=()):
    """Starts a lab of its own and stops it; yields its hosts."""
    directory = tempfile.mkdtemp(prefix="watari-lab-")
    hosts = []
    try:
        started = subprocess.run([LAB, "start", "--dir", directory, "--hosts", str(count), "--mem", mem, *options],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, check=False)
        if started.returncode:
            hung = "soft lockup" in started.stdout  # the emulated kernel, before anything of ours runs (docs/LAB.md)
            raise (Stall if hung else Failure)(f"the lab does not start ({started.returncode}): {started.stdout.strip()}")
        hosts = [LabHost(directory, i) for i in range(count)]
        yield hosts
    except Failure:
        for host in hosts:
            host.print_consoles()
        raise
    finally:
        subprocess.run([LAB, "stop", "--dir", directory], stdin=subprocess.DEVNULL, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(directory, ignore_errors=True)


def lab_usable():
    """None, or the reason why the lab cannot run here."""
    checked = subprocess.run([LAB, "check"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if checked.returncode == 0:
        return None
    return (checked.stderr or checked.stdout).strip() or "scripts/lab check failed"
