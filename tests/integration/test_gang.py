#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_gang.py CASE... - several guests move together, on this machine, each with QEMU's own NIC for a device.

  moves      both move; nobody before all have let go, one at a time, and nobody has its device before all have moved
  plain      guests without devices
  hold       send --hold, receive --hold: told, cancelled, and nobody comes
  refuses    one guest does not let go: both stay, with their devices
  forward    one fails after the other has moved: the other one stays there
  cancelled  by a signal before the first commit: both stay
  plans      plans and journals that are not good: refused, nothing was touched
  start      destination QEMUs that the gang starts; through a prefix
  sample     the coordinator is killed when one guest is told to move, and resumed
  resume, resume_moving, resume_moved  ... at every step of the journal: before it is written, before it is done, and after
  resume_again  ... and the second one on the way back
  relays     ... and the relays with it
"""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, alive, expect, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.devices import NETWORK, DeviceGuest, DeviceMove, build_devices_guest, emulated, nic, write_map  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.gang import Gang, Member, free_port, states, stopped, summary  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import events, watari  # noqa: E402


def pair(host, image, **second):
    members = [Member(host, image, "one"), Member(host, image, "two", **second)]
    for member in members:
        member.source.wait_agent()
    return members


def case_moves(host, image):
    members = pair(host, image)
    gang = Gang(host, members, parallel=1)
    code, process = gang.run()
    expect(code == 0, f"exit code {code}: {process.tail()}")
    expect(summary(process)["result"] == "moved" and states(process) == {"one": "done", "two": "done"}, process.tail())
    for member in members:
        member.moved()
    steps = gang.steps()
    kinds = [step for step, _ in steps]
    expect(kinds[:2] == ["receive", "receive"] and kinds[2:4] == ["send", "send"] and kinds[-1] == "over", f"{steps}")
    expect([kind for kind in kinds if kind in ("move", "forward", "back")] == ["move", "forward", "move", "back", "back"],
           f"{steps}")
    for member in members:
        seen = [e for e in gang.output(member, "receive") if e["event"] in ("held", "device")]
        at = next(i for i, e in enumerate(seen) if e["event"] == "held")
        expect(all(e["step"] != "plug" for e in seen[:at] if e["event"] == "device"), f"plugged in before it was told: {seen}")
    outage = {name: vm["device_outage_ms"] for name, vm in summary(process)["vms"].items()}
    print(f"  without devices for {outage} ms", flush=True)
    code, process = gang.run("--resume")
    expect(code == 1, "a gang that is over was resumed")
    print(f"  {refused(process, 'there is nothing to resume')}", flush=True)


def case_plain(host, image):
    guests = [(Guest(host, image, **SMALL), Guest(host, image, **SMALL, incoming=True)) for _ in range(2)]
    for source, _ in guests:
        source.wait_reports(1)
    vms = {f"vm{n}": {"from": {"qmp": source.qmp, "insecure": True, "options": ["--verify"]},
                      "to": {"qmp": there.qmp, "insecure": True, "address": f"127.0.0.1:{free_port()}"}}
           for n, (source, there) in enumerate(guests)}
    gang = Gang(host, [], vms=vms)
    code, process = gang.run()
    expect(code == 0 and set(states(process).values()) == {"done"}, f"{code} {process.tail()}")
    for source, there in guests:
        source.ended()
        there.wait_round()


def proceed(host, job):
    return host.call([watari(), "proceed", job])


def held(process):
    wait_for(lambda: any(e["event"] == "held" for e in events(process)) or not process.running(), "the hold")
    expect(process.running(), f"it did not hold: {process.tail()}")


def case_hold(host, image):
    path = write_map(host, {"a": emulated(), "b": emulated()})
    source = DeviceGuest(host, image, devices=nic())
    source.wait_agent()

    def move(*send, receive=()):
        destination = DeviceGuest(host, image, devices=NETWORK, incoming=True)
        return destination, DeviceMove(source, destination, path, send=send, receive=receive)

    _, first = move("--hold=500ms")
    print(f"  {refused(first.sender, 'nobody said watari proceed within 500 ms; see --hold; the guest goes on here as before')}",
          flush=True)
    still_fine(source)
    expect("ib0" in source.devices(), f"the device is gone: {source.devices()}")
    first.receiver.wait(30)

    _, first = move("--hold")
    held(first.sender)
    expect("ib0" not in source.devices(), f"the device is there: {source.devices()}")
    code, text = host.call([watari(), "cancel", "vm"])
    expect(code == 0, f"cancel: {text}")
    print(f"  {refused(first.sender, 'cancelled by the operator; the guest goes on here as before')}", flush=True)
    expect("ib0" in source.devices(), f"the device is gone: {source.devices()}")
    first.receiver.wait(30)

    destination, first = move("--hold", receive=["--hold"])
    held(first.sender)
    code, text = host.call([watari(), "status", "vm", "--json"])
    expect(code == 0 and json.loads(text)["held"] is True, f"status: {code} {text}")
    code, text = proceed(host, "vm-incoming")
    expect(code == 1 and "does not hold, or not yet" in text, f"too early: {code} {text}")
    expect(proceed(host, "vm")[0] == 0, "the source does not go on")
    held(first.receiver)
    expect(destination.status() == "running" and "ib0" not in destination.devices(), f"{destination.devices()}")
    code, text = host.call([watari(), "cancel", "vm-incoming"])
    expect(code == 1 and "too late to cancel" in text, f"cancel: {code} {text}")
    expect(first.sender.running(), "the source did not wait for the devices")
    expect(proceed(host, "vm-incoming")[0] == 0, "the destination does not go on")
    result = first.succeed()
    destination.wait_round()
    expect(destination.devices()["ib0"] == "e1000e" and "trouble" not in result["devices"], f"{result['devices']}")


def case_refuses(host, image):
    members = pair(host, image, hook="fail")
    gang = Gang(host, members)
    code, process = gang.run()
    expect(code == 1 and states(process) == {"one": "undone", "two": "failed"}, f"{code} {process.tail()}")
    expect("rank 3 is busy" in summary(process)["vms"]["two"]["text"], f"{summary(process)}")
    expect(("undo", None) in gang.steps() and ("move", "one") not in gang.steps(), f"{gang.steps()}")
    for member in members:
        member.stayed()
    expect(members[0].source.hooks() in ([], ["detach ib0", "attach ib0 e1000e"]), f"hooks: {members[0].source.hooks()}")


def case_forward(host, image):
    need_sabotage()
    members = pair(host, image)
    gang = Gang(host, members, parallel=1)
    process = gang.start(env={"WATARI_STOP_BEFORE": "gang.forward.one"})
    stopped(process)
    members[1].destination.process.kill()
    wait_for(lambda: any(e.get("state") == "aborted" for e in gang.output(members[1], "send")), "the second one's abort")
    process.signal(signal.SIGCONT)
    code = process.wait(60)
    expect(code == 3 and states(process) == {"one": "done", "two": "failed"}, f"{code} {process.tail()}")
    expect(summary(process)["result"] == "partly", f"{summary(process)}")
    members[0].moved()
    members[1].stayed()


def case_cancelled(host, image):
    members = pair(host, image)
    for member in members:
        member.plan["from"]["options"] = ["--max-rate", "8M"]
    gang = Gang(host, members)
    process = gang.start()

    def letting_go():
        seen = {e["vm"] for e in events(process) if e["event"] == "vm" and e["state"] == "letting-go"}
        return len(seen) == 2 or not process.running()

    wait_for(letting_go, "both to let go")
    process.signal(signal.SIGTERM)
    code = process.wait(60)
    expect(code == 1 and states(process) == {"one": "undone", "two": "undone"}, f"{code} {process.tail()}")
    for member in members:
        member.stayed()


def case_plans(host, image):
    members = pair(host, image)
    gang = Gang(host, members)
    good = {"version": 1, "hold_s": 60, "watari": watari(), "vms": {m.name: m.plan for m in members}}

    def fails(plan, said, *words):
        gang.write(plan)
        code, process = gang.run(*words)
        expect(code == 1, f"exit code {code}: {process.tail()}")
        print(f"  {refused(process, said)}", flush=True)

    fails("{", "is no JSON")
    fails({**good, "paralel": 1}, 'there is no "paralel" here; see docs/GANG.md')
    fails(good, "cannot be opened", "--resume")
    expect(not os.path.exists(gang.journal), "a journal was made")

    def ends(plan, wanted, text):
        gang.write(plan)
        code, process = gang.run()
        expect(code == 1 and states(process) == wanted, f"{code} {process.tail()}")
        said = [vm["text"] for vm in summary(process)["vms"].values() if vm["text"]]
        expect(said and text in said[0], f"why: {said}")
        print(f"  {said[0]}", flush=True)

    ends({**good, "watari": "/nonexistent/watari"}, {"one": "failed", "two": "failed"}, "/nonexistent/watari cannot be started")
    ends({**good, "vms": {"one": members[0].plan, "two": {**members[1].plan, "from": {**members[1].plan["from"], "qmp": "/none"}}}},
         {"one": "undone", "two": "failed"}, "/none")
    for member in members:
        still_fine(member.source)
        expect("ib0" in member.source.devices(), f"the device of {member.name}")


def case_start(host, image):
    """Its QEMU cannot be started: undone. Then it can, through a prefix."""
    members = pair(host, image)
    mark = f"{host.run_dir}/started"
    members[1].plan["to"]["start"] = ["/bin/false"]
    gang = Gang(host, members)
    code, process = gang.run()
    expect(code == 1 and states(process) == {"one": "undone", "two": "failed"}, f"{code} {process.tail()}")
    if not alive(members[0].destination):
        members[0].replace_destination(image)
    for member in members:
        member.plan["to"]["prefix"] = member.plan["from"]["prefix"] = ["env", "TEST=a b"]
        member.plan["to"]["start"] = ["sh", f"{mark}.sh"]
    with open(f"{mark}.sh", "w", encoding="utf-8") as file:
        file.write(f'echo "$TEST" >>{mark}; sleep 20 &\n')  # what it leaves running has its output still
    gang = Gang(host, members, name="again")
    code, process = gang.run()
    expect(code == 0, f"exit code {code}: {process.tail()}")
    with open(mark, encoding="utf-8") as file:
        expect(file.read() == "a b\na b\n", "the start command was not run through the prefix")
    for member in members:
        member.moved()


# ---- the coordinator dies ----

def resumed(gang, env=None):
    """What a killed coordinator's gang comes to: everybody has moved, or nobody."""
    code, process = gang.run("--resume", env=env)
    result = summary(process)["result"]
    expect((code, result) in ((0, "moved"), (1, "undone")), f"{code} {result}: {process.tail()}")
    for member in gang.members:
        member.moved() if result == "moved" else member.stayed()
    return result


