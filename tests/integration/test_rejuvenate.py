#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_rejuvenate.py CASE... - hosts are renewed while their guests run on: all hosts of a plan are this machine, their commands and
probes scripts, their guests real.

  renews    one host by handover, one by evacuation and come-back with replicas, one after the other
  common    ... with memory that both hosts have in common: out and home, and none of it is moved
  command   the host's command fails; another plan, a journal that was removed: the guest stays away
  late      it never returns; the host does not come back, or answers as before: guests stay away, and it goes on from there
  room      there is no room for the second guest: the first one stays away, then all are brought home
  stops     by a signal between guests, and by a second one; resumed
  killed    the coordinator is killed in the middle of a guest's way, and at other steps; resumed
  gang_dies ... with the gang's coordinator that moves a guest
  plans     plans and journals that are not good: refused, nothing was touched
"""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, need_sabotage, refused  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import events  # noqa: E402
from harness.rejuvenate import Rejuvenation, Resident, summary, wait_step  # noqa: E402


class Beta:
    """A host that is renewed by a script: its boot counts up, as a boot id."""

    def __init__(self, host):
        self.boots, self.script, self.probe_script = (f"{host.run_dir}/beta.{what}" for what in ("boots", "renew", "probe"))
        self.write(self.boots, "0")
        self.renews()
        self.write(self.probe_script, f"cat {self.boots}\n")
        self.plan = {"by": "evacuation", "command": ["sh", self.script], "probe": ["sh", self.probe_script], "probe_differs": True,
                     "command_s": 60, "probe_s": 60}

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def renews(self):
        self.write(self.script, f"echo $(($(cat {self.boots}) + 1)) >{self.boots}\n")

    def count(self):
        with open(self.boots, encoding="utf-8") as file:
            return int(file.read())


def cluster(host, image, guests=1, handover=False, **plan):
    beta = Beta(host)
    residents = [Resident(host, image, f"db{n}", "beta", "gamma") for n in range(guests)]
    if handover:
        residents.insert(0, Resident(host, image, "web", "alpha"))
    for resident in residents:
        resident.first.wait_reports(1)
    hosts = {"alpha": {"by": "handover"}, "beta": beta.plan, "gamma": {}}
    if not handover:
        del hosts["alpha"]
    return beta, residents, Rejuvenation(host, hosts, residents, **plan)


def done(code, process, run, residents, beta):
    expect(code == 0 and summary(process)["result"] == "renewed", f"{code} {process.tail()}")
    expect(set(summary(process)["guests"].values()) == {"home"}, f"{summary(process)}")
    expect(run.steps()[-1] == ("over", None) and beta.count() == 1, f"{run.steps()}, {beta.count()} boots")
    for resident in residents:
        resident.at_home()


def stopped(code, process, places):
    expect(code == 3 and summary(process)["result"] == "stopped", f"{code} {process.tail()}")
    expect(list(summary(process)["guests"].values()) == places, f"{summary(process)['guests']}, not {places}")
    refused(process, "stopped, all guests run where they are")


def case_renews(host, image):
    beta, residents, run = cluster(host, image, handover=True)
    old = residents[0].first.process.child.pid
    code, process = run.run()
    done(code, process, run, residents, beta)
    expect(run.steps() == [("check", "alpha"), ("handover", "web"), ("check", "beta"), ("leave", "db0"), ("command", "beta"),
                           ("probe", "beta"), ("return", "db0"), ("over", None)], f"{run.steps()}")
    expect(residents[0].home.process.pid() not in (None, old), "it has the same QEMU")
    sent = {line["ended"]: line["sent_bytes"] for line in run.lines() if line.get("guest") == "db0" and "ended" in line}
    expect(sent["return"] < 0.3 * sent["leave"], f"the replica was of no use: {sent}")
    told = summary(process)
    expect(told["sent_bytes"] == sum(sent.values()) and told["worst_downtime_ms"] > 0 and told["total_ms"] > 0, f"{told}")
    print(f"  out {sent['leave']} bytes, home {sent['return']}; longest stop {told['worst_downtime_ms']:.0f} ms", flush=True)
    code, process = run.run("--resume")
    expect(code == 1, "one that is over was resumed")
    print(f"  {refused(process, 'there is nothing to resume')}", flush=True)


def case_common(host, image):
    beta = Beta(host)
    resident = Resident(host, image, "db0", "beta", "gamma", common=True)
    resident.first.wait_reports(1)
    run = Rejuvenation(host, {"beta": beta.plan, "gamma": {}}, [resident])
    code, process = run.run()
    done(code, process, run, [resident], beta)
    told = summary(process)
    expect(told["sent_bytes"] < 4 << 20, f"memory was moved: {told}")
    print(f"  out and home, {told['sent_bytes']} bytes; longest stop {told['worst_downtime_ms']:.0f} ms", flush=True)


def case_command(host, image):
    beta, residents, run = cluster(host, image)
    beta.write(beta.script, "echo no disk >&2; exit 7\n")
    code, process = run.run()
    stopped(code, process, ["away"])
    print(f"  {refused(process, 'its command has exit code 7: no disk')}", flush=True)
    residents[0].is_away()
    beta.plan["command_s"], beta.plan["probe_s"] = 1, 2
    run.write(run.plan)
    code, process = run.run("--resume")
    print(f"  {refused(process, 'is of another plan, or the plan was changed')}", flush=True)
    os.unlink(run.journal)
    code, process = run.run()
    expect(code == 3, f"{code} {process.tail()}")
    print(f"  {refused(process, 'db0 does not leave')}", flush=True)
    residents[0].is_away()


def case_late(host, image):
    beta, residents, run = cluster(host, image)
    beta.plan["command_s"], beta.plan["probe_s"] = 1, 2
    run.write(run.plan)
    beta.write(beta.script, "sleep 100\n")
    code, process = run.run()
    stopped(code, process, ["away"])
    print(f"  {refused(process, 'its command has not returned within 1 s')}", flush=True)
    residents[0].is_away()
    beta.write(beta.script, "true\n")
    code, process = run.run("--resume")
    stopped(code, process, ["away"])
    print(f"  {refused(process, 'it says what it said before its command')}", flush=True)
    beta.write(beta.probe_script, "exit 1\n")
    code, process = run.run("--resume")
    stopped(code, process, ["away"])
    print(f"  {refused(process, 'has not answered within 2 s')}", flush=True)
    residents[0].is_away()
    beta.renews()
    expect(host.call(["sh", beta.script])[0] == 0, "the host's late boot")
    beta.write(beta.probe_script, f"cat {beta.boots}\n")
    code, process = run.run("--resume")
    done(code, process, run, residents, beta)
    expect([step for step, _ in run.steps()] == ["check", "leave", "command", "command", "probe", "probe", "probe", "return", "over"],
           f"{run.steps()}")


def case_room(host, image):
    beta, residents, run = cluster(host, image, guests=2)
    with open(residents[1].away.script, encoding="utf-8") as file:
        good = file.read()
    beta.write(residents[1].away.script, "echo no memory >&2; exit 1\n")
    code, process = run.run()
    stopped(code, process, ["away", "home"])
    print(f"  {refused(process, 'db1 does not leave: no memory')}", flush=True)
    residents[0].is_away()
    residents[1].at_home()
    code, process = run.run("--resume", "--home")
    expect(code == 0 and summary(process)["result"] == "home" and beta.count() == 0, f"{code} {process.tail()}")
    for resident in residents:
        resident.at_home()
    beta.write(residents[1].away.script, good)
    code, process = run.run()
    done(code, process, run, residents, beta)


def case_stops(host, image):
    beta, residents, run = cluster(host, image, guests=2)
    process = run.start()
    wait_step(process, "leave")
    process.signal(signal.SIGTERM)
    code = process.wait(100)
    stopped(code, process, ["away", "home"])
    residents[0].is_away()
    residents[1].at_home()
    process = run.start("--resume")
    wait_step(process, "leave")
    os.kill(process.child.pid, signal.SIGINT)
    wait_for(lambda: any(e["event"] == "note" for e in events(process)), "the first signal")
    os.kill(process.child.pid, signal.SIGINT)
    code = process.wait(20)
    expect(code == 3, f"{code} {process.tail()}")
    print(f"  {refused(process, 'what was begun goes on by itself')}", flush=True)
    code, process = run.run("--resume")
    done(code, process, run, residents, beta)


def killed(run, *words, env):
    code, process = run.run(*words, env=env)
    expect(code == -signal.SIGKILL, f"not killed with {env} but {code}: {process.tail()}")


POINTS = [("WATARI_DIE_AFTER", "rejuvenate.handover.web"), ("WATARI_DIE_BEFORE", "rejuvenate.leave.db0"),
          ("WATARI_DIE_AFTER", "rejuvenate.leave.db0"), ("WATARI_DIE_BEFORE", "rejuvenate.command.beta.written"),
          ("WATARI_DIE_AFTER", "rejuvenate.probe.beta"),
          ("WATARI_DIE_BEFORE", "rejuvenate.return.db0"), ("WATARI_DIE_AFTER", "rejuvenate.return.db0")]


def case_killed(host, image):
    need_sabotage()
    beta, residents, run = cluster(host, image, handover=True)
    for number, (variable, point) in enumerate(POINTS):
        killed(run, *(["--resume"] if number else []), env={variable: point})
        print(f"  {variable[7:]} {point}: {run.steps()[-1]}", flush=True)
    code, process = run.run("--resume")
    done(code, process, run, residents, beta)
    expect([step for step, _ in run.steps()] == ["check", "handover", "check", "leave", "command", "probe", "return", "over"],
           f"{run.steps()}")


def gang_pid(run):
    """The process of the gang that moves a guest for this rejuvenation."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
                words = file.read().split("\0")
        except OSError:
            continue
        if words[1:2] == ["gang"] and words[2].startswith(run.journal):
            return int(pid)
    return None


