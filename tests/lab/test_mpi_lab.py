#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_lab.py CASE... - Open MPI jobs over btl/watari in lab hosts: over verbs, and from there to tcp and back.

  fabrics  a job that talks is quiesced, comes back over tcp while the RDMA device's link is down, and over verbs again
  unplug   the same, and the device is taken away from the host while the ranks are detached
  cycles   many quiesces and resumes over verbs (WATARI_CYCLES, default 50)
  part     half of the ranks let go, again and again; the others go on among themselves, over verbs
  memlock  so little memory may be locked that there is no path over verbs, or that not all memory is taken by the device
  kinds    threads, memory that stays registered, windows of osc/rdma: all that Open MPI does, over verbs
  cache    memory that is used again is found registered; the pages of memory that went away are not sent
  hpcc     HPC Challenge, which checks its own results, quiesced a few times over verbs, over tcp, and over verbs again
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import hpcc  # noqa: E402
from harness.cases import expect, has_sabotage, main  # noqa: E402
from harness.hosts import lab, wait_for  # noqa: E402
from harness.mpi import MESSAGES, TELLS, Job  # noqa: E402

COUNTER = "/sys/class/infiniband/rxe0/ports/1/hw_counters/sent_pkts"


def talking(host, *options, name="job", **more):
    until = os.path.join(host.run_dir, f"{name}.until")
    job = Job(host, ranks=more.pop("ranks", 4), name=name, address=host.ethernet,
              program=(MESSAGES, "--until", until, "--bytes", "300000", *options), **more)
    job.wait_up()
    return job


def fabrics(job):
    return {rank["fabric"] for rank in job.must("status")}


def packets(host):
    """Sent by the RDMA device so far."""
    return int(host.call(["cat", COUNTER])[1])


def must_talk(job, fabric):
    """All ranks say so, and the device's own count agrees."""
    found = fabrics(job)
    expect(found == {fabric}, f"the ranks talk over {found}, not {fabric}: {job.process.tail()}")
    if fabric == "verbs":
        before = packets(job.host)
        wait_for(lambda: packets(job.host) > before + 200 or not job.process.running(), "packets of the RDMA device", 60)
    expect(job.process.running(), f"the job ended: {job.process.tail(12)}")


def to_and_fro(rounds, away, back):
    """away and back are commands that are run while the ranks are detached."""
    with lab(1) as (a,):
        job = talking(a)
        must_talk(job, "verbs")
        for _ in range(rounds):
            for fabric, command in (("tcp", away), ("verbs", back)):
                stopped = job.must("quiesce")[-1]
                states = job.states()
                expect({rank[1:] for rank in states} == {("detached", None, 0)}, f"not all are detached: {states}")
                code, text = a.call(command.split())
                expect(code == 0, f"{command}: {text}")
                started = job.must("resume")[-1]
                must_talk(job, fabric)
                print(f"  quiesced in {stopped['ms']:.0f} ms, resumed over {fabric} in {started['ms']:.0f} ms", flush=True)
        print(f"  {job.end()}", flush=True)


def case_fabrics(image):
    to_and_fro(3, "ip link set fab0 down", "ip link set fab0 up")


def case_unplug(image):
    to_and_fro(3, "rdma link delete rxe0", "rdma link add rxe0 type rxe netdev fab0")


def case_cycles(image):
    count = int(os.environ.get("WATARI_CYCLES", "50"))
    with lab(1) as (a,):
        job = talking(a, "--seed", "7")
        for number in range(count):
            job.cycle()
            expect(job.process.running(), f"the job ended in cycle {number}: {job.process.tail(12)}")
        must_talk(job, "verbs")
        print(f"  {count} cycles: {job.end()}", flush=True)


def case_part(image):
    with lab(1) as (a,):
        job = talking(a, "--groups", "2")
        must_talk(job, "verbs")
        for cycle in range(6):
            moves = cycle % 2
            stopped = job.must("quiesce", "--only", f"{2 * moves},{2 * moves + 1}")[-1]
            states = job.states()
            expect({rank[1:] for rank in states if rank[0] // 2 == moves} == {("detached", None, 0)}, f"those that move: {states}")
            expect({rank[2] for rank in states if rank[0] // 2 != moves} == {"verbs"}, f"those that stay: {states}")
            before, sent = job.rounds(moves), packets(a)
            job.wait_rounds(1 - moves, 1, 120)
            expect(job.rounds(moves) <= before + 1, f"group {moves} goes on: {before}, {job.rounds(moves)}")
            started = job.must("resume")[-1]
            must_talk(job, "verbs")
            print(f"  quiesced in {stopped['ms']:.0f} ms, {packets(a) - sent} packets of the others, resumed in {started['ms']:.0f} ms", flush=True)
        print(f"  {job.end()}", flush=True)


def case_memlock(image):
    with lab(1) as (a,):
        for kib, fabric in ((64, "tcp"), (1200, "verbs")):  # a connection takes 520
            poor = ["prlimit", f"--memlock={kib << 10}:{kib << 10}", "setpriv", "--inh-caps=-ipc_lock,-sys_resource",
                    "--bounding-set=-ipc_lock,-sys_resource"]
            job = talking(a, name=f"memlock{kib}", ranks=2, wrap=poor)
            must_talk(job, fabric)
            job.cycle()
            must_talk(job, fabric)
            print(f"  {kib} KiB: {job.end()}", flush=True)


def case_kinds(image):
    with lab(1) as (a,):
        for name, options, mca in (("plain", (), ()),
                                   ("threads", ("--threads", "3", "--phases", "tpwct"), ()),
                                   ("pinned", (), (("mpi_leave_pinned", "1"),)),
                                   ("osc_rdma", ("--phases", "opcov"), (("osc", "rdma"), ("osc_rdma_btls", "watari")))):
            job = talking(a, *options, name=name, mca=mca)
            must_talk(job, "verbs")
            job.cycle()
            must_talk(job, "verbs")
            print(f"  {name}: {job.end()}", flush=True)


def case_cache(image):
    with lab(1) as (a,):
        job = talking(a, "--phases", "pcm", mca=(TELLS,))
        must_talk(job, "verbs")
        job.cycle()
        must_talk(job, "verbs")
        print(f"  {job.end()}", found := job.registrations(), flush=True)
        expect(found["found"] and found["of memory"], "nothing was found registered, or no memory went away")
        if has_sabotage():
            job = Job(a, name="stale", address=a.ethernet, program=(MESSAGES, "--rounds", "20", "--phases", "m"),
                      env={"WATARI_SABOTAGE": "mpi_stale"})
            expect(job.process.wait(120) != 0 and job.process.find("wrong byte"), f"old pages were not found: {job.process.tail()}")


def case_hpcc(image):
    with lab(1) as (a,):
        folder = os.path.join(a.out_dir, "hpcc")
        job = hpcc.begin(a, folder, 400, address=a.ethernet, mca=(("op", "^avx"),))  # no AVX in an emulated processor
        job.wait_up()
        must_talk(job, "verbs")
        for fabric, state in (("verbs", "up"), ("tcp", "down"), ("verbs", "up"), ("verbs", "up")):
            job.must("quiesce")
            code, text = a.call(["ip", "link", "set", "fab0", state])
            expect(code == 0, text)
            job.must("resume")
            must_talk(job, fabric)
        expect(job.process.wait(600) == 0, f"hpcc: {job.process.tail()}")
        text = hpcc.output(folder)
        expect(not hpcc.complaints(text), f"{hpcc.complaints(text)}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True))
