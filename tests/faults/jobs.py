# SPDX-License-Identifier: BSD-3-Clause
"""jobs.py - a real MPI job over btl/watari that checks each byte of each message, with one fault in its coordinator or a rank.

A coordinator that fails leaves a job that the next command brings to run on. A rank that cannot go on ends the job, which says why;
it never goes on with wrong bytes, and never hangs.
"""

import os
import re

from harness.hosts import Failure, wait_for
from harness.migration import BUILD
from harness.mpi import COORDINATOR, MESSAGES, Job

from migrations import DEADLINE_S, judged

PATIENCE_S = 20
CRASHED = re.compile(r"Segmentation fault|signal 11|Signal: (Segm|Abort|Bus)|Assertion|signal 6 |signal 7 ")


class Jobs:
    binary = COORDINATOR
    components = ("job coordinator",)
    words = {"WORD": "watari-mpi"}
    ranks = 2
    keeps = "messages --until"  # processes that go on

    def __init__(self, world):
        self.world, self.job, self.number = world, None, 0

    def start(self, env=None, mca=()):
        self.number += 1
        name = f"job{self.number}"
        program = (MESSAGES, "--until", os.path.join(self.world.host.run_dir, f"{name}.until"), "--bytes", "100000",
                   "--patience", str(PATIENCE_S))
        return Job(self.world.host, ranks=self.ranks, program=program, name=name, env=env, mca=mca)

    def running(self):
        """The job of before, if it is there."""
        if not (self.job and self.job.process in self.world.host.processes and self.job.process.running()):
            self.job = self.start()
            self.job.wait_up()
            self.world.usual = self.world.left_over()
        return self.job

    def asked(self, word, env):
        """A command with the fault in it: (exit code, what it said)"""
        process = self.world.host.start([COORDINATOR, word, self.job.name, "--json", "--timeout", "5"], word,
                                        env={**self.job.env, **env})
        wait_for(lambda: not process.running(), f"watari-mpi {word} hangs: {process.tail()}: its end", DEADLINE_S)
        said = judged(process, f"watari-mpi {word}")
        self.world.host.processes.remove(process)
        return process.child.returncode, [said] if said else []

    def goes_on(self):
        """All ranks run, and talk."""
        states = self.job.states()
        if len(states) != self.ranks or any(rank[1] != "running" for rank in states) or not self.job.process.running():
            raise Failure(f"the job does not run on: {states}: {self.job.process.tail()}")


class Quiesce(Jobs):
    """watari-mpi quiesce fails; then resume lets the job run."""

    word = "quiesce"

    def run(self, env):
        self.running()
        code, said = self.asked("quiesce", env.get("job coordinator", {}))
        if code == 0 and {rank[1] for rank in self.job.states()} != {"detached"}:
            raise Failure("quiesce claims success, and not all ranks are detached")
        self.job.must("resume")
        self.goes_on()
        self.job.cycle()
        return ("source" if code else "destination"), said


class Resume(Jobs):
    """watari-mpi resume fails; a second one lets the job run."""

    def run(self, env):
        self.running().must("quiesce")
        code, said = self.asked("resume", env.get("job coordinator", {}))
        if code:
            self.job.must("resume")
        self.goes_on()
        self.job.cycle()
        return ("source" if code else "destination"), said


class Rank(Jobs):
    """A call of btl/watari fails in rank 1: at its start, while it talks, quiesces, resumes, or at its end."""

    binary = os.path.join(BUILD, "openmpi", "mca_btl_watari.so")
    components = ("BTL",)
    foreign = ("opal_object.h ", "compat.h wt_compat_job_size: strdup")  # calls of Open MPI's own macros
    words = {"WORD": "messages", "OBJECT": "mca_btl_watari.so", "RANK": "1"}

    def run(self, env):
        job = self.job = self.start(env=env.get("BTL"))
        said = []
        try:
            wait_for(lambda: not job.process.running() or (len(found := job.states()) == self.ranks and all(rank[3] for rank in found)),
                     f"the job to talk, or to end: {job.process.tail()}", PATIENCE_S)
        except Failure:  # no coordinator reaches the rank; the job must end right all the same, below
            said.append("a rank cannot be asked")
        for word in ("quiesce", "resume"):
            if job.process.running():
                code, _, sentences = job.command(word, "--timeout", "5")
                said += sentences[-1:] if code else []
        if job.process.running():
            with open(job.until, "w", encoding="ascii"):
                pass
        wait_for(lambda: not job.process.running(), f"the job hangs: {said}: {job.process.tail(12)}: its end", DEADLINE_S)
        job.process.reader.join(5)
        if os.path.exists(job.until):
            os.unlink(job.until)
        self.world.host.processes.remove(job.process)
        code, right = job.process.child.returncode, job.process.find("messages: right")
        meant = job.process.find("this rank ends itself")
        if (crashed := next((line for line in job.process.lines if CRASHED.search(line)), None)) and not meant:
            raise Failure(f"a rank crashed: {crashed}: {job.process.tail(12)}")
        if code == 0 and not right:
            raise Failure(f"the job ended with 0 and is not right: {job.process.tail()}")
        if wrong := job.process.find("wrong"):
            raise Failure(f"wrong bytes: {wrong}")
        told = [line for line in job.process.lines if "btl/watari: " in line]
        if code and not told:
            raise Failure(f"the job ended with {code} and btl/watari said nothing: {job.process.tail(12)}")
        for path in self.world.left_over() - self.world.usual if code else ():
            os.unlink(path)  # sockets of ranks that mpirun has killed
        return ("destination" if code == 0 else "source"), said + (told[:1] if code else [])