def case_gang_dies(host, image):
    need_sabotage()
    beta, residents, run = cluster(host, image)
    residents[0].plan["home"]["send"] = ["--max-rate", "8M"]
    run.write({**run.plan, "guests": {"db0": residents[0].plan}})
    killed(run, env={"WATARI_DIE_AFTER": "rejuvenate.leave.db0"})
    gang = wait_for(lambda: gang_pid(run), "the gang")
    output = f"{run.journal}.{[n for n, line in enumerate(run.lines(), 1) if line.get('step') == 'leave'][0]}.leave.db0.plan.journal"
    wait_for(lambda: os.path.exists(output) and '"move"' in open(output, encoding="utf-8").read(), "the move")
    os.kill(gang, signal.SIGKILL)
    code, process = run.run("--resume")
    done(code, process, run, residents, beta)
    expect([step for step, _ in run.steps()].count("leave") == 1, f"{run.steps()}")


def case_plans(host, image):
    beta, residents, run = cluster(host, image)

    def fails(plan, said, *words):
        run.write(plan)
        code, process = run.run(*words)
        expect(code == 1, f"exit code {code}: {process.tail()}")
        print(f"  {refused(process, said)}", flush=True)

    good = json.loads(json.dumps(run.plan))
    fails("{", "is no JSON")
    fails({**good, "hosts": {"beta": beta.plan}}, '"away": "hosts" has no gamma')
    fails({**good, "hosts": {**good["hosts"], "beta": {**beta.plan, "command": []}}}, '"command" is missing')
    fails(good, "cannot be opened", "--resume")
    expect(not os.path.exists(run.journal), "a journal was made")
    beta.write(run.journal, "what is this\n")
    fails(good, "is no journal of watari rejuvenate; name another one")
    os.unlink(run.journal)
    beta.write(beta.probe_script, "echo gone >&2; exit 1\n")
    code, process = run.run()
    stopped(code, process, ["home"])
    print(f"  {refused(process, 'it does not answer: gone')}", flush=True)
    fails(good, "is not finished; say --resume")
    fails(good, "it is known where this guest is", "--resume", "--found", "db0=away")
    fails(good, "the plan has no such guest", "--resume", "--found", "db9=away")
    residents[0].at_home()
    code, process = run.run("--home")
    expect(code == 2, f"--home alone: {code}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
