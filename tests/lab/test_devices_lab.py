#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_devices_lab.py CASE... - a guest with a passed-through NIC (VFIO) that carries soft-RoCE moves between lab hosts.

  moves   host 0 (device) to host 1 (device), to host 0 (none), and back to host 1; a process in the guest holds a verbs
          context wherever there is a device, a third host pings the guest over the device, the guest checks its memory
  undo    given up when the device has left: it is plugged in again, and used again
  held    the process does not let go: the unplug is given up, the guest keeps its device and runs
  late    the process lets go when the unplug was given up: the device goes, is plugged in again, and used again
  busy    the device of the destination is in use; is bound to another driver until the map's command binds it
  handover  another QEMU on the same host gets the guest, and the guest its device
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, refused, still_fine  # noqa: E402
from harness.devices import (PATIENT, DeviceGuest, DeviceMove, agent_socket, build_devices_guest, device, has, inventory, mac,  # noqa: E402
                             options, with_device, write_map)
from harness.handover import start, summary  # noqa: E402
from harness.hosts import lab, wait_for  # noqa: E402
from harness.migration import Migration, events, install_key, watari  # noqa: E402

SEND = ["--switchover-timeout", "20s"]
ADDRESS, PEER = "10.99.0.1", "10.99.0.2"


def begin(host, image, hook, **more):
    guest = DeviceGuest(host, image, devices=with_device(host), hook=hook, append=f"wt.hold wt.ip={ADDRESS}/24", **more)
    guest.wait_agent()
    wait_for(lambda: "HOLD eth" in guest.console() or "HOLD FAIL" in guest.console(), "a verbs context in the guest", 120)
    expect("HOLD FAIL" not in guest.console(), guest.console()[-500:])
    return guest


def bring_up_peer(host):
    """Its spare NIC is an ordinary one, with an address."""
    at = f"/sys/bus/pci/devices/{device(host)}"
    script = (f"modprobe e1000e; basename {at} >{at}/driver/unbind; echo e1000e >{at}/driver_override; "
              f"basename {at} >/sys/bus/pci/drivers_probe; nic=$(ls {at}/net) && ip address add {PEER}/24 dev $nic && "
              "ip link set $nic up && echo $nic")
    code, text = host.call(["sh", "-c", script])
    expect(code == 0, f"no peer: {text}")


def pings(peer):
    wait_for(lambda: peer.call(["busybox", "ping", "-c", "1", "-W", "2", ADDRESS], 30)[0] == 0, "an answer of the guest to a ping", 60)


def told(summary):
    devices = summary["devices"]
    print(f"  away for {devices['device_outage_ms']:.0f} ms (quiesce {devices['quiesce_ms']:.0f}, unplug "
          f"{devices['unplug_ms']:.0f}, move {devices['move_ms']:.0f}, plug {devices['plug_ms']:.0f}, attach "
          f"{devices['attach_ms']:.0f}), {devices['warm_up_bytes'] >> 20} MiB moved before that, in "
          f"{devices['warm_up_ms']:.0f} ms, and {summary['replica_pages'] >> 8} MiB kept; down "
          f"{summary['downtime_ms']:.0f} ms; now {devices['there'][0]['what']}", flush=True)
    expect("trouble" not in devices, f"{devices}")
    return devices


