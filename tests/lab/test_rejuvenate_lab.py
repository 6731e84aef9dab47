#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_rejuvenate_lab.py CASE... - two lab hosts with two guests each are renewed, one after the other. The coordinator runs on the
machine itself, and reaches the hosts through `scripts/lab exec`, as through ssh.

alpha is renewed by handover: each guest gets another QEMU. Then beta by evacuation: its guests go to alpha, beta reboots (its own
kernel begins anew; what is not on its disk is gone), and they come home, with replicas from that disk.

  renews   all of it; the coordinator is killed (SIGKILL) when the second guest of beta leaves, and another one goes on
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

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import Host, lab, wait_for  # noqa: E402
from harness.migration import install_key  # noqa: E402
from harness.rejuvenate import Rejuvenation, summary  # noqa: E402

SHAPE = {"mb": 128, "work_mb": 16, "rate": 100}
PATIENT = ["--switchover-timeout", "60s"]
DISK = "/run/disk"  # beta's, that outlives its reboot
UP = """mkdir -p -m 700 {run} {disk}
mountpoint -q {disk} || {{ modprobe -a virtio_blk ext4 && mount /dev/vda {disk}; }} || exit 1
cat /proc/sys/kernel/random/boot_id
"""
REBOOT = "sync; (sleep 2; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &"
START = """mkdir -p -m 700 {run}
kill -0 $(cat {pid}) 2>/dev/null && exit 0
exec {command} -incoming defer -S -daemonize
"""


class InHost:
    """A QEMU of a lab host that somebody else has started, as hosts.Process."""

    def __init__(self, host, pid_file):
        self.host, self.pid_file = host, pid_file

    def pid(self):
        code, text = self.host.call(["sh", "-c", f"p=$(cat {self.pid_file}) && kill -0 $p && echo $p"])
        return int(text.split()[-1]) if code == 0 else None

    def running(self):
        return self.pid() is not None

    def tail(self, count=6):
        return "started by the plan"


class There(Guest):
    """The QEMU that a plan starts for a guest: at home once more, or away."""

    def __init__(self, first, host, port, key):  # nothing is started
        self.host, self.name = host, first.name if host is first.host else f"{first.name}-away"
        directories = {first.host.out_dir: host.out_dir, f"/{first.name}.": f"/{self.name}."}

        def mine(text):
            for old, new in directories.items():
                text = text.replace(old, new)
            return text

        self.qmp, self.monitor, self.serial = mine(first.qmp), mine(first.monitor), mine(first.serial)
        self.process = InHost(host, mine(first.pid_file))
        script = f"{host.out_dir}/{self.name}.start"
        command = shlex.join([mine(word) for word in first.argv])
        with open(script, "w", encoding="utf-8") as file:
            file.write(START.format(run=host.run_dir, pid=self.process.pid_file, command=command))
        self.plan = {"host": host.name, "qmp": self.qmp, "psk": key, "address": f"{host.address}:{port}", "start": ["sh", script],
                     "send": PATIENT}


def pin(host, guest, processor):
    """Of two guests under KVM that boot on the same processors of an emulated host, one may crash before it is up."""
    code, text = host.call(["sh", "-c", f"taskset -acp {processor} $(cat {guest.pid_file})"])
    expect(code == 0, text)


