#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_gang_stub.py CASE... - the coordinator of `watari gang` alone: the relays are stubs (harness/gang_stub.py), with files in
place of QEMUs. So every step at which it may die can be tried, and every failure at each of them.

  moves    three guests, two at once: the order
  fails    a guest fails before the first commit, and behind it; one is lost
  signals  cancelled once, and left by a second signal; then resumed
  unheard  the connection to a source breaks while its relay goes on: it is asked, and told, all the same
  hangs    commands that hang, on a source, a destination, or both: they are not waited for without end
  again    the same plan once more, when it was given up, and what it has started still runs
  holds    nobody resumes: all is undone by the holds' deadlines
  sample   the coordinator is killed at some steps, and resumed
  die      ... at every step: before it is written, before it is done, and after
  twice    ... and the second one as well
  relays   ... and a relay with it
"""

import contextlib
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, need_sabotage, refused  # noqa: E402
from harness.gang import Gang, states, stopped, summary  # noqa: E402
from harness.gang_stub import read, write  # noqa: E402
from harness.hosts import ROOT, wait_for  # noqa: E402
from harness.migration import events  # noqa: E402

STUB = os.path.join(ROOT, "tests", "harness", "gang_stub.py")


class StubMember:
    """One guest, without QEMU."""

    def __init__(self, host, name, number):
        self.name = name
        self.from_path, self.to_path = f"{host.run_dir}/{name}.from", f"{host.run_dir}/{name}.to"
        self.plan = {"from": {"qmp": self.from_path, "insecure": True},
                     "to": {"qmp": self.to_path, "insecure": True, "address": f"h:{number + 1}"}}
        self.reset()

    def reset(self):
        write(self.from_path, "running device")
        write(self.to_path, "inmigrate")

    def where(self):
        return read(self.from_path), read(self.to_path)

    def moved(self):
        expect(self.where() == (None, "running device"), f"{self.name}: {self.where()}")

    def stayed(self):
        expect(self.where() in (("running device", None), ("running device", "inmigrate")), f"{self.name}: {self.where()}")


def make(host, count=2, name="gang", **plan):
    members = [StubMember(host, f"vm{number}", number) for number in range(count)]
    return members, Gang(host, members, name=name, **{"watari": STUB, **plan})


def case_moves(host, image):
    members, gang = make(host, 3, parallel=2)
    code, process = gang.run()
    expect(code == 0 and set(states(process).values()) == {"done"}, f"{code} {process.tail()}")
    kinds = [step for step, _ in gang.steps()]
    expect(kinds[:6] == ["receive"] * 3 + ["send"] * 3, f"{kinds}")
    order = [kind for kind in kinds if kind not in ("receive", "send")]
    expect(order[:2] == ["move", "move"] and order.count("move") == 3 and order[-4:] == ["back"] * 3 + ["over"], f"{order}")
    for member in members:
        member.moved()
    expect(all(vm["device_outage_ms"] == 50 for vm in summary(process)["vms"].values()), f"{summary(process)}")
    expect(any(e["event"] == "turn" and e["turn"] == "forward" for e in events(process)), process.tail())


def case_fails(host, image):
    def run(fail, wanted, code_wanted, **plan):
        members, gang = make(host, 3, name=fail.replace(":", "-"), **plan)
        code, process = gang.run(env={"STUB_FAIL": fail}, timeout_s=30)
        expect(code == code_wanted and list(states(process).values()) == wanted, f"{fail}: {code} {process.tail()}")
        for member, state in zip(members, wanted):
            if state == "done":
                member.moved()
            elif state != "lost":
                member.stayed()
        return process

    run("vm1:refuse", ["undone", "failed", "undone"], 1)
    run("vm0:move", ["failed", "undone", "undone"], 1, parallel=1)
    process = run("vm1:move", ["done", "failed", "done"], 3, parallel=1)
    expect(summary(process)["vms"]["vm1"]["text"] == "the move fails; the guest goes on here as before", f"{summary(process)}")
    members, _ = make(host, name="start")
    members[1].plan["to"]["start"] = ["sleep", "20"]
    code, process = Gang(host, members, name="start", watari=STUB, hold_s=1).run(timeout_s=30)
    expect(code == 1 and states(process) == {"vm0": "undone", "vm1": "failed"}, f"{code} {process.tail()}")
    expect("has not ended within hold_s" in summary(process)["vms"]["vm1"]["text"], f"{summary(process)}")
    process = run("vm1:run", ["done", "lost", "done"], 3, parallel=1)
    print(f"  {refused(process, 'nobody can tell from here where this guest may run')}", flush=True)


def case_signals(host, image):
    members, gang = make(host, parallel=1)
    process = gang.start(env={"STUB_HANG": "vm0"})
    wait_for(lambda: any(e["event"] == "state" for e in gang.output(members[0], "send")), "the move")
    process.signal(signal.SIGTERM)
    code = process.wait(30)
    expect(code == 1 and states(process) == {"vm0": "undone", "vm1": "undone"}, f"{code} {process.tail()}")
    expect([s for s in gang.steps() if s[0] in ("cancel", "undo")] == [("cancel", "vm0"), ("undo", None), ("cancel", "vm1")],
           f"those that move are called back first: {gang.steps()}")
    need_sabotage()
    members, gang = make(host, name="left", parallel=1)
    process = gang.start(env={"WATARI_STOP_BEFORE": "gang.move.vm0"})
    stopped(process)
    os.kill(process.child.pid, signal.SIGTERM)
    os.kill(process.child.pid, signal.SIGINT)
    process.signal(signal.SIGCONT)
    code = process.wait(30)
    expect(code == 3, f"{code} {process.tail()}")
    print(f"  {refused(process, 'what was begun goes on by itself')}", flush=True)
    resumed(gang)


WRAP = """#!/bin/sh
# As ssh: the command is in a session of its own, and lives on when this is killed.
[ "$2" = send ] || exec "$@"
for last; do :; done
echo $$ >"$XDG_RUNTIME_DIR/wrap.$2.${last##*/}"
setsid -w "$@" 2>&1 </dev/null | cat
"""


def case_unheard(host, image):
    need_sabotage()
    wrap = f"{host.run_dir}/wrap"
    write(wrap, WRAP)
    os.chmod(wrap, 0o755)
    for point, wanted in (("gang.move.vm0", "done"), ("gang.undo.vm0", "undone")):
        members, gang = make(host, name=point)
        members[1].plan["from"]["prefix"] = [wrap]
        gang = Gang(host, members, name=point, watari=STUB)
        process = gang.start(env={"WATARI_STOP_BEFORE": "gang.move.vm0"})
        stopped(process)
        os.killpg(int(read(f"{host.run_dir}/wrap.send.vm1")), signal.SIGKILL)
        if wanted == "undone":
            os.kill(process.child.pid, signal.SIGKILL)
            process.wait(10)
            process = gang.start("--resume")
        else:
            process.signal(signal.SIGCONT)
        code = process.wait(30)
        expect(set(states(process).values()) == {wanted}, f"{code} {process.tail()}")
        settled(gang)


HANG = """#!/bin/sh
# WORDS WATARI COMMAND ...: commands among WORDS hang; of those after "deaf" only the first line arrives.
words=$1 hears=1; shift
for word in $words; do
    [ "$word" != deaf ] || hears=
    [ "$word" = "$2" ] || continue
    echo $$ >>"$XDG_RUNTIME_DIR/hung"
    [ -z "$hears" ] || exec sleep 1000
    "$@" 2>&1 | { head -n 1; sleep 1000; }
    exit 1