def case_moves(image):
    with lab(3, mem="1024M", options=["--vfio-nic"]) as (a, b, peer):
        bring_up_peer(peer)
        keys = install_key([a, b])
        places = {"a": has(a), "b": has(b), "c": {"none": True}}
        maps = [write_map(host, places, PATIENT) for host in (a, b)]
        first = begin(a, image, "release")
        pings(peer)
        code, seen = inventory(first, "--map", maps[0], "--host", "a")
        found = next(d for d in seen["devices"] if d["id"] == "ib0")
        expect(code == 0 and found["host"] == device(a) and found["iommu_group"] >= 0 and seen["blocked"], f"{code} {seen}")
        print(f"  {found['host']}: group {found['iommu_group']}, {seen['blocked'][0]}", flush=True)

        second = DeviceGuest(b, image, incoming=True, hook="release")
        told(DeviceMove(first, second, maps[0], there=maps[1], keys=keys, send=[*SEND, "--verify"]).succeed(240))
        expect(second.devices()["ib0"] == "vfio-pci" and "HOOK attach ib0 vfio" in second.console(), "no device")
        wait_for(lambda: "HOLD eth" in second.console(), "a verbs context again", 60)
        pings(peer)
        second.wait_round()

        third = DeviceGuest(a, image, incoming=True, hook="release")
        told(DeviceMove(second, third, maps[1], there=maps[0], names=("b", "c"), keys=keys[::-1], send=SEND).succeed(240))
        expect("ib0" not in third.devices() and "HOOK attach ib0 none" in third.console(), "a device where there is none")
        third.wait_round()

        fourth = DeviceGuest(b, image, incoming=True, hook="release")
        told(DeviceMove(third, fourth, maps[0], there=maps[1], names=("c", "b"), keys=keys, send=SEND).succeed(240))
        wait_for(lambda: "HOLD eth" in fourth.console(), "a verbs context after the way back", 60)
        pings(peer)
        fourth.wait_round()


def case_undo(image):
    with lab(2, mem="1024M", options=["--vfio-nic"]) as (a, b):
        keys = install_key([a, b])
        maps = [write_map(host, {"a": has(a), "b": {"none": True}}, PATIENT) for host in (a, b)]
        source = begin(a, image, "release")
        destination = DeviceGuest(b, image, incoming=True)
        move = DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=[*SEND, "--no-warm-up", "--max-rate", "500K"])
        wait_for(lambda: any(e["event"] == "migrating" for e in events(move.sender)) or not move.sender.running(), "the migration", 120)
        expect(move.sender.running(), f"it gave up by itself: {move.sender.tail()}")
        expect("ib0" not in source.devices(), "QEMU migrates with the device")
        code, text = a.call([watari(), "cancel", "vm"])
        expect(code == 0, f"cancel: {text}")
        print(f"  {refused(move.sender, 'the guest goes on here as before', 120)}", flush=True)
        expect(source.devices().get("ib0") == "vfio-pci", f"the device is gone: {source.devices()}")
        wait_for(lambda: source.console().count("HOLD eth") == 2, "a verbs context again", 60)
        still_fine(source)


def case_held(image):
    with lab(2, mem="1024M", options=["--vfio-nic"]) as (a, b):
        keys = install_key([a, b])
        quick = {**PATIENT, "unplug": 8000, "recall": 3000}
        maps = [write_map(host, {"a": has(a), "b": {"none": True}}, quick) for host in (a, b)]
        source = begin(a, image, "ok")
        destination = DeviceGuest(b, image, incoming=True)
        move = DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=SEND)
        print(f"  {refused(move.sender, 'the guest did not let go within 8000 ms', 120)}", flush=True)
        expect(source.devices().get("ib0") == "vfio-pci", f"the device is gone: {source.devices()}")
        still_fine(source)
        expect(source.hooks() == ["detach ib0", "attach ib0 vfio"], f"hooks: {source.hooks()}")


def case_late(image):
    with lab(2, mem="1024M", options=["--vfio-nic"]) as (a, b):
        keys = install_key([a, b])
        quick = {**PATIENT, "unplug": 6000, "recall": 60000}
        maps = [write_map(host, {"a": has(a), "b": {"none": True}}, quick) for host in (a, b)]
        source = begin(a, image, "late")
        destination = DeviceGuest(b, image, incoming=True)
        move = DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=SEND)
        print(f"  {refused(move.sender, 'the guest did not let go within 6000 ms', 240)}", flush=True)
        expect(move.sender.find("the guest goes on here as before"), f"not as before: {move.sender.tail()}")
        expect(("unplug", "ib0", "done", True) in move.steps(), f"steps: {move.steps()}")
        expect(source.devices().get("ib0") == "vfio-pci", f"the device is gone: {source.devices()}")
        wait_for(lambda: source.console().count("HOLD eth") == 2, "a verbs context again", 60)
        still_fine(source)