def killed(gang, *words, env):
    code, process = gang.run(*words, env=env)
    expect(code == -signal.SIGKILL, f"not killed with {env} but {code}: {process.tail()}")


def case_sample(host, image):
    need_sabotage()
    members = pair(host, image)
    gang = Gang(host, members)
    killed(gang, env={"WATARI_DIE_BEFORE": "gang.forward.one"})
    code, process = gang.run()
    expect(code == 1, f"exit code {code}")
    refused(process, "is of a gang that is not finished; say --resume")
    result = resumed(gang)
    expect(result == "moved", f"a guest had moved, and it is {result}")


KINDS = [("WATARI_DIE_BEFORE", ""), ("WATARI_DIE_BEFORE", ".written"), ("WATARI_DIE_AFTER", "")]


def die_all(host, image, points, first=None):
    """The coordinator is killed at each of the points, in each way; first: at that one, and then when it was resumed."""
    need_sabotage()
    members, counts = None, {"moved": 0, "undone": 0}
    for number, (point, (variable, suffix)) in enumerate((point, kind) for point in points for kind in KINDS):
        if members is None:
            members = pair(host, image)
        for member in members:
            if not alive(member.destination):
                member.replace_destination(image)
        gang = Gang(host, members, name=f"gang{number}")
        if first:
            killed(gang, env={"WATARI_DIE_BEFORE": first})
        killed(gang, *(["--resume"] if first else []), env={variable: point + suffix})
        if ("over", None) in gang.steps():
            result = "moved" if all(alive(m.destination) and not alive(m.source) for m in members) else "undone"
            for member in members:
                member.moved() if result == "moved" else member.stayed()
        else:
            result = resumed(gang)
        counts[result] += 1
        print(f"  {variable[7:]} {point}{suffix}: {result}", flush=True)
        if result == "moved":
            for member in members:
                member.destination.quit()
            members = None
    print(f"  {sum(counts.values())} deaths: {counts}", flush=True)
    return counts


