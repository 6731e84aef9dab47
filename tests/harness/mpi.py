# SPDX-License-Identifier: BSD-3-Clause
"""mpi.py - an MPI job on a host over btl/watari, and the coordinator's commands on it."""

import json
import os
import re
import signal

from .hosts import Failure, wait_for
from .migration import BUILD

COORDINATOR = os.path.join(BUILD, "watari-mpi")
MESSAGES = os.path.join(BUILD, "tests", "messages")
WORD = "messages: right: "
TELLS = ("btl_base_verbose", "10")


def _states(lines):
    return [(rank["rank"], rank["state"], rank["fabric"], rank["paths"]) for rank in lines]


class Job:
    """`watari-mpi run` of a program; all traffic goes through btl/watari, also between ranks of one host. agents: sockets of
    guests' agents through which the coordinator comes to the ranks."""

    def __init__(self, host, ranks=4, program=(MESSAGES,), name="job", env=None, mca=(), btl="watari,self", address="127.0.0.1",
                 wrap=(), agents=()):
        self.host, self.name, self.ranks, self.agents = host, name, ranks, agents
        self.env = {"XDG_RUNTIME_DIR": host.run_dir}
        self.until = os.path.join(host.run_dir, f"{name}.until")
        given = (("btl_watari_address", address),) if address else ()
        options = [word for key, value in (*given, *mca) for word in ("--mca", key, value)]
        self.process = host.start([*wrap, COORDINATOR, "run", "--name", name, "--btl", btl, "--allow-run-as-root", "--oversubscribe",
                                   "-n", str(ranks), *options, *program], f"mpirun-{name}", env={**self.env, **(env or {})})

    def begin(self, *words):
        """Starts a command on the job."""
        agents = [word for agent in self.agents for word in ("--agent", agent)]
        return self.host.start([COORDINATOR, words[0], self.name, *agents, *words[1:], "--json"], words[0], env=self.env)

    def command(self, *words, timeout_s=60):
        """(exit code, lines as JSON objects, sentences)"""
        process = self.begin(*words)
        code = process.wait(timeout_s)
        if process in self.host.processes:
            self.host.processes.remove(process)
        lines = list(process.lines)
        return code, [json.loads(line) for line in lines if line.startswith("{")], \
            [line for line in lines if not line.startswith("{")]

    def must(self, *words, **more):
        code, objects, said = self.command(*words, **more)
        if code:
            raise Failure(f"watari-mpi {words}: exit code {code}: {said}; the job: {self.process.tail()}")
        return objects

    def states(self):
        """[(rank, state, fabric or None, paths)]"""
        return _states(self.command("status")[1])

    def wait_up(self):
        """Until every rank has come to MPI_Init and the program talks."""
        wait_for(lambda: len(found := self.states()) == self.ranks and all(rank[3] for rank in found), "the job to talk", 60)

    def cycle(self):
        """One quiesce and resume; answers what each took."""
        stopped = self.must("quiesce")[-1]
        states = _states(self.must("status"))
        if {rank[1:] for rank in states} != {("detached", None, 0)}:
            raise Failure(f"not all ranks are detached: {states}")
        return stopped, self.must("resume")[-1]

    def rounds(self, group):
        """How many rounds a group of `messages --groups` has made."""
        code, text = self.host.call(["cat", f"{self.until}.{group}"])
        return 0 if code else int(text.strip() or 0)

    def wait_rounds(self, group, count=2, timeout_s=30):
        """Until the group has made more than so many further rounds."""
        before = self.rounds(group)
        wait_for(lambda: self.rounds(group) > before + count, f"rounds of group {group}", timeout_s)

    def end(self, timeout_s=90):
        """Lets the program end, and checks its word."""
        self.host.call(["touch", self.until])
        code = self.process.wait(timeout_s)
        word = self.process.find(WORD)
        if code or not word:
            raise Failure(f"the job ended with {code}: {self.process.tail(12)}")
        return word

    def registrations(self):
        """{what: how many} of the registrations of all ranks, after the end; mca must have TELLS."""
        words = ("made", "found", "evicted", "of memory")
        lines = [line for line in self.process.lines if "registrations: " in line]
        if len(lines) != self.ranks:
            raise Failure(f"{len(lines)} ranks of {self.ranks} tell of registrations: {self.process.tail(12)}")
        return {word: sum(int(re.search(rf"(\d+) {word}", line).group(1)) for line in lines) for word in words}

    def kill_rank(self, rank):
        found = next(line for line in self.command("status")[1] if line["rank"] == rank)
        os.kill(found["pid"], signal.SIGKILL)
