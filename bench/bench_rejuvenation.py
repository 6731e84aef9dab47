#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""what renewing VMMs costs a cluster, by policy: a model with measured inputs, nothing runs (docs/REJUVENATION.md).

  loss            seconds of a host's full work lost in four weeks, baseline a cold reboot of the host
  crossing        hosts from which migration with an idle spare is better than cold reboots, baseline the seed's 11,000
  crossing_...    the same with a network of its own of which nothing is left, and with half of the spare used
  down            how long a guest is down for the renewal, baseline a cold reboot
  reboot_to_beat  an empty host that boots within this time makes evacuation and come-back better than a cold reboot

--write renews the tables and figures of docs/REJUVENATION.md (gnuplot). --runs means nothing: a model has no spread.
"""

import sys

from figures import parser, show
from rejuvenation import pages
from rejuvenation.model import Cluster, load


def losses(args, c):
    cold = c.cold()
    for policy in [c.warm(), c.plain(), c.live(), c.limited(), c.handover(), c.come_back(c.i["host_reboot"]),
                   c.come_back(c.i["host_reload"])]:
        show(args, "rejuvenation", policy.name, "loss", "s", "lower", [c.loss(policy)], cold.name, [c.loss(cold)])
        if policy.down:  # of live migration nobody has said
            show(args, "rejuvenation", policy.name, "down", "ms", "lower", [policy.down * 1e3], cold.name, [cold.down * 1e3])


def crossings(args, c):
    cold = c.cold()
    for metric, policy in (("crossing", c.plain()), ("crossing", c.live()), ("crossing", c.limited()),
                           ("crossing_own_network", c.own_network(0)), ("crossing_spare_half_used", c.busy_spare(0.5))):
        show(args, "rejuvenation", policy.name, metric, "hosts", "lower", [c.crossing(policy, cold)], "seed", [c.i["crossing"]])
    show(args, "rejuvenation", "watari", "reboot_to_beat", "s", "higher", [c.reboot_to_beat(cold)])


def main():
    made = parser(__doc__, runs=1)
    made.add_argument("--write", action="store_true")
    args = made.parse_args()
    inputs = load()
    if args.write:
        pages.write(inputs)
    losses(args, Cluster(inputs))
    crossings(args, Cluster(inputs))


if __name__ == "__main__":
    sys.exit(main())
