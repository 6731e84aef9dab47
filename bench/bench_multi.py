#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""one memory pulled from several hosts at once, against what their links carry one by one.

The hosts that serve are limited in what they send, the one that pulls is not. All of them have all of the memory, over
tcp. A rate is the memory's bytes over the time from when all are connected to when the last page is in place; wt_multi_bw
pulls, and compares every page.

  scaling_2, scaling_4   rate with so many equal servers, over so many times the rate with one
  scaling_mixed          rate with three servers whose links are as 1:2:4, over the sum of the rates with each alone
  one_vs_iperf3          rate with one server, over that of iperf3 on the same link: what the others are measured by
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))

from figures import interleave, options, show  # noqa: E402
from harness.hosts import Host  # noqa: E402
from harness.migration import install_key  # noqa: E402
from harness.multi import pull  # noqa: E402
from harness.network import network  # noqa: E402

MIB = 384
EQUAL_MBIT_S = 400
MIXED_MBIT_S = (200, 400, 800)
SERVERS = 4


def rate(net, key, links):
    """MB/s from the first hosts, each of which sends at most so many Mbit/s; None: it takes no part."""
    senders = []
    for i, mbit_s in enumerate(links):
        if mbit_s:
            net.limit(mbit_s, i)
            senders.append(net.hosts[i])
    found = pull(MIB, net.hosts[SERVERS], senders, key)
    return found["bytes"] / found["seconds"] / 1e6


def iperf3(net):
    net.limit(EQUAL_MBIT_S, 0)
    return net.goodput(0, SERVERS) / 1e6


def measure(args):
    equal = {count: (EQUAL_MBIT_S,) * count for count in (1, 2, SERVERS)}
    alone = [tuple(link if i == j else None for j, link in enumerate(MIXED_MBIT_S)) for i in range(len(MIXED_MBIT_S))]
    with network(SERVERS + 1) as net:
        key = install_key(net.hosts[:1])[0]
        contenders = {links: lambda links=links: rate(net, key, links)
                      for links in [*equal.values(), MIXED_MBIT_S, *alone]}
        found = interleave({**contenders, "iperf3": lambda: iperf3(net)}, args.runs)
    one = found[equal[1]]
    show(args, "multi", f"1x{EQUAL_MBIT_S}Mbit/s", "one_vs_iperf3", "MB/s", "higher", one, "iperf3", found["iperf3"])
    for count in (2, SERVERS):
        show(args, "multi", f"{count}x{EQUAL_MBIT_S}Mbit/s", f"scaling_{count}", "MB/s", "higher", found[equal[count]],
             f"{count} x one", [count * value for value in one])
    show(args, "multi", ":".join(map(str, MIXED_MBIT_S)), "scaling_mixed", "MB/s", "higher", found[MIXED_MBIT_S],
         "sum of each alone", [sum(values) for values in zip(*(found[links] for links in alone))])


def main():
    args = options(__doc__, runs=3)
    try:
        measure(args)
    finally:
        Host.close_all()


if __name__ == "__main__":
    sys.exit(main())