def case_busy(image):
    with lab(2, mem="1024M", options=["--vfio-nic"]) as (a, b):
        keys = install_key([a, b])
        source = begin(a, image, "release")
        holder = DeviceGuest(b, image, devices=with_device(b))
        maps = [write_map(host, {"a": has(a), "b": has(b)}, PATIENT) for host in (a, b)]
        destination = DeviceGuest(b, image, incoming=True)
        move = DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=SEND)
        print(f"  {refused(move.sender, 'is in use: another process has its IOMMU group', 120)}", flush=True)
        still_fine(source)
        expect(source.devices()["ib0"] == "vfio-pci" and not source.hooks(), "it was touched")
        holder.quit()

        at = f"/sys/bus/pci/devices/{device(b)}"
        unbind = f"basename {at} >{at}/driver/unbind; echo > {at}/driver_override"
        expect(b.call(["sh", "-c", unbind])[0] == 0, "unbind")
        destination = DeviceGuest(b, image, incoming=True)
        move = DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=SEND)
        print(f"  {refused(move.sender, 'is not bound to vfio-pci but to nothing', 120)}", flush=True)
        bind = ["/bin/sh", "-c", "echo vfio-pci >/sys/bus/pci/devices/{address}/driver_override; "
                                 "echo {address} >/sys/bus/pci/drivers_probe"]
        maps = [write_map(host, {"a": has(a), "b": has(b, prepare=bind)}, PATIENT, name="bind.json") for host in (a, b)]
        destination = DeviceGuest(b, image, incoming=True, hook="release")
        told(DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=SEND).succeed(240))
        destination.wait_round()


def case_handover(image):
    with lab(1, mem="1024M", options=["--vfio-nic"]) as (host,):
        path = write_map(host, {"a": has(host)}, PATIENT)
        shape = {"backend": "file", "ram_file": "/dev/shm/guest.ram"}
        guest = begin(host, image, "release", **shape)
        for _ in range(2):
            new = DeviceGuest(host, image, incoming=True, hook="release", **shape)
            told = summary(start(guest, new, *options(guest, path, "a"), "--new-agent", agent_socket(new)), 240)
            guest.ended(60)
            devices = told["devices"]
            print(f"  away for {devices['device_outage_ms']:.0f} ms, of which the handover {devices['move_ms']:.0f}; down "
                  f"{told['downtime_ms']:.0f} ms; now {devices['devices'][0]['what']}", flush=True)
            expect("trouble" not in devices and new.devices()["ib0"] == "vfio-pci", f"{devices}")
            wait_for(lambda: "HOLD eth" in new.console(), "a verbs context again", 60)
            guest = new
        guest.wait_round()


def case_failover(image):
    def paired_guest(host, **more):
        pair = ("-netdev", "hubport,id=n0,hubid=0", "-device", f"virtio-net-pci,id=standby,netdev=n0,failover=on,romfile=,mac={mac(host)}",
                "-device", f"vfio-pci,host={device(host)},id=ib0,bus=rp0,failover_pair_id=standby")
        return DeviceGuest(host, image, devices=pair, **more)

    def talks(guest, word):
        """The guest's driver; QEMU lists the device even when it is unplugged for a migration."""
        wait_for(lambda: f"{word} PHC" in guest.console(), f"{word} the device", 120)

    with lab(2, mem="1024M", options=["--vfio-nic"]) as (a, b):
        keys = install_key([a, b])
        source = paired_guest(a, append="loglevel=7")
        source.wait_agent()
        talks(source, "registered")
        destination = paired_guest(b, incoming=True)
        Migration(source, destination, keys=keys, send=SEND).succeed(240)
        talks(source, "removed")
        talks(destination, "registered")
        destination.wait_round()


