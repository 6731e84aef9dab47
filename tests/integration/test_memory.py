#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_memory.py CASE... - machine types and kinds of guest memory, QEMU 10.0 on this machine, over tcp; `all` runs every
case. All RAM is compared in each move, and the guest looks at every page.
"""

import contextlib
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, Skip, expect, main  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.migration import Migration, install_key  # noqa: E402

HUGE = 2 << 20


def move(host, image, there=None, **options):
    """Boots a guest and moves it; there is what is different at the destination."""
    source = Guest(host, image, **{**SMALL, **options})
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **{**SMALL, **options, **(there or {})})
    summary = Migration(source, destination, keys=install_key([host, host]), send=["--verify"]).succeed()
    expect(summary["verified"] and summary["destination"]["compared_pages"] * 4096 == summary["ram_bytes"],
           f"not all RAM was compared: {summary}")
    source.ended()
    destination.wait_round()
    destination.quit()
    print(f"  {options}: {summary['total_ms']:.0f} ms, {summary['moved_bytes'] >> 20} MiB", flush=True)


def nodes(count, mb):
    """Arguments for so many NUMA nodes, each a RAM block of its own."""
    words = []
    for i in range(count):
        words += ["-object", f"memory-backend-memfd,id=n{i},size={mb}M,share=on", "-numa", f"node,memdev=n{i}"]
    return words


def case_machines(host, image):
    for machine in ("q35", "pc", "pc-q35-7.2"):
        move(host, image, machine=machine)


def case_blocks(host, image):
    """Two and four RAM blocks; RAM below and above 4 GiB of guest addresses."""
    move(host, image, numa=nodes(2, 80))
    move(host, image, numa=nodes(4, 40), machine="pc")
    move(host, image, mb=4096)


def case_tmpfs(host, image):
    """Files on tmpfs; a file that has more than the guest's RAM is refused by QEMU itself, so not tried."""
    if os.geteuid():
        raise Skip("mounting a tmpfs needs root")
    where = tempfile.mkdtemp(dir=host.run_dir)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1G", "none", where], check=True)
    try:
        move(host, image, backend="file", ram_file=f"{where}/a", there={"ram_file": f"{where}/b"})
        move(host, image, backend="file", ram_file=f"{where}/c", there={"backend": "memfd"})
    finally:
        subprocess.run(["umount", "-l", where], check=True)


@contextlib.contextmanager
def huge_pages(count):
    """So many free huge pages of 2 MiB for as long as the with statement lasts; Skip where there are none to be had."""
    path = "/sys/kernel/mm/hugepages/hugepages-2048kB"

    def read(name):
        with open(f"{path}/{name}") as file:
            return int(file.read())

    def reserve(number):
        try:
            with open(f"{path}/nr_hugepages", "w") as file:
                file.write(str(number))
        except OSError as error:
            raise Skip(f"huge pages cannot be reserved: {error.strerror}") from None

    if not os.path.isdir(path):
        raise Skip("the kernel has no huge pages of 2 MiB")
    before, free = read("nr_hugepages"), read("free_hugepages")
    reserve(before + max(0, count - free))
    try:
        if read("free_hugepages") < count:
            raise Skip(f"the kernel gives {read('free_hugepages')} huge pages, {count} are needed")
        yield
    finally:
        reserve(before)


def case_huge(host, image):
    """Huge pages: memfd, a file on hugetlbfs, and between huge and ordinary pages."""
    huge = {"ram_options": ",hugetlb=on,hugetlbsize=2M"}
    with huge_pages(2 * 160 * (1 << 20) // HUGE + 8):
        move(host, image, **huge)
        move(host, image, **huge, there={"ram_options": ""})
        move(host, image, there=huge)
        if os.geteuid():
            raise Skip("mounting hugetlbfs needs root")
        where = tempfile.mkdtemp(dir=host.run_dir)
        subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", where], check=True)
        try:
            move(host, image, backend="file", ram_file=f"{where}/a", there={"ram_file": f"{where}/b"})
        finally:
            subprocess.run(["umount", "-l", where], check=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