class Resident:
    """A guest, and what the plan says of it. away: where it goes; without, it stays, and gets another QEMU."""

    def __init__(self, name, home, image, key, number, away=None):
        self.name, self.home = name, home
        self.first = Guest(home, image, **SHAPE)
        pin(home, self.first, number // 2)
        self.old_pid = InHost(home, self.first.pid_file).pid()
        self.plan = {"home": {"host": home.name, "qmp": self.first.qmp, "options": [*PATIENT, "--start-timeout", "120s"]}}
        self.ends = [self.first]
        if away:
            back, there = There(self.first, home, 4700 + number, key), There(self.first, away, 4800 + number, key)
            self.ends = [back, there]
            self.plan = {"home": back.plan, "away": there.plan, "replica": f"{DISK}/{name}"}

    def at_home(self):
        """It runs there, its memory right, in another QEMU, and nowhere else."""
        home = self.ends[0]
        home.process = InHost(self.home, self.first.pid_file)
        expect(len(self.ends) == 2 or home.process.pid() not in (None, self.old_pid), f"{self.name} has the same QEMU")
        expect(home.status() == "running", f"{self.name} is {home.status()} at home")
        home.wait_reports(2, 600)
        home.check()
        for other in self.ends[1:]:
            expect(other.status() in (None, "inmigrate"), f"{self.name} is {other.status()} away, too")


@contextlib.contextmanager
def two_hosts():
    """alpha and beta: each has a disk, and its own reboot does not end it."""
    directory = tempfile.mkdtemp(prefix="watari-disks-")
    try:
        for number in range(2):
            disk = f"{directory}/{number}"
            with open(disk, "wb") as file:
                file.truncate(1 << 30)
            subprocess.run(["mkfs.ext4", "-q", disk], stdin=subprocess.DEVNULL, check=True)
        words = f"-action reboot=reset -drive file={directory}/{{i}},format=raw,if=none,id=disk -device virtio-blk-pci,drive=disk"
        with lab(2, mem="2G", options=["--qemu", words]) as hosts:
            yield hosts
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def host_plans(alpha, beta):
    scripts = {"up": UP.format(run=beta.run_dir, disk=DISK), "reboot": REBOOT}
    for name, text in scripts.items():
        with open(f"{beta.out_dir}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
    return {alpha.name: {"prefix": alpha.prefix, "by": "handover", "room": 2},
            beta.name: {"prefix": beta.prefix, "by": "evacuation", "command": ["sh", f"{beta.out_dir}/reboot"], "command_s": 60,
                        "probe": ["sh", f"{beta.out_dir}/up"], "probe_s": 300, "probe_differs": True}}


def boot_id(host):
    return host.call(["cat", "/proc/sys/kernel/random/boot_id"])[1]


def leaves(run, name):
    """The journal says that this guest leaves, and nothing behind that."""
    with contextlib.suppress(OSError, json.JSONDecodeError):
        return run.steps()[-1:] == [("leave", name)]
    return False


def case_renews(image):
    with two_hosts() as (alpha, beta):
        hosts = host_plans(alpha, beta)
        expect(beta.call(hosts[beta.name]["probe"])[0] == 0, "beta has no disk")
        key = f"{os.path.dirname(alpha.out_dir)}/keys.psk"
        expect(alpha.call(["cp", install_key([alpha])[0], key])[0] == 0, "no key for both")
        residents = []
        for number, (home, away) in enumerate(((alpha, None), (beta, alpha), (alpha, None), (beta, alpha))):
            residents.append(Resident(f"{home.name}-vm{number // 2}", home, image, key, number, away))
        for resident in residents:
            resident.first.wait_reports(1, 600)
        before = boot_id(beta)
        run = Rejuvenation(Host("coordinator"), hosts, residents, hold_s=300)
        process = run.start()
        wait_for(lambda: leaves(run, "h1-vm1") or not process.running(), "the second guest's leaving", 900)
        expect(process.running(), f"it has ended: {process.tail(16)}")
        os.kill(process.child.pid, signal.SIGKILL)
        process.wait(20)
        expect(leaves(run, "h1-vm1"), f"not killed in the middle: {run.steps()} {process.tail()}")
        code, process = run.run("--resume", timeout_s=900)
        told = summary(process)
        expect(code == 0 and told["result"] == "renewed", f"{code} {process.tail()}")
        expect(set(told["guests"].values()) == {"home"} and len(told["guests"]) == 4, f"{told}")
        expect([step for step, _ in run.steps()] == ["check", "handover", "handover", "check", "leave", "leave", "command", "probe",
                                                     "return", "return", "over"], f"{run.steps()}")
        expect(boot_id(beta) != before, "beta has not been rebooted")
        for resident in residents:
            resident.at_home()
        report(run, told)


def report(run, told):
    for line in run.lines():
        if line.get("guest") and "ended" in line:
            print(f"  {line['ended']} {line['guest']}: down {line.get('downtime_ms', 0):.0f} ms, "
                  f"{line.get('sent_bytes', 0)} bytes", flush=True)
    print(f"  in all {told['total_ms'] / 1000:.1f} s, {told['sent_bytes']} bytes, worst downtime {told['worst_downtime_ms']:.0f} ms",
          flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
