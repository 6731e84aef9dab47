#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_devices.py CASE... - devices that leave a guest before it moves, on this machine. QEMU's own NIC on a hot-plug port
stands for a passed-through one: it is unplugged and plugged in by the same steps.

  inventory  watari devices: what is there, what the map makes of it, and what is wrong
  away       to a host that has another device, with hooks; and on to one that has none
  alone      without an agent: nobody holds the device
  repeated   a host that repeats its request: the hook runs once, and its end is told again
  hooks      the guest's hook refuses, or never ends: the guest keeps its device
  silence    no agent in the guest; a guest that does not let go: it keeps its device
  gone       a device that is unplugged after watari has looked at the guest is really gone, and QEMU says so
  maps       maps, hosts and ports that do not fit: refused, nothing was touched
  prepare    the destination's commands: their order, a failure, one that hangs; what was prepared is given back
  undo       given up when the device has left: it comes back
  handover   to another QEMU on this host, and given up on the way
  upgrade    the same by watari upgrade
  warm       memory is moved before the device leaves: what has not changed is not moved again, and nothing of it is believed
  lost       nothing can be plugged in there: the guest runs on, and it is said
  failover   a virtio-net failover pair: QEMU unplugs one half itself, and plugs it in again there; or here, if it fails
  recover    watari is killed when the device has left, and when the guest has moved: recover gives it what the map says
