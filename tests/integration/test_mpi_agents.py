#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_agents.py CASE... - an Open MPI job on two hosts (network namespaces with names and folders of their own), whose
ranks the coordinator reaches through the agents there, without any network.

  cycles   quiesces and resumes, and a job that ends
  part     the ranks of one host let go; those of the other one go on among themselves
  lost     agents that are missing, silent, old, or die in the middle; a coordinator that dies
"""

import contextlib
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.agent_port import Agent, OldAgent  # noqa: E402
from harness.cases import expect, main  # noqa: E402
from harness.hosts import Failure, wait_for  # noqa: E402
from harness.migration import watari  # noqa: E402
from harness.mpi import COORDINATOR, MESSAGES, Job  # noqa: E402
from harness.network import network  # noqa: E402
from test_mpi import cycles  # noqa: E402


def guest_like(folder, place, name):
    """Words that run a command in what could be a guest: its own name, and `folder` where all guests have `place`."""
    return ["unshare", "--uts", "--mount", "sh", "-c", f'mount --bind {folder} {place} && hostname {name} && exec "$@"', name]


@contextlib.contextmanager
def two_guests(host, *options):
    """(network, agents, the job, which talks): ranks 0 and 1 on the first, 2 and 3 on the second."""
    with network(2) as net:
        place = os.path.join(host.run_dir, "watari", "mpi")
        folders = [os.path.join(guest.run_dir, "watari", "mpi") for guest in net.hosts]
        for folder in (place, *folders):
            os.makedirs(folder, mode=0o700)
        agents = [Agent(guest, folder) for guest, folder in zip(net.hosts, folders)]
        first, second = net.hosts
        shell = os.path.join(host.run_dir, "shell")
        with open(shell, "w", encoding="ascii") as file:
            words = [*second.prefix, *guest_like(folders[1], place, "guest1"), "sh", "-c"]
            file.write("#!/bin/sh\nshift\nexec " + " ".join(f"'{word}'" for word in words) + ' "$*"\n')
        os.chmod(shell, 0o755)
        until = os.path.join(host.run_dir, "job.until")
        job = Job(first, program=("--host", f"{first.address}:2,{second.address}:2", MESSAGES, "--until", until, "--bytes", "300000", *options),
                  # Open MPI cannot know that both hosts have the same processors.
                  address=None, mca=(("plm_rsh_agent", shell), ("oob_tcp_if_include", "10.99.0.0/24"), ("mpi_yield_when_idle", "1")),
                  env={"XDG_RUNTIME_DIR": host.run_dir}, wrap=guest_like(folders[0], place, "guest0"),
                  agents=[agent.port.path for agent in agents])
        job.host, job.until = host, until  # the coordinator is no guest's
        job.wait_up()
        try:
            yield net, agents, job
        except Failure:
            print("the agents: " + ", ".join(agent.state() for agent in agents))
            raise


def case_cycles(host, image):
    with two_guests(host) as (_, _, job):
        cycles(job, 40)
        expect({line["rank"] for line in job.must("status")} == {0, 1, 2, 3}, "not all ranks are there")
        print(job.end())


def stands(job, group):
    """What is under way when the quiesce comes is finished, and then there is nothing more."""
    before = job.rounds(group)
    job.wait_rounds(1 - group)
    expect(job.rounds(group) <= before + 1, f"group {group} goes on: {before}, {job.rounds(group)}")


def in_the_middle(net, job, *words):
    """A quiesce that cannot end: what is under way between the guests does not arrive."""
    net.cut(1)
    process = job.begin("quiesce", "--timeout", "60", *words)
    agents, job.agents = job.agents, []  # they are in use; the ranks are reached directly, those of them that can be
    wait_for(lambda: {rank[1] for rank in job.states()} == {"quiescing"}, "the ranks to quiesce", 20)
    job.agents = agents
    return process


def case_part(host, image):
    with two_guests(host, "--groups", "2") as (net, _, job):
        def whole(rank):
            return {line["rank"]: (line["state"], line["fabric"], line["paths"], line["part"]) for line in job.must("status")}[rank]

        for group in (0, 1):
            job.wait_rounds(group, 0)
        for cycle in range(12):
            moves = cycle % 2
            ranks = (2 * moves, 2 * moves + 1)
            staying = (2 - 2 * moves, 3 - 2 * moves)
            job.must("quiesce", "--only", f"{ranks[0]},{ranks[1]}")
            for rank in ranks:
                expect(whole(rank) == ("detached", None, 0, 0), f"rank {rank}, which moves: {whole(rank)}")
            for rank in staying:
                found = whole(rank)
                expect(found[:2] == ("detached", "tcp") and found[2] >= 1 and found[3] == 2, f"rank {rank}, which stays: {found}")
            if cycle < 2:
                stands(job, moves)
                job.wait_rounds(1 - moves)
                # Not taken for a quiesce of all, nor of the others.
                for words in ((), ("--only", f"{staying[0]}")):
                    code, _, said = job.command("quiesce", *words)
                    expect(code == 3 and "in a quiesce of a part" in said[-1], f"{words}: {code}: {said}")
                print(said[-1])
                # The same again is what is there already.
                job.must("quiesce", "--only", f"{ranks[0]},{ranks[1]}")
                job.wait_rounds(1 - moves)
            job.must("resume")
            expect({rank[1] for rank in job.states()} == {"running"}, f"{job.states()}")
            for group in (0, 1) if cycle < 2 else ():
                job.wait_rounds(group)
            if cycle % 4 == 3:
                job.cycle()
        process = in_the_middle(net, job, "--only", "2,3")
        process.kill()  # the coordinator
        net.mend(1)
        job.must("resume")
        for group in (0, 1):
            job.wait_rounds(group)
        job.cycle()
        for words in (("7",), ("0,",), ("x",), ("",)):
            code, _, said = job.command("quiesce", "--only", *words)
            expect(code == (1 if words == ("7",) else 2) and said, f"{words}: {code}: {said}")
            print(said[0])
        print(job.end())


def refused(job, what, *texts):
    """A quiesce ends with one sentence, and the job runs on."""
    code, _, said = job.command("quiesce", "--timeout", "2")
    expect(code == 1 and len(said) == 1 and all(text in said[0] for text in texts), f"{what}: {code}: {said}")
    print(said[0])


def case_lost(host, image):
    with two_guests(host) as (net, agents, job):
        first, second = job.agents

        def with_agents(*wanted):
            job.agents = list(wanted)
            return job

        refused(with_agents(first), "one agent", "only 2 of 4 ranks", "agent was not named")
        refused(with_agents(first, second + "x"), "no socket", "cannot be reached: No such file")
        old = OldAgent(host)
        refused(with_agents(first, old.path), "an old agent", "version 0.0.9, which does not know MPI jobs")
        expect(old.others == ["ranks"], f"a session is begun more than once: {old.others}")
        refused(with_agents(first, f"/bin/false {second}"), "a prefix that fails", "/bin/false", "ended without a word")
        code, text = host.call([COORDINATOR, "status", "a b", "--agent", first])
        expect(code == 1 and "letters, digits" in text, f"a name that no agent takes: {code}: {text}")
        agents[1].process.kill()
        refused(with_agents(first, second), "no agent", "does not answer; does watari-guest run there")
        agents[1].start()
        with_agents(f"env AT=h1 {first}", second).must("quiesce", "--watari", watari())
        code, _, said = with_agents(first).command("resume", "--timeout", "2")
        expect(code == 3 and said, f"a resume that reaches half of the job: {code}: {said}")
        print(said[-1])
        with_agents(f"env AT=h1 {first}", second).must("resume", "--watari", watari())
        cycles(with_agents(first, second), 1)

        process = in_the_middle(net, job)
        agents[1].process.kill()
        code = process.wait(60)
        said = [line for line in process.lines if not line.startswith("{")]
        expect(code == 3 and len(said) == 1 and "type `watari-mpi resume`" in said[0], f"an agent that dies: {code}: {said}")
        print(said[0])
        agents[1].start()
        net.mend(1)
        job.must("resume")
        cycles(job, 2)

        process = in_the_middle(net, job)
        agents[1].process.kill()
        agents[1].start()  # at once: the new one knows no session
        code = process.wait(60)
        said = [line for line in process.lines if not line.startswith("{")]
        expect(code == 3 and "no such session" in said[0], f"an agent that is new: {code}: {said}")
        net.mend(1)
        job.must("resume")

        process = in_the_middle(net, job)
        process.kill()  # the coordinator
        net.mend(1)
        job.must("resume")
        cycles(job, 2)
        print(job.end())


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
