#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi.py CASE... - real Open MPI jobs over btl/watari on this machine, quiesced while they talk."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, need_sabotage  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.mpi import COORDINATOR, MESSAGES, TELLS, Job  # noqa: E402


def talking(host, *options, **more):
    """A job of the program that checks every byte, until it is told to end."""
    job = Job(host, program=(MESSAGES, "--until", os.path.join(host.run_dir, f"{more.get('name', 'job')}.until"), *options), **more)
    job.wait_up()
    return job


def cycles(job, count):
    for number in range(count):
        job.cycle()
        expect(job.process.running(), f"the job ended in cycle {number}: {job.process.tail(12)}")


def case_talk(host, image):
    """No quiesce: everything that Open MPI does, over btl/watari alone."""
    for name, options, mca in (("plain", ("--rounds", "4"), ()),
                               ("threads", ("--rounds", "3", "--threads", "3", "--phases", "tpt", "--bytes", "300000"), ()),
                               ("pinned", ("--rounds", "3"), (("mpi_leave_pinned", "1"),)),
                               ("osc_rdma", ("--rounds", "4", "--phases", "opo"), (("osc", "rdma"), ("osc_rdma_btls", "watari")))):
        job = Job(host, program=(MESSAGES, *options), name=name, mca=mca)
        code = job.process.wait(120)
        expect(code == 0 and job.process.find("messages: right"), f"{name}: exit code {code}: {job.process.tail(12)}")


def case_cycles(host, image):
    job = talking(host, "--bytes", "300000")
    cycles(job, 20)
    print(job.end())


def case_cycles_many(host, image):
    job = talking(host, "--seed", "7")
    cycles(job, 500)
    print(job.end())


def case_cycles_kinds(host, image):
    """With threads, with memory that stays registered, with windows of osc/rdma."""
    for name, options, mca in (("threads", ("--threads", "3", "--phases", "tpwct", "--bytes", "300000"), ()),
                               ("pinned", (), (("mpi_leave_pinned", "1"),)),
                               ("osc_rdma", ("--phases", "opcov"), (("osc", "rdma"), ("osc_rdma_btls", "watari")))):
        job = talking(host, *options, name=name, mca=mca)
        cycles(job, 40)
        print(name, job.end())


def case_cache(host, image):
    """Memory that is used again is found registered, memory that went away is not, and no more is kept than is said."""
    def registrations(name, *mca):
        job = Job(host, program=(MESSAGES, "--rounds", "4", "--phases", "pcm"), name=name, mca=(TELLS, *mca))
        expect(job.process.wait(120) == 0 and job.process.find("messages: right"), f"{name}: {job.process.tail(12)}")
        print(name, found := job.registrations())
        return found

    usual, small, none = registrations("usual"), registrations("small", ("btl_watari_cache", "1")), \
        registrations("none", ("btl_watari_cache", "0"))
    expect(usual["found"] and usual["of memory"], "nothing was found again, or no memory went away")
    expect(small["evicted"] and not usual["evicted"], "more was kept than 1 MiB, or less than 256")
    expect(none["made"] > usual["made"] and none["found"] == 0, "found what must not be kept")
    job = talking(host, "--bytes", "300000", mca=(TELLS,))
    cycles(job, 10)
    print(job.end(), found := job.registrations())
    expect(found["found"] and found["of memory"], "nothing was found again after a resume, or no memory went away")


def case_sabotage(host, image):
    """One message in 13 is dropped or changed: the program must notice. What a fabric brings twice Open MPI itself drops (that
    btl/watari does not do that, test_mpi_mesh.c sees), so the program itself sends one twice, in the midst and as the last."""
    need_sabotage()
    for how in ("drop", "corrupt"):
        job = Job(host, program=(MESSAGES, "--rounds", "30", "--patience", "8"), name=how, env={"WATARI_SABOTAGE": f"mpi_{how}"})
        code = job.process.wait(120)
        expect(code != 0 and not job.process.find("messages: right"), f"{how} was not found: {job.process.tail()}")
        print(f"{how}: {job.process.find('messages: ') or job.process.tail(3)}")
    for rounds in ("30", "1"):
        job = Job(host, program=(MESSAGES, "--rounds", rounds, "--phases", "p", "--twice", "2", "--patience", "8"), name=f"twice{rounds}")
        code = job.process.wait(120)
        expect(code != 0 and not job.process.find("messages: right"), f"a message that came twice was not found: {job.process.tail()}")
        print(f"twice, in {rounds} rounds: {job.process.find('messages: ') or job.process.find('MPI_ERR') or job.process.tail(3)}")