"""

import json
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent_port import Agent  # noqa: E402
from harness.cases import HURRY, alive, expect, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.devices import (MAC, NETWORK, DeviceGuest, DeviceMove, build_devices_guest, emulated, inventory,  # noqa: E402
                             agent_socket, nic, options, write_map)
from harness.handover import Upgraded, ram_path, start, summary  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import Migration, Receive, events, watari  # noqa: E402
from harness.qmp_events import Events  # noqa: E402

QUICK = {"detach": 3000, "unplug": 3000, "recall": 500, "attach": 20000, "prepare": 5000}
TOLD_BACK = ["detach ib0", "attach ib0 e1000e"]


def begin(host, image, **more):
    guest = DeviceGuest(host, image, devices=nic(), **more)
    guest.wait_agent()
    return guest


def keeps(guest, hooks=None):
    """The guest runs, and has its device."""
    still_fine(guest)
    expect(guest.devices().get("ib0") == "e1000e", f"the device is gone: {guest.devices()}")
    if hooks is not None:
        expect(guest.hooks() == hooks, f"hooks: {guest.hooks()}, not {hooks}")


def case_inventory(host, image):
    guest = DeviceGuest(host, image, devices=(*nic(), "-device", "pcie-root-port,id=rp1,chassis=2,addr=0x12"))
    code, seen = inventory(guest)
    expect(code == 0 and seen["role"] == "source" and seen["map"] is None and not seen["problems"], f"{code} {seen}")
    expect({"id": "ib0", "driver": "e1000e", "bus": "rp0", "slot": "00.0", "host": None, "name": None} in seen["devices"],
           f"devices: {seen['devices']}")
    expect(sorted((p["id"], p["free"]) for p in seen["ports"]) == [("rp0", False), ("rp1", True)], f"ports: {seen['ports']}")
    good = write_map(host, {"a": emulated(), "b": {"vfio": ["0000:81:00.1", "0000:81:00.2"]}, "c": {"none": True}})
    code, seen = inventory(guest, "--map", good, "--host", "a")
    expect(code == 0 and seen["map"]["ib0"]["here"] == "e1000e" and seen["map"]["ib0"]["plugged"], f"{code} {seen}")
    expect(seen["map"]["ib0"]["elsewhere"] == [{"host": "b", "becomes": "vfio, one of 2"}, {"host": "c", "becomes": "nothing"}],
           f"elsewhere: {seen['map']}")
    for name, said in (("b", "is e1000e, and the device map says vfio-pci"), ("c", "the device map says that host c has none"),
                       ("d", "does not say what host d has")):
        code, seen = inventory(guest, "--map", good, "--host", name)
        expect(code == 1 and len(seen["problems"]) == 1 and said in seen["problems"][0], f"{name}: {code} {seen}")
    code, text = host.call([watari(), "devices", "--qmp", guest.qmp, "--map", good, "--host", "a"])
    expect(code == 0 and "map        ib0: here e1000e; at b vfio, one of 2; at c nothing" in text, f"for people: {text}")
    code, text = inventory(guest, "--map", f"{host.run_dir}/none")
    expect(code == 1 and "cannot be opened" in text, f"no map: {code} {text}")
    waiting = DeviceGuest(host, image, incoming=True)
    code, seen = inventory(waiting, "--map", good, "--host", "b")
    expect(code == 1 and seen["role"] == "destination" and "no PCI device 0000:81:00.2" in seen["problems"][0], f"{code} {seen}")


def case_away(host, image):
    path = write_map(host, {"a": emulated(), "b": emulated("virtio-net-pci"), "c": {"none": True}})
    source = begin(host, image)
    destination = DeviceGuest(host, image, incoming=True, devices=NETWORK)
    move = DeviceMove(source, destination, path, send=["--verify"])
    summary = move.succeed()
    source.ended()
    destination.wait_round()
    devices = summary["devices"]
    expect(destination.devices()["ib0"] == "virtio-net-pci", f"devices: {destination.devices()}")
    expect(source.hooks() == ["detach ib0"] and destination.hooks() == ["attach ib0 virtio-net-pci"],
           f"hooks: {source.hooks()} and {destination.hooks()}")
    expect([d["what"] for d in devices["there"]] == ["virtio-net-pci"] and "trouble" not in devices, f"{devices}")
    parts = sum(devices[part] for part in ("quiesce_ms", "unplug_ms", "move_ms", "plug_ms", "attach_ms"))
    expect(0 < devices["unplug_ms"] and 0 < devices["move_ms"] and summary["downtime_ms"] < devices["device_outage_ms"],
           f"outage: {devices}")
    expect(0.5 * devices["device_outage_ms"] < parts < devices["device_outage_ms"] + 50, f"the parts do not add up: {devices}")
    print(f"  away for {devices['device_outage_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms: {devices}", flush=True)

    third = DeviceGuest(host, image, incoming=True)
    summary = DeviceMove(destination, third, path, names=("b", "c")).succeed()
    third.wait_round()
    expect("ib0" not in third.devices() and third.hooks() == ["attach ib0 none"], f"{third.devices()} {third.hooks()}")
    expect(summary["devices"]["there"][0]["what"] == "nothing", f"{summary['devices']}")


def case_alone(host, image):
    """Without hooks; and back to where it came from, from a host that has nothing."""
    path = write_map(host, {"a": emulated(), "b": {"none": True}}, agent=False)
    source = begin(host, image)
    destination = DeviceGuest(host, image, incoming=True)
    DeviceMove(source, destination, path, agent=False).succeed()
    destination.wait_reports(1)
    back = DeviceGuest(host, image, incoming=True, devices=NETWORK)
    summary = DeviceMove(destination, back, path, agent=False, names=("b", "a")).succeed()
    expect(summary["devices"]["unplug_ms"] == 0 and back.devices()["ib0"] == "e1000e", f"{summary['devices']}")
    back.wait_round()
    expect(not source.hooks() and not back.hooks(), "a hook was run")


def give_up(process, new, how):
    """The guest is stopped, and its device has left."""
    wait_for(lambda: any(e.get("state") == "loading" for e in events(process)) or not process.running(), "the stop")
    expect(any(e.get("step") == "unplug" and e["state"] == "done" for e in events(process)), f"with the device: {process.tail()}")
    if how == "cancel":
        process.signal(signal.SIGTERM)
    else:
        new.process.kill()
    process.signal(signal.SIGCONT)
    print(f"  {refused(process, 'the guest goes on in the old QEMU as before')}", flush=True)
    expect(any(e.get("step") == "unplug" and e["undo"] and e["state"] == "done" for e in events(process)), process.tail())


def lacks_link(host, image):
    """The new QEMU refuses the device: the guest runs in it without, and that is said."""
    path = write_map(host, {"a": emulated()}, {**QUICK, "plug": 1500})
    source = begin(host, image, backend="file")
    new = DeviceGuest(host, image, backend="file", incoming=True, ram_file=ram_path(source))  # without the network behind the NIC
    process = start(source, new, *options(source, path, "a"), "--new-agent", agent_socket(new))
    trouble = summary(process)["devices"]["trouble"]
    expect(any(e["event"] == "warning" and "look at its devices: device ib0" in e["text"] for e in events(process)), process.tail())
    print(f"  {trouble}", flush=True)
    still_fine(new)
    new.quit()


def case_handover(host, image):
    """Another QEMU on this host, and the guest has its device again: refused; given up; then done, twice."""
    need_sabotage()
    path = write_map(host, {"a": emulated()}, QUICK)
    source = begin(host, image, backend="file")

    def start_handover(new, env=None):
        return start(source, new, *options(source, path, "a"), "--new-agent", agent_socket(new), env=env)

    def successor(devices=NETWORK):
        return DeviceGuest(host, image, devices=devices, backend="file", incoming=True, ram_file=ram_path(source))

    new = successor(nic())
    print(f"  {refused(start_handover(new), 'the new QEMU: this QEMU already has a device ib0')}", flush=True)
    keeps(source, [])
    told = []
    new.quit()
    for how in ("cancel", "the new one dies"):
        new = successor()
        give_up(start_handover(new, {"WATARI_STOP_BEFORE": "loading"}), new, how)
        told += TOLD_BACK
        keeps(source, told)
    lacks_link(host, image)
    for _ in range(2):
        new = successor()
        summary_of = summary(start_handover(new))
        source.ended()
        source = new
        source.wait_reports(1)
        told = ["attach ib0 e1000e"]
        keeps(source, told)
        devices = summary_of["devices"]
        expect([d["what"] for d in devices["devices"]] == ["e1000e"] and "trouble" not in devices, f"{devices}")
        print(f"  away for {devices['device_outage_ms']:.0f} ms, of which the handover {devices['move_ms']:.0f}, down "
              f"{summary_of['downtime_ms']:.1f} ms", flush=True)
    source.wait_round()


def case_upgrade(host, image):
    """The new QEMU is started without the device, though the old one's command line has it, and gets it."""
    path = write_map(host, {"a": emulated()}, QUICK)
    guest = begin(host, image)
    with Upgraded(guest) as upgraded:
        for _ in range(2):
            told = upgraded.upgrade(*options(guest, path, "a"))
            expect(told["devices"]["devices"][0]["what"] == "e1000e", f"{told['devices']}")
            print(f"  away for {told['devices']['device_outage_ms']:.0f} ms, down {told['downtime_ms']:.1f} ms", flush=True)
            keeps(guest)
        expect(guest.hooks() == 2 * TOLD_BACK, f"hooks: {guest.hooks()}")
        print(f"  {refused(upgraded.start('--devices', path, '--device-host', 'a'), 'give --agent SOCKET')}", flush=True)
        guest.wait_round()


