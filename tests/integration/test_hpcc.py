#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_hpcc.py CASE... - HPC Challenge over btl/watari on this machine, which checks its own results.

  plain     nothing happens to it
  quiesced  it is quiesced, detached, attached and resumed all the time
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import hpcc  # noqa: E402
from harness.cases import expect, main  # noqa: E402
from harness.hosts import wait_for  # noqa: E402

SIZE = 800
CYCLES = 15  # at least


def begin(host):
    """(its folder, the job); every rank has a path to every other: there is no other way from rank to rank."""
    folder = os.path.join(host.run_dir, "hpcc")
    job = hpcc.begin(host, folder, SIZE)
    job.wait_up()
    wait_for(lambda: all(rank[1:] == ("running", "tcp", hpcc.RANKS - 1) for rank in job.states()) or not job.process.running(),
             "paths of btl/watari from all ranks to all", 60)
    expect(job.process.running(), f"hpcc ended too early: {job.process.tail()}")
    return folder, job


def end(folder, job):
    expect(job.process.wait(400) == 0, f"hpcc: {job.process.tail()}")
    text = hpcc.output(folder)
    expect(not hpcc.complaints(text), f"{hpcc.complaints(text)}")
    return text


def case_plain(host, image):
    text = end(*begin(host))
    for truth, lie in hpcc.LIES:
        expect(truth in text and hpcc.complaints(text.replace(truth, lie)), f"{lie} instead of {truth} is not seen")


def case_quiesced(host, image):
    folder, job = begin(host)
    done = 0
    while job.process.running():
        code, _, said = job.command("quiesce")
        if code:  # what cannot be quiesced is at its end
            expect(job.process.wait(20) == 0, f"quiesce {done}: {said}; hpcc: {job.process.tail()}")
            break
        states = job.states()
        expect({rank[1:] for rank in states} == {("detached", None, 0)}, f"not all ranks are detached: {states}")
        job.must("resume")
        done += 1
    end(folder, job)
    expect(done >= CYCLES, f"only {done} quiesces while it ran")
    print(f"  {done} quiesces")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