def case_coordinator_dies(host, image):
    """At any moment of a quiesce or a resume; the next one brings the job to its end."""
    job = talking(host, "--bytes", "300000")
    for number in range(24):
        for word in ("quiesce", "resume"):
            dying = host.start([COORDINATOR, word, job.name], word, env=job.env)
            time.sleep(0.0005 * number)  # not a wait: the moment of its death
            dying.kill()
            host.processes.remove(dying)
        job.must("resume")
        expect(all(rank[1] == "running" for rank in job.states()), f"not all run: {job.states()}")
    print(job.end())


def case_rank_dies(host, image):
    """While it runs, and while it is detached: the job ends, and the coordinator says which rank it was."""
    job = talking(host, name="runs")
    job.kill_rank(2)
    expect(job.process.wait(60) != 0, "the job lives on without a rank")
    job = talking(host, name="detached")
    job.must("quiesce")
    job.kill_rank(1)
    expect(job.process.wait(60) != 0, "the job lives on without a rank")
    code, _, said = job.command("resume", "--timeout", "3")
    expect(code == 1 and said, f"resume of a job that is gone: {code} {said}")
    print(said[-1])


def all_stopped(pid):
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as file:
            states.append(file.read().rpartition(")")[2].split()[0])
    return set(states) == {"T"}


def case_rank_stops(host, image):
    """A rank that does not answer: the quiesce is given up, and the job runs on when the rank does."""
    job = talking(host)
    pid = next(line["pid"] for line in job.command("status")[1] if line["rank"] == 3)
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all_stopped(pid), "every thread of the rank to stop", 20)
    code, _, said = job.command("quiesce", "--timeout", "2")
    os.kill(pid, signal.SIGCONT)
    expect(code == 1 and said, f"quiesce with a stopped rank: {code} {said}")
    print(said[-1])
    wait_for(lambda: [rank[1] for rank in job.states()] == ["running"] * 4, "the ranks to run again", 20)
    cycles(job, 2)
    print(job.end())


def case_init_and_finalize(host, image):
    """Quiesces that meet MPI_Init and MPI_Finalize: each succeeds or is refused, and every job ends well."""
    told = set()
    for number in range(12):
        job = Job(host, program=(MESSAGES, "--rounds", "1", "--bytes", "1000"), name=f"short{number}")
        while job.process.running():
            code, _, said = job.command("quiesce", "--timeout", "1")
            told.update(said)
            if code == 0:
                code, _, said = job.command("resume", "--timeout", "10")
                ended = any("has the job ended" in line for line in said) or not job.process.running()
                expect(code == 0 or ended, f"resume: {said}")
        code = job.process.wait(60)
        expect(code == 0 and job.process.find("messages: right"), f"job {number} ended with {code}: {job.process.tail(12)}")
    print("\n".join(sorted(told)))


def case_refused(host, image):
    """What cannot be, with one sentence each."""
    def said_of(words, env=None):
        code, text = host.call(["env", f"XDG_RUNTIME_DIR={host.run_dir}", *(env or ()), COORDINATOR, *words])
        expect(code in (1, 2) and text, f"{words}: {code}: {text}")
        return text

    expect("no job here" in said_of(["quiesce", "nobody"]), "a job that is not there")
    expect("1 to 32 characters" in said_of(["status", "a/b"]), "a name with a slash")
    expect("number of seconds" in said_of(["quiesce", "--timeout", "0"]), "no time")
    job = talking(host)
    expect("runs already" in said_of(["run", "--name", "job", "-n", "1", "true"]), "two jobs of one name")
    expect(job.command("resume")[0] == 0, "a resume of what runs changes nothing")
    cycles(job, 1)
    job.end()
    need_sabotage()
    script = os.path.join(host.run_dir, "versions")
    with open(script, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\nexport WATARI_MPI_VERSION=9.$OMPI_COMM_WORLD_RANK\nexec {MESSAGES} --rounds 1\n")
    os.chmod(script, 0o755)
    mixed = Job(host, ranks=2, program=(script,), name="mixed")
    expect(mixed.process.wait(60) != 0, "ranks of two versions talk to each other")
    expect(mixed.process.find("install the same version"), f"no sentence: {mixed.process.tail(20)}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