def case_repeated(host, image):
    log, gate = os.path.join(host.run_dir, "log"), os.path.join(host.run_dir, "gate")
    os.mkfifo(gate)
    hook = os.path.join(host.run_dir, "50-test")
    with open(hook, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\necho $* >>{log}\nread -r _ <{gate}\n")
    os.chmod(hook, 0o755)
    agent = Agent(host, host.run_dir)
    agent.wait_open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as port, port.makefile("r") as said:
        port.settimeout(20)
        port.connect(agent.port.path)

        def ask(number, do):
            port.sendall(json.dumps({"id": number, "do": do, "name": "ib0", "what": "none", "timeout_ms": 20000}).encode() + b"\n")

        def answers(count):
            return [json.loads(line) for line in (next(line for line in said if line.strip()) for _ in range(count))]

        for _ in range(3):
            ask(7, "detach")
        wait_for(lambda: os.path.exists(log), "the hook", 20)
        ask(8, "message")
        busy, = answers(1)
        expect(busy["id"] == 8 and busy["busy"], f"another one meanwhile: {busy}")
        with open(gate, "w", encoding="ascii") as file:
            file.write("\n")
        first, = answers(1)
        ask(7, "detach")
        again, = answers(1)
        expect(first["ok"] and first["id"] == 7 and again == first, f"one answer, twice: {first} {again}")
        ask(9, "ping")
        expect(answers(1)[0]["id"] == 9, "something else was said")
    with open(log, encoding="ascii") as file:
        told = file.read().splitlines()
    expect(told == ["detach ib0"], f"the hook was told: {told}")


def case_hooks(host, image):
    path = write_map(host, {"a": emulated(), "b": {"none": True}}, QUICK)
    for hook, said in (("fail", "device ib0: the guest does not let go: hook 50-test failed with exit code 3: rank 3 is busy"),
                       ("hang", "device ib0: the guest does not let go: hook 50-test did not end within 3000 ms")):
        source = begin(host, image, hook=hook)
        destination = DeviceGuest(host, image, incoming=True)
        move = DeviceMove(source, destination, path)
        print(f"  {refused(move.sender, said)}", flush=True)
        keeps(source, TOLD_BACK)
        expect(move.receiver.wait(30) == 1, f"receive: {move.receiver.tail()}")
        source.quit()


def case_silence(host, image):
    path = write_map(host, {"a": emulated(), "b": {"none": True}}, QUICK)
    source = begin(host, image, append="acpiphp.disable=1")
    destination = DeviceGuest(host, image, incoming=True)
    move = DeviceMove(source, destination, path)
    print(f"  {refused(move.sender, 'the guest did not let go within 3000 ms')}", flush=True)
    expect(move.sender.find("cannot be taken back"), f"nothing of the request that is pending: {move.sender.tail()}")
    keeps(source, TOLD_BACK)
    source.quit()
    source = DeviceGuest(host, image, devices=nic(), append="wt.bare")  # without drivers: no port, no agent
    destination = DeviceGuest(host, image, incoming=True)
    move = DeviceMove(source, destination, path)
    print(f"  {refused(move.sender, 'the agent in the guest did not answer')}", flush=True)
    keeps(source)
    expect(("ask", None, "begun", False) not in move.steps(), f"the destination was asked: {move.steps()}")
    source.quit()


def case_gone(host, image):
    """QEMU sends DEVICE_DELETED when nothing of it refers to the device any more; some questions about memory make that never."""
    path = write_map(host, {"a": emulated(), "b": {"none": True}})
    for version in ("7.2", "10.0"):
        source = begin(host, image, version=version)
        words = [watari(), "send", "--qmp", source.qmp, "--insecure", *options(source, path, "a"), "127.0.0.1:1/vm"]
        refused(host.start(words, "send"), "cannot connect")
        told = Events(source.qmp)
        expect(source.call("device_del", {"id": "ib0"})[0] == 0, "device_del")
        told.wait("DEVICE_DELETED", timeout_s=30)
        told.close()
        source.quit()


def case_maps(host, image):
    """Each is refused before anything is touched, by one end or by the other."""
    source = begin(host, image)
    good = {"a": emulated(), "b": {"none": True}}

    def send(said, path, name="a", agent=True, more=()):
        words = [watari(), "send", "--qmp", source.qmp, "--insecure", *options(source, path, name, agent), *more, "127.0.0.1:1/vm"]
        print(f"  {refused(host.start(words, 'send'), said)}", flush=True)

    path = write_map(host, good)
    send("does not say what host x has for ib0", path, name="x")
    send("give --agent SOCKET", path, agent=False)
    send("cannot be opened", f"{host.run_dir}/no-map")
    send("\"bus\" must be", write_map(host, good, name="m1", bus="a b"))
    send("is on bus rp0 of this QEMU, and the device map says rp7", write_map(host, good, name="m2", bus="rp7"))
    send("is e1000e, and the device map says vfio-pci", write_map(host, {"a": {"vfio": "0000:81:00.1"}}, name="m3"))
    send("the device map says that host a has none", write_map(host, {"a": {"none": True}}, name="m4"))
    expect(source.call("stop")[0] == 0, "stop")
    send("the guest is paused, so that it cannot let go", path)
    expect(source.call("cont")[0] == 0, "cont")

    def receive(said, destination, path, name="b"):
        words = [watari(), "receive", "--qmp", destination.qmp, "--insecure", *options(destination, path, name), "127.0.0.1:0/vm"]
        print(f"  {refused(host.start(words, 'receive'), said)}", flush=True)

    here = write_map(host, {"a": emulated(), "b": emulated()}, name="m5")
    bare = DeviceGuest(host, image, incoming=True, port=False)
    receive("this QEMU has no hot-plug port rp0; start it with -device pcie-root-port,id=rp0", bare, here)
    bare.quit()
    taken = DeviceGuest(host, image, incoming=True, devices=(*NETWORK, "-device", "e1000e,id=x,bus=rp0,netdev=n0"))
    receive("hot-plug port rp0 of this QEMU is taken", taken, here)
    taken.quit()
    there = DeviceGuest(host, image, incoming=True, devices=nic())
    receive("this QEMU already has a device ib0", there, here)
    there.quit()

    destination = DeviceGuest(host, image, incoming=True)
    move = DeviceMove(source, destination, path, there="")
    print(f"  {refused(move.sender, 'this watari receive has no --devices MAP')}", flush=True)
    destination.ended()
    other = write_map(host, good, name="m6").replace("m6", "m7")
    host.call(["sh", "-c", f"sed s/ib0/ib1/ {host.run_dir}/m6 >{other}"])
    destination = DeviceGuest(host, image, incoming=True)
    move = DeviceMove(source, destination, path, there=other)
    print(f"  {refused(move.sender, 'has a device ib0, and that of this host (b) has not')}", flush=True)
    keeps(source, [])


def case_prepare(host, image):
    log = f"{host.run_dir}/commands"

    def say(word, then="true"):
        return ["/bin/sh", "-c", f"echo {word} {{name}} >>{log}; {then}"]

    def commands():
        with open(log) as file:
            said = file.read().split("\n")[:-1]
        os.unlink(log)
        return said

    source = begin(host, image)
    for check, said in (("echo no link; exit 1", "device ib0: /bin/sh of the device map failed with exit code 1: no link"),
                        ("sleep 600", "device ib0: /bin/sh of the device map did not end within 5000 ms")):
        path = write_map(host, {"a": emulated(), "b": emulated(prepare=say("prepare"), check=say("check", check),
                                                               release=say("release"))}, QUICK)
        destination = DeviceGuest(host, image, incoming=True, devices=NETWORK)
        move = DeviceMove(source, destination, path)
        print(f"  {refused(move.sender, said)}", flush=True)
        expect(move.receiver.wait(30) == 1 and commands() == ["prepare ib0", "check ib0", "release ib0"], "the order of commands")
        keeps(source, [])
    path = write_map(host, {"a": emulated(release=say("gone")), "b": emulated(prepare=say("prepare"), release=say("release"))})
    destination = DeviceGuest(host, image, incoming=True, devices=NETWORK)
    DeviceMove(source, destination, path).succeed()
    expect(commands() == ["prepare ib0", "gone ib0"], "the order of commands of a move")
    destination.wait_round()


def case_undo(host, image):
    """Cancelled while a hook runs; while its memory is on its way; and the destination dies there."""
    path = write_map(host, {"a": emulated(), "b": {"none": True}}, {**QUICK, "detach": 60000})
    source = begin(host, image, hook="hang")
    destination = DeviceGuest(host, image, incoming=True)
    move = DeviceMove(source, destination, path)
    wait_for(lambda: source.hooks() or not move.sender.running(), "the hook")
    expect(host.call([watari(), "cancel", "vm"])[0] == 0, "cancel")
    print(f"  {refused(move.sender, 'cancelled by the operator; the guest goes on here as before', 30)}", flush=True)
    keeps(source, TOLD_BACK)
    source.quit()
    source = begin(host, image)
    told = []
    for how in ("cancel", "destination dies"):
        destination = DeviceGuest(host, image, incoming=True)
        move = DeviceMove(source, destination, path, send=["--no-warm-up", "--max-rate", "2M", "--reconnect-timeout", "2s"])
        wait_for(lambda: any(e["event"] == "migrating" for e in events(move.sender)) or not move.sender.running(), "the migration")
        expect("ib0" not in source.devices(), "QEMU migrates with the device")
        code, text = host.call([watari(), "retarget", "vm", "--to", "127.0.0.1:1/vm"])
        expect(code == 1 and "cannot go to another one" in text, f"retarget: {code} {text}")
        if how == "cancel":
            expect(host.call([watari(), "cancel", "vm"])[0] == 0, "cancel")
        else:
            destination.process.kill()
        print(f"  {refused(move.sender, 'the guest goes on here as before', 90)}", flush=True)
        told += TOLD_BACK
        keeps(source, told)
        expect(("unplug", "ib0", "done", True) in move.steps(), f"steps: {move.steps()}")
        move.receiver.wait(30)
        if alive(destination):
            destination.quit()


def recover(host, path, guest, name, *words):
    """(exit code, what it said)"""
    return host.call([watari(), "recover", *options(guest, path, name), *words], 90)


def case_failover(host, image):
    """The fast half has gone when the guest moves, and comes back where the guest is; nothing is told to watari."""
    pair = ("-netdev", "hubport,id=n0,hubid=0", "-device", f"virtio-net-pci,id=standby,netdev=n0,failover=on,romfile=,mac={MAC}",
            "-netdev", "hubport,id=n1,hubid=0", "-device", f"e1000e,id=ib0,bus=rp0,netdev=n1,romfile=,mac={MAC},failover_pair_id=standby")

    def talks(guest, word, times=1):
        """The guest's driver; QEMU lists the device even when it is unplugged for a migration."""
        wait_for(lambda: guest.console().count(f"{word} PHC") >= times, f"{word} {times}", 60)

    source = DeviceGuest(host, image, devices=pair, append="loglevel=7")
    source.wait_agent()
    talks(source, "registered")
    destination = DeviceGuest(host, image, incoming=True, devices=pair)
    move = Migration(source, destination, send=["--max-rate", "2M"])
    talks(source, "removed")
    expect(move.sender.running(), f"it ended: {move.sender.tail()}")
    move.sender.signal(signal.SIGTERM)
    print(f"  {refused(move.sender, 'cancelled')}", flush=True)
    talks(source, "registered", 2)
    still_fine(source)
    destination.quit()
    destination = DeviceGuest(host, image, incoming=True, devices=pair)
    Migration(source, destination, send=["--verify"]).succeed()
    talks(source, "removed", 2)
    talks(destination, "registered")
    destination.wait_round()


def case_recover(host, image):
    need_sabotage()
    places = {"a": emulated(), "b": emulated("virtio-net-pci")}
    path = write_map(host, places, QUICK)
    source = begin(host, image)
    destination = DeviceGuest(host, image, incoming=True, devices=NETWORK)
    move = DeviceMove(source, destination, path, send=["--no-warm-up", "--max-rate", "2M"], receive=HURRY)
    wait_for(lambda: any(e["event"] == "migrating" for e in events(move.sender)) or not move.sender.running(), "the migration")
    move.sender.kill()
    move.receiver.wait(60)
    expect("ib0" not in source.devices(), "the device has not left")
    left = ("--qmp", source.qmp)
    code, text = recover(host, path, source, "x", *left)
    expect(code == 1 and "does not say what host x has for ib0" in text, f"another host: {code} {text}")
    code, text = recover(host, path, source, "a", *left, "--dry-run")
    expect(code == 0 and "would plug in: ib0 (bus rp0)" in text and "ib0" not in source.devices(), f"dry: {code} {text}")
    wrong = write_map(host, {**places, "a": {"device": "e1000e", "properties": {"netdev": "nowhere"}}}, QUICK, name="wrong")
    code, text = recover(host, wrong, source, "a", *left)
    expect(code == 1 and "the guest goes on without ib0 (bus rp0): device ib0: " in text and "nowhere" in text, f"wrong: {code} {text}")
    still_fine(source)
    told = [*source.hooks(), "attach ib0 e1000e"]
    code, text = recover(host, path, source, "a", *left)
    expect(code == 0 and "the source has the guest" in text and "the guest has its devices" in text, f"recover: {code} {text}")
    keeps(source, told)
    code, text = recover(host, path, source, "a", *left)
    expect(code == 0, f"once more: {code} {text}")
    keeps(source, [*told, "attach ib0 e1000e"])
    print(f"  {' | '.join(text.splitlines())}", flush=True)

    destination = DeviceGuest(host, image, incoming=True, devices=NETWORK)
    move = DeviceMove(source, destination, path, receive=HURRY, env={"WATARI_DIE_AFTER": "committing"})
    wait_for(lambda: not move.sender.running() and not move.receiver.running(), "the end of both relays", 90)
    expect("devices are prepared for the guest and not plugged in: ib0" in "".join(move.receiver.lines), move.receiver.tail())
    code, text = recover(host, path, destination, "b", *left, "--destination-qmp", destination.qmp)
    expect(code == 0 and "runs at the destination now" in text and "the guest has its devices" in text, f"moved: {code} {text}")
    source.ended()
    expect(destination.devices()["ib0"] == "virtio-net-pci" and destination.hooks() == ["attach ib0 virtio-net-pci"],
           f"{destination.devices()} {destination.hooks()}")
    destination.wait_round()


def case_warm(host, image):
    """--verify compares all RAM; dropped announcements are found, although the page has come before."""
    path = write_map(host, {"a": emulated(), "b": {"none": True}})

    def go(*send, rate=500, **more):
        source = begin(host, image, mb=256, work_mb=96, rate=rate)
        destination = DeviceGuest(host, image, incoming=True, mb=256)
        return source, destination, DeviceMove(source, destination, path, send=["--verify", *send], **more)

    source, destination, move = go()
    summary = move.succeed()
    destination.wait_round()
    steps = [step for step in move.steps() if step[2] == "begun"]
    expect([step[0] for step in steps[:4]] == ["agent", "ask", "warm", "detach"], f"steps: {steps}")
    warm, kept = summary["devices"]["warm_up_bytes"], summary["replica_pages"] << 12
    expect(warm > 96 << 20 and 0 < summary["devices"]["warm_up_ms"], f"{summary}")
    expect(kept > warm / 2 and summary["moved_bytes"] >= kept, f"kept {kept >> 20} MiB of {warm >> 20}: {summary}")
    expect(summary["tcp_bytes"] < warm + summary["moved_bytes"] - kept + (1 << 20), f"pulled {summary['tcp_bytes']}: {summary}")
    print(f"  {warm >> 20} MiB before, in {summary['devices']['warm_up_ms']:.0f} ms; {kept >> 20} MiB of it kept; away for "
          f"{summary['devices']['device_outage_ms']:.0f} ms, of that {summary['devices']['move_ms']:.0f} ms on the way", flush=True)

    source, destination, move = go("--no-warm-up")
    summary = move.succeed()
    destination.wait_round()
    expect(summary["devices"]["warm_up_bytes"] == 0 and summary["digested_pages"] == 0, f"a warm-up all the same: {summary}")

    need_sabotage()
    source, destination, move = go(rate=4000, env={"WATARI_SABOTAGE": "drop"})
    print(f"  {refused(move.sender, 'RAM differs', 90)}", flush=True)
    keeps(source, TOLD_BACK)

    source, destination, move = go("--max-rate", "8M")
    wait_for(lambda: ("warm", None, "begun", False) in move.steps() or not move.sender.running(), "the warm-up")
    expect(host.call([watari(), "cancel", "vm"])[0] == 0, "cancel")
    print(f"  {refused(move.sender, 'cancelled by the operator; the guest goes on here as before', 30)}", flush=True)
    keeps(source, [])
    destination.ended()


def case_lost(host, image):
    """The destination has no such network: only device_add finds out. The guest runs, and both ends say what it lacks."""
    path = write_map(host, {"a": emulated(), "b": emulated()})
    source = begin(host, image)
    destination = DeviceGuest(host, image, incoming=True)
    move = DeviceMove(source, destination, path)
    summary = move.succeed()
    source.ended()
    destination.wait_round()
    expect("ib0" not in destination.devices() and destination.hooks() == ["attach ib0 none"], f"{destination.hooks()}")
    error = summary["devices"]["there"][0]["error"]
    expect("device_add" in error and summary["devices"]["there"][0]["what"] == "nothing", f"{summary['devices']}")
    expect(move.receiver.find("the guest runs on without a device that it should have") or
           any(e["event"] == "devices" and e["devices"][0]["error"] for e in events(move.receiver)), f"{move.receiver.tail()}")
    print(f"  {error}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=build_devices_guest))