done
exec "$@"
"""


def case_hangs(host, image):
    hang = f"{host.run_dir}/hang"
    write(hang, HANG)
    os.chmod(hang, 0o755)
    members, _ = make(host, name="deaf")
    members[1].plan["to"]["prefix"] = [hang, "deaf receive"]
    deaf = Gang(host, members, name="deaf", watari=STUB, hold_s=1)
    process = deaf.start()
    code = process.wait(60)
    expect(code == 0 and set(states(process).values()) == {"done"}, f"{code} {process.tail()}")
    settled(deaf)

    members, _ = make(host, 4)
    members[1].plan["to"]["prefix"] = [hang, "receive"]
    members[2].plan["from"]["prefix"] = [hang, "send"]
    members[3].plan["from"]["prefix"] = [hang, "send cancel status recover"]
    code, process = Gang(host, members, name="hang", watari=STUB, hold_s=1).run(timeout_s=240)
    expect(code == 3 and states(process) == {"vm0": "failed", "vm1": "undone", "vm2": "undone", "vm3": "lost"},
           f"{code} {process.tail()}")
    print(f"  {summary(process)['vms']['vm3']['text']}", flush=True)
    expect("did not answer within 30 s" in summary(process)["vms"]["vm3"]["text"], f"{summary(process)}")
    for member in members:
        member.stayed()
    for pid in read(f"{host.run_dir}/hung").split():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid), signal.SIGKILL)


def case_again(host, image):
    members, _ = make(host)
    members[1].plan["to"]["start"] = ["sh", f"{host.run_dir}/begin.sh"]
    write(f"{host.run_dir}/begin.sh", f"sleep 1000 & echo $! >>{host.run_dir}/left\n")
    gang = Gang(host, members, watari=STUB)
    for fail, wanted in (("vm0:refuse", 1), ("", 0)):
        for member in members:
            member.reset()
        code, process = gang.run(env={"STUB_FAIL": fail}, timeout_s=30)
        expect(code == wanted, f"{fail}: {code} {process.tail()}")
    for pid in read(f"{host.run_dir}/left").split():
        os.kill(int(pid), signal.SIGKILL)


def case_holds(host, image):
    need_sabotage()
    members, gang = make(host, hold_s=2)
    killed(gang, env={"WATARI_DIE_BEFORE": "gang.move.vm0"})
    wait_for(lambda: all(member.where()[0] == "running device" for member in members), "the holds' end", 15)
    expect(resumed(gang) == "undone", "it was not undone")


# ---- the coordinator dies ----

def settled(gang):
    """All is here, or all is there."""
    there = [member.where()[0] is None for member in gang.members]
    expect(all(there) or not any(there), f"neither all nor nothing: {[member.where() for member in gang.members]}")
    for member in gang.members:
        member.moved() if all(there) else member.stayed()
    return "moved" if all(there) else "undone"


def resumed(gang, env=None):
    code, process = gang.run("--resume", env=env, timeout_s=30)
    result = summary(process)["result"]
    expect((code, result) in ((0, "moved"), (1, "undone")), f"{code} {result}: {process.tail()}")
    expect(settled(gang) == result, f"it says {result}")
    return result


def killed(gang, *words, env):
    code, process = gang.run(*words, env=env, timeout_s=30)
    expect(code == -signal.SIGKILL, f"not killed with {env} but {code}: {process.tail()}")


KINDS = [("WATARI_DIE_BEFORE", ""), ("WATARI_DIE_BEFORE", ".written"), ("WATARI_DIE_AFTER", "")]
POINTS = [f"gang.{step}.vm{n}" for step in ("receive", "send", "move", "back") for n in range(2)] + ["gang.forward.vm0", "gang.over.vm0"]


def die_all(host, points, kinds=tuple(KINDS), then=((None, ""),), parallel=2):
    need_sabotage()
    counts = {"moved": 0, "undone": 0}
    runs = [(point, kind, second) for point in points for kind in kinds for second in then]
    for number, (point, (variable, suffix), second) in enumerate(runs):
        _, gang = make(host, name=f"die{number}-{parallel}", parallel=parallel)
        killed(gang, env={variable: point + suffix})
        if second[0] and ("over", None) not in gang.steps():
            # The second one may come to its end without being at that point.
            gang.run("--resume", env={second[0]: second[1]})
        result = settled(gang) if ("over", None) in gang.steps() else resumed(gang)
        counts[result] += 1
    print(f"  {len(runs)} deaths: {counts}", flush=True)
    return counts


def case_sample(host, image):
    counts = die_all(host, ["gang.send.vm1", "gang.move.vm1", "gang.forward.vm0"], KINDS[1:2])
    expect(counts["moved"], f"{counts}")


def case_die(host, image):
    for parallel in (1, 2):
        counts = die_all(host, POINTS, parallel=parallel)
        expect(counts["moved"] >= 3 and counts["undone"] >= 12, f"{counts}")


def case_twice(host, image):
    then = [(variable, f"gang.{step}.vm{n}{suffix}") for step in ("undo", "cancel", "move", "back", "forward", "over")
            for n in range(2 if step in ("cancel", "move", "back") else 1) for variable, suffix in KINDS]
    die_all(host, ["gang.send.vm1", "gang.move.vm1", "gang.forward.vm0"], KINDS[1:2], then)


def case_relays(host, image):
    """A source's relay, or a destination's, is killed as well, held and moving."""
    need_sabotage()
    for number, (point, what) in enumerate((p, w) for p in ("gang.move.vm0", "gang.back.vm0") for w in ("send", "receive")):
        members, gang = make(host, name=f"relays{number}")
        killed(gang, env={"WATARI_DIE_BEFORE": point})
        code, text = host.call([STUB, "status", "vm1" if what == "send" else "vm1-incoming"])
        expect(code == 0, f"no relay: {text}")
        os.kill(int(text.split('"pid": ')[1].split("}")[0]), signal.SIGKILL)
        code, process = gang.run("--resume")
        found = states(process)
        print(f"  {point}, {what}: {found}", flush=True)
        if "move" in point:
            expect(code == 1 and set(found.values()) <= {"undone", "failed"}, f"{code} {process.tail()}")
            for member in members:
                member.stayed()
        else:
            expect(code == 0 and set(found.values()) == {"done"}, f"{code} {process.tail()}")
            members[0].moved()
            expect(members[1].where() in ((None, "running"), (None, "running device")), f"{members[1].where()}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=lambda: None))
