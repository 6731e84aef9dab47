#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_migrate.py CASE... - `watari-mpi migrate` of a real job with the real `watari gang` and real agents. The guests are network
namespaces, and stubs move them (harness/gang_stub.py): what really moves is the socket of a guest's agent.

  sample   there, a move that fails, and back although the coordinator dies
  stays    moves that fail, before the first commit and behind it; given up by a signal
  refused  what is refused before a rank has heard of it
  dies     the coordinator, or the one of the gang, dies at each stage, and the same command finishes what was begun
  lives    ... and the gang goes on alone
  lost     a guest that answers nowhere when the gang is over
"""

import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, need_sabotage  # noqa: E402
from harness.gang import Gang  # noqa: E402
from harness.gang_stub import write  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import events, watari  # noqa: E402
from harness.mpi import COORDINATOR  # noqa: E402
from test_gang_stub import STUB, StubMember  # noqa: E402
from test_mpi_agents import two_guests  # noqa: E402

WATARI = """#!/bin/sh
# Stands for watari, but for what asks agents. A guest that leaves its source takes its agent's socket along.
case $1 in
ranks) exec {watari} "$@" ;;
send) {stub} "$@" ;;
*) exec {stub} "$@" ;;
esac
code=$?
for last; do :; done
[ -e "$XDG_RUNTIME_DIR/${{last##*/}}.from" ] || mv $(cat "$XDG_RUNTIME_DIR/${{last##*/}}.agents")
exit $code
"""


class Member(StubMember):
    """One guest, which is at the first of its two places."""

    def __init__(self, host, number, agent):
        self.host, self.places = host, [agent.port.path, f"{agent.port.path}.there"]
        super().__init__(host, f"vm{number}", number)

    def agent(self):
        return next((path for path in self.places if os.path.exists(path)), None)

    def set_out(self, arrives=None):
        """Its next move is from where it is to the other place."""
        here = self.agent()
        there = next(path for path in self.places if path != here)
        self.reset()
        self.plan["from"]["agent"], self.plan["to"]["agent"] = here, there
        write(f"{self.host.run_dir}/{self.name}.agents", f"{here} {arrives or there}")


class Moves:
    """A job, its guests, and `watari-mpi migrate`."""

    def __init__(self, host, net, agents, job):
        self.host, self.net, self.job, self.count = host, net, job, 0
        self.members = [Member(host, number, agent) for number, agent in enumerate(agents)]
        self.watari = f"{host.run_dir}/watari-stub"
        write(self.watari, WATARI.format(watari=watari(), stub=STUB))
        os.chmod(self.watari, 0o755)

    def plan(self, **more):
        self.count += 1
        for member in self.members:
            member.set_out()
        self.gang = Gang(self.host, self.members, name=f"gang{self.count}", watari=self.watari, **more)

    def start(self, *words, env=None):
        return self.host.start([COORDINATOR, "migrate", self.gang.path, "job", "--json", *words], "migrate", env=env)

    def run(self, code, result, *words, env=None):
        """Its sentences on standard error. The job talks again, unless something stands."""
        return self.ended(self.start(*words, env=env), code, result)

    def ended(self, process, code, result):
        found = process.wait(90)
        last = next((e for e in events(process) if e["event"] == "migrated"), {}).get("result")
        expect((found, last) == (code, result), f"{found}, {last}, not {code}, {result}: {process.tail(12)}")
        if result != "unfinished":
            self.talks()
        return [line for line in process.lines if line.startswith("watari-mpi: ")]

    def talks(self):
        self.job.agents = [member.agent() for member in self.members]
        self.job.wait_up()
        expect({rank[1] for rank in self.job.states()} == {"running"}, f"not all ranks run: {self.job.states()}")

    def at(self):
        """0, 1: the place where all guests are."""
        found = {member.places.index(member.agent()) for member in self.members}
        expect(len(found) == 1, f"the guests are apart: {found}")
        return found.pop()

    def killed(self, *words, env):
        process = self.start(*words, env=env)
        code = process.wait(90)
        expect(code == -signal.SIGKILL, f"not killed with {env} but {code}: {process.tail(12)}")


@contextlib.contextmanager
def moves(host):
    with two_guests(host) as (net, agents, job):
        yield Moves(host, net, agents, job)
        print(f"  {job.end()}", flush=True)


def index(process, **wanted):
    """Of the first event like that."""
    found = [i for i, e in enumerate(events(process)) if all(e.get(key) == value for key, value in wanted.items())]
    expect(found, f"no {wanted}: {process.tail(20)}")
    return found[0]


def in_order(process):
    """The ranks are detached before any guest lets go of a device, and come back when the gang is over."""
    order = [index(process, event="quiesced"), index(process, event="vm", state="letting-go"), index(process, event="summary"),
             index(process, event="running")]
    expect(order == sorted(order), f"out of order: {order}: {process.tail(20)}")


def there(m):
    m.plan()
    process = m.start()
    m.ended(process, 0, "moved")
    in_order(process)
    expect(m.at() == 1, "the guests have not moved")
    print(f"  stood for {next(e for e in events(process) if e['event'] == 'migrated')['stood_ms']:.0f} ms", flush=True)


def case_sample(host, image):
    need_sabotage()
    with moves(host) as m:
        there(m)
        m.run(0, "moved")  # says so, and does nothing
        m.plan()
        said = m.run(1, "stayed", env={"STUB_FAIL": "vm1:refuse"})
        expect(m.at() == 1 and "0 of 2 guests have moved; job job runs on at the source, as before" in said[-1], f"{said}")
        m.plan()
        m.killed(env={"WATARI_DIE_BEFORE": "migrate.move"})
        m.run(0, "moved")
        expect(m.at() == 0, "the guests have not moved back")


def case_stays(host, image):
    with moves(host) as m:
        for fail in ("vm0:refuse", "vm0:move"):
            m.plan(parallel=1)
            m.run(1, "stayed", env={"STUB_FAIL": fail})
            expect(m.at() == 0, f"{fail}: the guests have moved")
        m.plan(parallel=1)
        said = m.run(3, "partly", env={"STUB_FAIL": "vm1:move"})
        expect("1 of 2 guests have moved; job job runs on where each of its guests is" in said[-1], f"{said}")
        expect(m.members[0].agent() == m.members[0].places[1] and m.members[1].agent() == m.members[1].places[0], "who has moved?")
        m.run(3, "partly")  # is not begun anew
        m.plan()  # each from where it is
        m.run(0, "moved")
        m.plan(parallel=1)
        process = m.start(env={"STUB_HANG": "vm0"})
        wait_for(lambda: any(e["event"] == "state" for e in m.gang.output(m.members[0], "send")), "the move")
        os.kill(process.child.pid, signal.SIGTERM)
        m.ended(process, 1, "stayed")


def case_refused(host, image):
    with moves(host) as m:
        m.plan()
        good = {"version": 1, "watari": m.watari, "vms": {member.name: member.plan for member in m.members}}
        first, second = good["vms"]["vm0"], good["vms"]["vm1"]
        before = m.job.command("status")[1]

        def refused(plan, text, *words):
            m.gang.write(plan)
            said = m.run(1, "refused", "--timeout", "2", *words)
            expect(len(said) == 1 and text in said[0] and "touched" in said[0], f"{said}")
            print(f"  {said[0]}", flush=True)

        def without(guest, end, key):
            return {**guest, end: {name: value for name, value in guest[end].items() if name != key}}

        refused("{", "is no JSON")
        refused({**good, "paralel": 1}, 'there is no "paralel" here')
        refused({**good, "vms": {"vm0": without(without(first, "from", "agent"), "to", "agent")}}, "names no agent")
        refused({**good, "vms": {"vm0": first, "vm1": without(second, "to", "agent")}}, 'guest vm1: "agent" must be given at both ends')
        refused({**good, "vms": {"vm0": first, "vm1": {**second, "to": {**second["to"], "prefix": ["env", "A=b c"]}}}}, "has a space")
        refused({**good, "vms": {"vm0": first}}, "only 2 of 4 ranks")
        refused({**good, "vms": {"vm0": first, "vm1": {**second, "from": {**second["from"], "agent": "/none"}}}},
                "guest vm1: --agent \"/none\": the guest's agent cannot be reached")
        refused({**good, "watari": "/nonexistent/watari"}, "/nonexistent/watari cannot be run")
        refused(good, "/nonexistent/watari cannot be run", "--watari", "/nonexistent/watari")
        refused(good, "does not say where the guests' agents are", "--watari", "/bin/false")
        refused(good, "is no journal", "--journal", m.gang.path)
        m.gang.write(good)
        process = host.start([COORDINATOR, "migrate", m.gang.path, "other", "--timeout", "2"], "migrate")
        code = process.wait(30)
        expect(code == 1 and "no rank is in the guests" in process.tail(), f"another job: {code} {process.tail()}")
        expect(m.job.command("status")[1] == before, "a rank was touched")
        expect(not os.path.exists(m.gang.journal), "the gang was begun")
        for words in ((), (m.gang.path, "job", "more"), (m.gang.path, "--what")):
            code, text = host.call([COORDINATOR, "migrate", *words])
            expect(code == 2 and "usage" in text, f"{words}: {code} {text}")


def case_dies(host, image):
    need_sabotage()
    with moves(host) as m:
        for point in ("quiesce", "move", "find", "resume", "end"):
            was = m.at()
            m.plan()
            m.killed(env={"WATARI_DIE_BEFORE": f"migrate.{point}"})
            m.run(0, "moved")
            expect(m.at() != was, f"{point}: the guests have not moved")
            m.run(0, "moved")
        for point in ("receive.vm0", "send.vm1", "move.vm0", "move.vm1", "forward.vm0", "back.vm1", "over.vm0"):
            was = m.at()
            m.plan(parallel=1)
            said = m.run(3, "unfinished", env={"WATARI_DIE_BEFORE": f"gang.{point}"})
            expect("the same command again finishes both" in said[-1], f"{said}")
            if point == "back.vm1":  # by hand
                code, process = m.gang.run("--resume")
                expect(code == 0, f"{code} {process.tail()}")
                m.job.agents = [member.agent() for member in m.members]
                m.job.must("resume")
            stays = point in ("receive.vm0", "send.vm1", "move.vm0")
            m.run(*((1, "stayed") if stays else (0, "moved")))
            expect((m.at() == was) == stays, f"{point}: where are the guests?")
            print(f"  {point}: {'stayed' if stays else 'moved'}", flush=True)
        m.plan()
        m.net.cut(1)  # a quiesce that cannot end
        process = m.start("--timeout", "60")
        m.job.agents = []
        wait_for(lambda: {rank[1] for rank in m.job.states()} == {"quiescing"}, "the ranks to quiesce", 20)
        process.kill()
        m.net.mend(1)
        m.run(0, "moved")


def gang_process(path):
    """The coordinator of the gang with that plan."""
    for pid in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
                words = file.read().split("\0")
            if pid.isdigit() and words[0].endswith("/watari") and words[1:3] == ["gang", path] and "--agents" not in words:
                return int(pid)
    return None


def stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rsplit(")", 1)[1].split()[0] == "T"


def case_lives(host, image):
    need_sabotage()
    with moves(host) as m:
        m.plan()
        first = m.start(env={"WATARI_STOP_BEFORE": "gang.forward.vm0"})
        pid = wait_for(lambda: gang_process(m.gang.path), "the gang's coordinator")
        wait_for(lambda: stopped(pid), "its stop")
        os.kill(first.child.pid, signal.SIGKILL)
        first.wait(10)
        second = m.start()
        wait_for(lambda: any(e.get("stage") == "wait" for e in events(second)), "the second one to wait")
        os.kill(pid, signal.SIGCONT)
        m.ended(second, 0, "moved")
        expect(m.at() == 1, "the guests have not moved")


def case_lost(host, image):
    with moves(host) as m:
        m.plan()
        nowhere = f"{m.members[1].places[1]}.nowhere"
        m.members[1].set_out(arrives=nowhere)
        said = m.run(3, "unfinished", "--timeout", "2")
        expect("guest vm1" in said[-1] and "the same command again" in said[-1], f"{said}")
        os.rename(nowhere, m.members[1].places[1])
        m.run(0, "moved")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=lambda: None))