def both(*steps):
    return [f"gang.{step}.{name}" for step in steps for name in ("one", "two")]


def case_resume(host, image):
    counts = die_all(host, image, both("receive", "send"))
    expect(not counts["moved"], f"{counts}")


def case_resume_moving(host, image):
    counts = die_all(host, image, [*both("move"), "gang.forward.one"])
    expect(counts["moved"] >= 6, f"{counts}")


def case_resume_moved(host, image):
    counts = die_all(host, image, [*both("back"), "gang.over.one"])
    expect(not counts["undone"], f"{counts}")


def case_resume_again(host, image):
    counts = die_all(host, image, ["gang.undo.one", *both("cancel"), "gang.over.one"], first="gang.move.one")
    expect(not counts["moved"], f"{counts}")


def case_relays(host, image):
    """One source's relay dies with the coordinator, its device away: the guest gets it back, and the other one stays."""
    need_sabotage()
    members = pair(host, image)
    gang = Gang(host, members)
    killed(gang, env={"WATARI_DIE_BEFORE": "gang.move.one"})
    code, text = host.call([watari(), "status", "two", "--json"])
    expect(code == 0 and json.loads(text)["held"], f"status: {text}")
    os.kill(json.loads(text)["pid"], signal.SIGKILL)
    code, process = gang.run("--resume")
    expect(code == 1 and states(process)["one"] == "undone" and states(process)["two"] in ("undone", "failed"),
           f"{code} {process.tail()}")
    for member in members:
        member.stayed()
    expect(members[1].source.hooks() == ["detach ib0", "attach ib0 e1000e"], f"hooks: {members[1].source.hooks()}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=build_devices_guest))
