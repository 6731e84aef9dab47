# SPDX-License-Identifier: BSD-3-Clause
"""devices.py - guests with a device that cannot move, and the agent that lets go of it: the image, the options of QEMU,
the device map, and what the guest says.
"""

import json
import os
import re
import subprocess

from .cases import expect
from .guests import Guest
from .hosts import ROOT, wait_for
from .migration import BUILD, Migration, events, watari

MAC = "52:54:00:77:00:01"
PATIENT = {"detach": 30000, "unplug": 30000, "plug": 60000, "attach": 60000, "prepare": 60000}  # deadlines in an emulated host


def build_devices_guest():
    """The directory with vmlinux and guest.cpio of a guest that has watari-guest. One for each build: the agent is its."""
    built = subprocess.run([os.path.join(ROOT, "tests", "guest", "build"), os.path.join(BUILD, "devices-guest"),
                            os.path.join(BUILD, "watari-guest")],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True)
    return built.stdout.strip().splitlines()[-1]


def agent_socket(guest_or_path):
    return f"{guest_or_path.qmp}.agent"


class DeviceGuest(Guest):
    """A guest with a hot-plug port rp0, the agent's port, and `devices` (more options of QEMU)."""

    def __init__(self, host, image, *, devices=(), port=True, hook="ok", append="", mb=128, **more):
        agent = f"{host.run_dir}/g{Guest.count + 1}.qmp.agent"
        extra = ["-device", "virtio-serial-pci,addr=0x10", "-chardev", f"socket,id=agent,path={agent},server=on,wait=off",
                 "-device", "virtserialport,chardev=agent,name=org.watari.guest"]
        if port:
            extra += ["-device", "pcie-root-port,id=rp0,chassis=1,addr=0x11"]
        options = {"mb": mb, "work_mb": 12, "rate": 500, **more}
        super().__init__(host, image, extra=[*extra, *devices], append=f"wt.hook={hook} {append}".strip(), **options)

    def devices(self):
        """{id: type} of what is plugged in"""
        code, listed = self.call("qom-list", {"path": "/machine/peripheral"})
        expect(code == 0, f"qom-list: {listed}")
        return {entry["name"]: entry["type"][6:-1] for entry in listed if entry["type"].startswith("child<")}

    def hooks(self):
        """What the hook was told, in order."""
        return [line.strip() for line in re.findall(r"HOOK ([a-z].*)", self.console())]

    def wait_agent(self):
        wait_for(lambda: self.reports(), "the guest's first report", 120)


def nic(driver="e1000e", netdev="n0"):
    """A NIC in the port, and the network behind it."""
    return ("-netdev", f"hubport,id={netdev},hubid=0", "-device", f"{driver},id=ib0,bus=rp0,netdev={netdev},romfile=,mac={MAC}")


NETWORK = ("-netdev", "hubport,id=n0,hubid=0")


def emulated(driver="e1000e", **more):
    return {"device": driver, "properties": {"netdev": "n0", "mac": MAC, "romfile": ""}, "link_mac": MAC, **more}


def write_map(host, places, deadlines=None, agent=True, name="map.json", **device):
    """The file. places: host -> what it has."""
    content = {"version": 1, "devices": {"ib0": {"bus": "rp0", "agent": agent, "hosts": places, **device}}}
    if deadlines:
        content["deadlines_ms"] = deadlines
    path = f"{host.run_dir}/{name}"
    text = json.dumps(content)
    code, said = host.call(["sh", "-c", f"cat >{path} <<'END'\n{text}\nEND"])
    expect(code == 0, f"no map: {said}")
    return path


def options(guest, path, name, agent=True):
    return ["--devices", path, "--device-host", name, *(["--agent", agent_socket(guest)] if agent else [])]


class DeviceMove(Migration):
    """From host `a` of the map to host `b`."""

    def __init__(self, source, destination, path, *, there=None, names=("a", "b"), agent=True, send=(), receive=(), **more):
        super().__init__(source, destination, send=[*options(source, path, names[0], agent), *send],
                         receive=[*(options(destination, there or path, names[1], agent) if there != "" else []), *receive], **more)

    def steps(self, process=None):
        return [(e.get("step"), e.get("name"), e["state"], e["undo"])
                for e in events(process or self.sender) if e["event"] == "device"]


def inventory(guest, *words):
    """(exit code, the object) of `watari devices`"""
    code, text = guest.host.call([watari(), "devices", "--qmp", guest.qmp, "--json", *words], 60)
    return code, json.loads(text.splitlines()[-1]) if text.startswith("{") else text


# ---- the spare NIC of a lab host, passed through ----

def device(host):
    """The PCI address of a host's spare NIC."""
    code, text = host.call(["sh", "-c", "echo $LAB_VFIO"])
    expect(code == 0 and text.strip(), f"no spare NIC on {host.name}: {text}")
    return text.strip()


def mac(host):
    return f"52:54:00:03:00:{host.index + 10:02x}"


def has(host, **more):
    return {"vfio": device(host), "link_mac": mac(host), **more}


def with_device(host):
    return ("-device", f"vfio-pci,host={device(host)},id=ib0,bus=rp0")
