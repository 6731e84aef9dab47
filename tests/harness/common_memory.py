# SPDX-License-Identifier: BSD-3-Clause
"""common_memory.py - two lab hosts that have memory in common: files of this machine, each an nvdimm of both hosts, and in
them a device (devdax), which a guest's QEMU takes for RAM. The kernel may number them in any order: /dev/commonN is the one of file N.

No guest comes back to memory that it has left: an emulated host would run its old translations (docs/LAB.md).
"""

import contextlib
import shutil
import tempfile

from .hosts import Failure, lab, wait_for

MODULES = "libnvdimm nfit nd_pmem device_dax dax_pmem"
# The first of both hosts writes into each nvdimm that it is a devdax; the second one finds it there.
MAKE = """
modprobe -a %(modules)s
cd /sys/bus/nd/devices
for namespace in namespace*.0; do
    region=${namespace#namespace} region=region${region%%.0}
    dax=$(cat $region/dax_seed)
    echo $namespace >/sys/bus/nd/drivers/nd_pmem/unbind
    echo 2097152 >$dax/align
    cat /proc/sys/kernel/random/uuid >$dax/uuid
    echo ram >$dax/mode
    echo $namespace >$dax/namespace
    echo $dax >/sys/bus/nd/drivers/dax_pmem/bind
done
"""
FIND = "modprobe -a %(modules)s"
# QEMU puts one behind the other.
NAME = """
cd /sys/bus/dax/devices
for dax in dax*; do printf '%020d %s\\n' $(($(cat $dax/resource))) $dax; done | sort |
{ number=0; while read -r at dax; do ln -sf $dax /dev/common$number; number=$((number + 1)); done; }
"""


def nvdimm_mb(ram_mb):
    """Two MiB that say what it is, two at its end for the proof, and a multiple of 16."""
    return (ram_mb + 4 + 15) // 16 * 16


@contextlib.contextmanager
def common_lab(sizes, mem="1536M", populated=False):
    """Two hosts; /dev/common0 and so on of both are one memory, each with room for a guest of so many MiB. populated: all of it is
    mapped in both hosts' QEMUs before they begin."""
    directory = tempfile.mkdtemp(prefix="watari-common-", dir="/dev/shm")
    total = sum(nvdimm_mb(mb) for mb in sizes)
    words = [f"-M nvdimm=on -m {mem},slots={len(sizes)},maxmem={total + 8192}M"]
    for number, mb in enumerate(sizes):
        words.append(f"-object memory-backend-file,id=nv{number},share=on,prealloc={'on' if populated else 'off'},mem-path={directory}/{number},"
                     f"size={nvdimm_mb(mb)}M -device nvdimm,memdev=nv{number}")
    try:
        with lab(2, mem, ["--qemu", " ".join(words)]) as hosts:
            for host, script in zip(hosts, (MAKE, FIND)):
                code, text = host.call(["sh", "-c", script % {"modules": MODULES}], 120)
                if code:
                    raise Failure(f"no nvdimms on {host.name}: {text}")
                wait_for(lambda host=host: devices(host) == len(sizes), f"{len(sizes)} devices on {host.name}")
                code, text = host.call(["sh", "-c", NAME])
                if code:
                    raise Failure(f"the devices of {host.name} have no names: {text}")
            yield hosts
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def devices(host):
    return int(host.call(["sh", "-c", "ls /dev | grep -c '^dax' || true"])[1])


def on_device(number, mb):
    """What makes a Guest's RAM that device."""
    return {"mb": mb, "backend": "file", "ram_file": f"/dev/common{number}", "ram_options": ",align=2M"}


def long_file(path, mb):
    """A file of this machine with room for a guest of so many MiB and the proof behind it, and what makes it a Guest's RAM."""
    with open(path, "wb") as file:
        file.truncate((mb << 20) + 4096)
    return {"mb": mb, "backend": "file", "ram_file": path}
