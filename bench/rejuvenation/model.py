# SPDX-License-Identifier: BSD-3-Clause
"""model.py - the total throughput of a cluster that renews its VMMs, after Kourai and Chiba. docs/REJUVENATION.md says why.

    X(n) = p (n - z) (1 - loss / T)         loss = rounds * R + down + slow + away

n hosts, p what a host does, T from one renewal of the VMM to the next. z: hosts that stay empty. All else is seconds in T, of
a host's full work (or, what is the same, of each of its guests'): R of one round that renews the guests' operating systems,
down that the guests do not run, slow that they lose while they run, away that a host's capacity is missing elsewhere.

  1. Everything inside is seconds, parts of one, and plain numbers; units are only in inputs.json.
  2. Nothing is rounded, and there is no constant besides the inputs.
"""

import json
import math
import os
from dataclasses import dataclass, replace

INPUTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inputs.json")
PAGE = 4096
SCALES = {"d": 86400.0, "s": 1.0, "ms": 1e-3, "ns": 1e-9, "%": 1e-2, "1": 1.0, "GiB": float(1 << 30)}


class BadInput(Exception):
    """A number has no source, or a unit that is not known."""


def load(path=INPUTS):
    """{name: number}, of all groups, in seconds, bytes and parts of one."""
    with open(path, encoding="utf-8") as file:
        groups = json.load(file)
    found = {}
    for group, inputs in groups.items():
        for name, given in inputs.items():
            if given.get("unit") not in SCALES:
                raise BadInput(f"{group}.{name}: the unit {given.get('unit')!r} is not known")
            if not given.get("source"):
                raise BadInput(f"{group}.{name}: it has no source")
            if name in found:
                raise BadInput(f"{group}.{name}: it is there twice")
            found[name] = given["value"] * SCALES[given["unit"]]
    return found


@dataclass(frozen=True)
class Reading:
    """How the text is understood where it leaves room; the default is the one that is used."""
    saved: float = 1.0            # part of a round that a cold reboot saves
    in_turn: bool = True          # guests are renewed one after the other, so each loses while each other one is down
    down_within: bool = True      # a migration's downtime is a part of its time, and not lost twice


@dataclass(frozen=True)
class Policy:
    """Of one host in T, in seconds; idle: hosts of the cluster that stay empty."""
    name: str
    down: float
    slow: float
    rounds: float
    away: float = 0.0
    idle: float = 0.0


class Cluster:
    def __init__(self, inputs=None, reading=Reading()):
        self.i, self.reading = inputs or load(), reading

    @property
    def period(self):
        return self.i["vmm_every"]

    @property
    def rounds(self):
        return self.i["vmm_every"] / self.i["os_every"]

    @property
    def round_loss(self):
        i = self.i
        others = (i["guests"] - 1) if self.reading.in_turn else 1
        return i["os_down"] + i["os_loss"] * i["os_down"] * others

    # ---- the seed's policies ----

    def warm(self):
        i = self.i
        return Policy("warm reboot", i["warm_down"], i["warm_slow"] * i["warm_loss"], self.rounds)

    def cold(self):
        i = self.i
        return Policy("cold reboot", i["cold_down"], i["cold_slow"] * i["cold_loss"],
                      self.rounds - i["cold_saves_rounds"] * self.reading.saved)

    def _migration(self, name, kind, down=0.0):
        i = self.i
        slow = i[f"{kind}_slow"] - (down if self.reading.down_within else 0)
        return Policy(name, down, slow * i[f"{kind}_loss"], self.rounds, idle=i["spares"])

    def plain(self):
        return self._migration("plain migration", "plain", self.i["plain_down"])

    def live(self):
        return self._migration("live migration", "live")

    def limited(self):
        return self._migration("live migration, limited rate", "limited")

    def seed(self):
        return [self.warm(), self.cold(), self.plain(), self.live(), self.limited()]

    # ---- the two open questions ----

    def own_network(self, left):
        """Live migration over a network of its own, of whose loss so much (0 to 1) is left."""
        return replace(self.live(), name=f"live migration, {left:.0%} of its loss", slow=self.live().slow * left)

    def busy_spare(self, used):
        """Live migration, with a spare host of which so much (0 to 1) does other work."""
        return replace(self.live(), name=f"live migration, spare used {used:.0%}", idle=self.i["spares"] * (1 - used))

    def no_spare(self, reboot):
        """Live migration to hosts that all work: the cluster lacks one host only while one boots."""
        return replace(self.live(), name=f"live migration, no spare, {reboot:.0f} s boot", away=reboot, idle=0.0)

    def renewals_of_one_spare(self, reboot):
        """So many hosts one spare can take the guests of in T, one after the other."""
        return self.period / (self.i["live_slow"] + reboot)

    def enough_spares(self, hosts, reboot):
        """As many spares as are needed to come round in T."""
        spares = math.ceil(hosts / self.renewals_of_one_spare(reboot))
        return replace(self.live(), name=f"live migration, enough spares, {reboot:.0f} s boot", idle=float(spares))

    # ---- watari's ----

    def handover(self, down="handover_down", total="handover_command"):
        """All QEMUs of a host, one after the other; nothing else is done in all the time that takes: an upper bound."""
        i = self.i
        return Policy("watari handover" if down == "handover_down" else "watari handover, slowest in the lab", i[down],
                      i[total] * i["guests"], self.rounds)

    def digests(self):
        """Both ends digest all RAM of a host's guests, one thread, nothing else is done: an upper bound."""
        i = self.i
        return 2 * i["guests"] * i["guest_ram"] / PAGE * i["digest_page"]

    def come_back(self, reboot, part=None):
        """Out as in live migration, a reboot, and home: of what went out, a part crosses the wire again."""
        out = self.no_spare(reboot)
        part = self.i["comeback_bytes"] if part is None else part
        digests = self.digests() if part < 1 else 0.0
        name = "watari evacuation and come-back" if part < 1 else "evacuation and come-back in full"
        return replace(out, name=f"{name}, {reboot:.0f} s boot", slow=out.slow * (1 + part) + digests)

    def reboot_to_beat(self, other):
        """An empty host that boots within so many seconds makes evacuation and come-back better than that."""
        return self.loss(other) - self.loss(self.come_back(0.0))

    # ---- what follows ----

    def loss(self, policy):
        return policy.rounds * self.round_loss + policy.down + policy.slow + policy.away

    def throughput(self, policy, hosts, rate=1.0):
        return rate * (hosts - policy.idle) * (1 - self.loss(policy) / self.period)

    def lost_part(self, policy, hosts):
        """Of what all hosts would do without any renewal."""
        return 1 - self.throughput(policy, hosts) / hosts

    def crossing(self, policy, other):
        """Hosts from which the policy, with idle hosts, is better than the other one, without; None: never."""
        gain = self.loss(other) - self.loss(policy)
        if other.idle:
            raise ValueError("the other policy has idle hosts, too")
        return policy.idle * (self.period - self.loss(policy)) / gain if gain > 0 else None
