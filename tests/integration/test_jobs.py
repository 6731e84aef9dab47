#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_jobs.py CASE... - jobs that are asked and cancelled, and guests that do not converge, on this machine.
"""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, alive, expect, has_sabotage, main, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import Migration, events, watari  # noqa: E402

WRITER = {"mb": 128, "work_mb": 12, "rate": 1000000}  # writes as fast as it can

def settings(guest):
    """What a migration may change at QEMU and has to put back."""
    parameters = guest.call("query-migrate-parameters")[1]
    capabilities = {entry["capability"]: entry["state"] for entry in guest.call("query-migrate-capabilities")[1]}
    return ({name: parameters[name] for name in ("max-bandwidth", "downtime-limit")},
            {name: capabilities.get(name) for name in ("auto-converge", "events", "return-path", "switchover-ack")})


def send(host, guest, target, *options):
    return host.start([watari(), "send", "--qmp", guest.qmp, "--json", *options, target], "send")


def job(host, *words):
    """(exit code, output) of `watari WORDS`"""
    return host.call([watari(), *words], 30)


def case_job(host, image):
    """Both ends of a migration are jobs: they tell how far they are, end when told to, and only then; afterwards the
    guest goes on, and the names are free."""
    slow = ["--max-rate", "3M"]
    code, text = job(host, "status", "vm")
    expect(code == 1 and text.startswith("watari: there is no job vm"), f"status without a job: {code} {text}")
    expect(job(host, "cancel", "vm")[0] == 1, "cancel without a job")
    expect(job(host, "status") == (0, "no job runs here"), "status of no jobs")

    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **SMALL)
    waiting = host.start([watari(), "receive", "--qmp", destination.qmp, "--insecure", "127.0.0.1:0/vm"], "receive")
    wait_for(lambda: waiting.find("waiting for vm"), "watari receive")
    expect("waiting" in job(host, "status", "vm-incoming")[1], "status of a destination that waits")
    expect(job(host, "cancel", "vm-incoming") == (0, "vm-incoming: cancelled; nothing had come"), "cancel of one that waits")
    expect(waiting.wait(20) == 1 and alive(destination), f"a cancelled receive: {waiting.tail()}")
    attempt = Migration(source, destination, send=slow)
    wait_for(lambda: any(e.get("remaining_bytes") for e in events(attempt.sender)), "the transfer")
    code, text = job(host, "status", "vm", "--json")
    status = json.loads(text)
    expect(code == 0 and status["role"] == "source" and status["state"] == "streaming" and status["fabric"] == "tcp" and
           status["paths"] == 2 and status["downtime_ms"] is None and status["vm"] == "vm" and
           status["peer"] == f"127.0.0.1:{attempt.port()}" and 0 < status["remaining_bytes"] < status["total_bytes"],
           f"status: {text}")
    listed = [json.loads(line) for line in job(host, "status", "--json")[1].splitlines()]
    expect(sorted((s["job"], s["role"], s["state"]) for s in listed) ==
           [("vm", "source", "streaming"), ("vm-incoming", "destination", "receiving")], f"the list: {listed}")
    expect("streaming" in job(host, "status")[1] and "left" in job(host, "status", "vm")[1], "status for people")
    refused(send(host, source, f"127.0.0.1:{attempt.port()}/vm", "--insecure"), "a job vm is running here already")

    code, text = job(host, "cancel", "vm")
    expect(code == 0 and "goes on here" in text, f"cancel: {code} {text}")
    code, text = job(host, "cancel", "vm")
    expect(code == 1 and ("already" in text or "no job" in text or "nothing to cancel" in text), f"again: {code} {text}")
    expect(attempt.finish() == (1, 1) and attempt.sender.find("cancelled by the operator"), attempt.sender.tail())
    destination.ended()
    still_fine(source)
    expect(job(host, "cancel", "vm")[0] == 1 and job(host, "status") == (0, "no job runs here"), "a job outlives its end")

    destination = Guest(host, image, incoming=True, **SMALL)
    attempt = Migration(source, destination, send=[*slow, "--job", "away"], receive=["--job", "home"])
    wait_for(lambda: any(e.get("remaining_bytes") for e in events(attempt.sender)), "the transfer")
    destination.process.signal(signal.SIGSTOP)
    code, text = job(host, "cancel", "home")
    expect(code == 0 and "goes on at the source" in text, f"cancel at the destination: {code} {text}")
    expect(attempt.sender.wait(60) == 1 and attempt.sender.find("by the operator"), attempt.sender.tail())
    expect(attempt.receiver.running(), "receive did not wait for the end of its QEMU, which has not heard of it yet")
    destination.process.signal(signal.SIGCONT)
    expect(attempt.receiver.wait(60) == 1, attempt.receiver.tail())
    destination.ended()
    still_fine(source)
    late_cancel(host, image, source)


def late_cancel(host, image, source):
    """After the switchover was let go the guest moves, whoever says cancel."""
    if not has_sabotage():
        Migration(source, Guest(host, image, incoming=True, **SMALL)).succeed()
        return
    destination = Guest(host, image, incoming=True, **SMALL)
    attempt = Migration(source, destination, env={"WATARI_STOP_BEFORE": "delivering"})
    wait_for(lambda: any(e.get("state") == "delivering" for e in events(attempt.sender)), "the commit record")
    wait_for(lambda: any(e.get("state") == "ready" for e in events(attempt.receiver)), "the destination")
    code, text = job(host, "cancel", "vm-incoming")
    expect(code == 1 and "too late" in text, f"cancel of a loaded destination: {code} {text}")
    asked = host.start([watari(), "cancel", "vm"], "cancel")
    attempt.sender.signal(signal.SIGCONT)
    expect(asked.wait(30) == 1 and (asked.find("too late") or asked.find("over") or asked.find("no job")), asked.tail())
    attempt.succeed()
    destination.wait_round()


def case_converge(host, image):
    """A guest that writes faster than --max-rate lets its memory across: --give-up-after ends that and puts QEMU's
    settings back; a longer --downtime-limit lets it move; and so does --auto-converge."""
    slow = ["--max-rate", "8M", "--switchover-timeout", "20s"]
    source = Guest(host, image, **WRITER)
    source.wait_reports(2)
    before = settings(source)
    destination = Guest(host, image, incoming=True, **WRITER)
    attempt = Migration(source, destination, send=[*slow, "--give-up-after", "12s"])
    refused(attempt.sender, "could not be stopped within 12 s")
    expect(attempt.sender.child.returncode == 1 and attempt.sender.find("--auto-converge"), attempt.sender.tail())
    attempt.receiver.wait(30)
    still_fine(source)
    expect(settings(source) == before, f"QEMU's settings were not put back: {before}, {settings(source)}")
    seen = [e for e in events(attempt.sender) if e["event"] == "progress" and e["state"] == "streaming"]
    expect(max(e["rate_bytes_per_s"] for e in seen) < 16e6, "--max-rate was not kept")
    expect(max(e["dirty_bytes_per_s"] for e in seen) > 2e6, f"no dirty rate: {seen[-1]}")
    expect(any(0 < e["remaining_bytes"] < e["total_bytes"] for e in seen), f"nothing remains: {seen[-1]}")

    destination = Guest(host, image, incoming=True, **WRITER)
    Migration(source, destination, send=[*slow, "--downtime-limit", "4s", "--give-up-after", "60s"]).succeed()
    source, destination = destination, Guest(host, image, incoming=True, **WRITER)
    source.call("migrate-set-parameters", {"cpu-throttle-initial": 90, "cpu-throttle-increment": 9})  # no long climb
    attempt = Migration(source, destination,
                        send=[*slow, "--downtime-limit", "1s", "--auto-converge", "--give-up-after", "90s"])
    attempt.succeed()
    slowed = max(e["throttle_percent"] for e in events(attempt.sender) if e["event"] == "progress")
    expect(slowed > 0, "QEMU did not slow the guest down")
    print(f"  converged with the guest slowed by {slowed} %", flush=True)
    destination.wait_reports(2)
    destination.check()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
