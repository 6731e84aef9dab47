#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_mpi_guests.py CASE... - an Open MPI job in two guests on a network of their own. The coordinator is outside and has no network
to them.

  move  quiesced through the agents, both guests move with all that mpirun has open, and the job goes on; there and back
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.hosts import Host, wait_for  # noqa: E402
from harness.hub import Hub  # noqa: E402
from harness.migration import Migration  # noqa: E402
from harness.mpi_guests import GuestJob, MpiGuest, build_mpi_guest, hosts_of_job  # noqa: E402


def case_move(host, image):
    hub = Hub(host)
    places = [host, Host("other")]

    def guest_at(place, number, **more):
        return MpiGuest(places[place], image, number, hub.options(number), port=False, **more)

    job = GuestJob(host, [guest_at(0, 0, hosts=hosts_of_job()), guest_at(0, 1)])
    for guest in job.guests:
        wait_for(guest.reports, "the guest's first report", 180)
    job.wait_talks("tcp", 180)
    for round_number in range(2):
        before = [guest.connections() for guest in job.guests]
        stopped = job.quiesce()
        kept = [guest.connections() for guest in job.guests]
        expect(all(kept) and all(some < all_ for some, all_ in zip(kept, before)),
               f"the ranks' connections must go, and mpirun's stay: {before}, then {kept}")
        for i, guest in enumerate(job.guests):
            there = guest_at((round_number + 1) % 2, i, incoming=True)
            Migration(guest, there).succeed()
            guest.ended()
            job.guests[i] = there
        expect([guest.connections() for guest in job.guests] == kept, "mpirun's connections have not moved with the guests")
        started = job.must("resume")[-1]
        job.wait_talks("tcp")
        for guest in job.guests:
            guest.wait_reports(2)
            guest.check()
        print(f"  quiesced in {stopped['ms']:.0f} ms, resumed in {started['ms']:.0f} ms", flush=True)
    print(f"  {job.end()}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=build_mpi_guest))