NEIGHBOURS = "-device pcie-pci-bridge,id=legacy -device e1000,bus=legacy,addr=1,romfile= -device e1000,bus=legacy,addr=2,romfile="


def shared_group(host):
    """The address of a NIC behind a bridge: it shares its IOMMU group with another one, and the host's driver has both."""
    script = "modprobe e1000; for at in /sys/bus/pci/drivers/e1000/0*; do basename $at; done"
    code, text = host.call(["sh", "-c", script])
    addresses = text.split()
    expect(code == 0 and len(addresses) == 2, f"no two NICs behind a bridge: {text}")
    return addresses[0]


def keeps(guest, hooks):
    """The guest runs, has its device, and uses it."""
    still_fine(guest)
    expect(guest.devices().get("ib0") == "vfio-pci", f"the device is gone: {guest.devices()}")
    expect(guest.hooks() == hooks, f"hooks: {guest.hooks()}, not {hooks}")


def case_maps(image):
    with lab(2, mem="1024M", options=["--vfio-nic", "--qemu", NEIGHBOURS]) as (a, b):
        keys = install_key([a, b])
        source = begin(a, image, "release")

        good = {"a": has(a), "b": has(b)}
        here, there = (write_map(host, good, PATIENT) for host in (a, b))
        destination = DeviceGuest(b, image, incoming=True)
        move = DeviceMove(source, destination, here, there=there, names=("x", "b"), keys=keys, send=SEND)
        print(f"  {refused(move.sender, 'does not say what host x has for ib0', 120)}", flush=True)
        move.receiver.kill()

        def receive(said, places, name="b", guest=destination):
            words = [watari(), "receive", "--qmp", guest.qmp, "--psk", keys[1], *options(guest, write_map(b, places, PATIENT), name), "0.0.0.0:0/vm"]
            print(f"  {refused(b.start(words, 'receive'), said, 60)}", flush=True)

        receive("does not say what host y has for ib0", good, name="y")
        receive("\"vfio\" must be", {"b": {"vfio": 7}})
        bare = DeviceGuest(b, image, incoming=True, port=False)
        receive("this QEMU has no hot-plug port rp0", good, guest=bare)
        bare.quit()
        bind = ["/bin/sh", "-c", "at=/sys/bus/pci/devices/{address}; echo vfio-pci >$at/driver_override; "
                                 "echo {address} >$at/driver/unbind; echo {address} >/sys/bus/pci/drivers_probe"]
        for mine, said in (({"vfio": shared_group(b), "prepare": bind}, "which this host uses (driver e1000)"),
                           ({"vfio": "0000:7f:00.0"}, "this host has no PCI device 0000:7f:00.0")):
            destination = DeviceGuest(b, image, incoming=True)
            move = DeviceMove(source, destination, here, there=write_map(b, {"a": has(a), "b": mine}, PATIENT), keys=keys, send=SEND)
            print(f"  {refused(move.sender, said, 120)}", flush=True)
            destination.quit()
        keeps(source, [])


def case_agents(image):
    back = ["detach ib0", "attach ib0 vfio"]
    with lab(2, mem="1024M", options=["--vfio-nic"]) as (a, b):
        keys = install_key([a, b])
        maps = [write_map(host, {"a": has(a), "b": {"none": True}}, {**PATIENT, "detach": 8000}) for host in (a, b)]
        for hook, said, told in (("fail", "the guest does not let go: hook 50-test failed with exit code 3: rank 3 is busy", back),
                                 ("hang", "the guest does not let go: hook 50-test did not end within 8000 ms", back),
                                 ("", "the agent in the guest did not answer", [])):
            source = begin(a, image, hook)
            destination = DeviceGuest(b, image, incoming=True)
            move = DeviceMove(source, destination, maps[0], there=maps[1], keys=keys, send=SEND)
            print(f"  {refused(move.sender, said, 120)}", flush=True)
            keeps(source, told)
            source.quit()
            destination.quit()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True, image=build_devices_guest))
