# SPDX-License-Identifier: BSD-3-Clause
"""network.py - hosts of this machine in network namespaces of their own, joined by a switch; cables can be cut and slowed.

The switch is a bridge in one more namespace, so a host whose cable is cut stays a host of the network, and what is sent to it
is lost without a word.
"""

import contextlib
import json
import os
import subprocess

from .hosts import Failure, Host, wait_for

BURST_MS = 2  # what a slowed cable may carry at once, as time at its rate


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


class Network:
    """hosts[i] has the address 10.99.0.(i + 1). What a host sends passes its own cable, and that cable's limit."""

    def __init__(self, count):
        tag = f"wt{os.getpid() % 10000}"
        self.switch = f"{tag}x"
        self.names = [f"{tag}{chr(ord('a') + i)}" for i in range(count)]
        self.hosts = [Host(name, f"10.99.0.{i + 1}", name) for i, name in enumerate(self.names)]

    def make(self):
        """Of the switch the namespace is there."""
        for name in self.names:
            ip("netns", "add", name)
        ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
        ip("-n", self.switch, "link", "set", "switch", "up")
        for i, name in enumerate(self.names):
            ip("link", "add", name, "netns", name, "type", "veth", "peer", "name", name, "netns", self.switch)
            for words in (["link", "set", name, "master", "switch"], ["link", "set", name, "up"]):
                ip("-n", self.switch, *words)
            for words in (["address", "add", f"10.99.0.{i + 1}/24", "dev", name], ["link", "set", name, "up"],
                          ["link", "set", "lo", "up"]):
                ip("-n", name, *words)

    def unmake(self):
        for name in (*self.names, self.switch):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def cut(self, host=0):
        ip("-n", self.names[host], "link", "set", self.names[host], "down")

    def mend(self, host=0):
        ip("-n", self.names[host], "link", "set", self.names[host], "up")

    def congestion(self, how):
        """TCP's congestion control of the hosts; reno: every namespace may choose it."""
        for name in self.names:
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv4.tcp_congestion_control={how}"],
                           check=True, stdin=subprocess.DEVNULL)

    def limit(self, mbit_s, host=0):
        """From now on the host sends at most so much."""
        burst = max(16384, int(mbit_s * 1000 * BURST_MS / 8))
        subprocess.run(["ip", "netns", "exec", self.names[host], "tc", "qdisc", "replace", "dev", self.names[host], "root",
                        "tbf", "rate", f"{mbit_s}mbit", "burst", str(burst), "latency", "50ms"],
                       check=True, stdin=subprocess.DEVNULL)

    def goodput(self, sender, receiver, seconds=4):
        """Bytes per second of one TCP connection from one host to another, as iperf3 measures it."""
        server = self.hosts[receiver].start(["iperf3", "-s", "-1", "-J"], "iperf3")
        wait_for(lambda: self.hosts[receiver].call(["ss", "-Hltn", "sport", "=", ":5201"])[1] or not server.running(), "iperf3")
        code, text = self.hosts[sender].call(["iperf3", "-c", self.hosts[receiver].address, "-t", str(seconds), "-O", "1",
                                              "-J"], 30 + seconds)
        server.wait(30)
        if code:
            raise Failure(f"iperf3 from {self.names[sender]} to {self.names[receiver]}: {text}")
        return json.loads(text)["end"]["sum_received"]["bits_per_second"] / 8


@contextlib.contextmanager
def network(count=2):
    """A Network, for as long as the with statement lasts."""
    net = Network(count)
    if subprocess.run(["ip", "netns", "add", net.switch], capture_output=True, check=False).returncode:
        raise Failure("network namespaces are needed: run as root, with CAP_NET_ADMIN")
    try:
        net.make()
        yield net
    finally:
        net.unmake()
