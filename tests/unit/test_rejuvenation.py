#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_rejuvenation.py - the model of a cluster that renews itself (bench/rejuvenation): the seed's ranking and crossing, limits
that can be worked out by hand, units, and that docs/REJUVENATION.md says what the model says."""

import json
import os
import re
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))

from rejuvenation import pages  # noqa: E402
from rejuvenation.model import BadInput, Cluster, INPUTS, Reading, load  # noqa: E402

SIZES = [2, 10, 100, 1000, 5000, 20000, 10 ** 5, 10 ** 6, 10 ** 8]


class Seed(unittest.TestCase):
    def setUp(self):
        self.c = Cluster()

    def test_by_hand(self):
        c = self.c
        self.assertAlmostEqual(c.round_loss, 41 + 0.35 * 41 * 10)
        self.assertAlmostEqual(c.loss(c.warm()), 4 * 184.5 + 59 + 25 * 0.61)
        self.assertAlmostEqual(c.loss(c.cold()), 3 * 184.5 + 219 + 397 * 0.72)
        self.assertAlmostEqual(c.loss(c.live()), 4 * 184.5 + 181 * 0.57)
        self.assertAlmostEqual(c.loss(c.plain()), 4 * 184.5 + 15 + (165 - 15) * 0.60)

    def test_warm_is_always_best(self):
        c = self.c
        for n in SIZES:
            best = max(c.seed(), key=lambda policy: c.throughput(policy, n))
            self.assertEqual(best.name, "warm reboot", n)

    def test_migration_and_cold_reboot(self):
        c = self.c
        for policy in (c.plain(), c.live(), c.limited()):
            at = c.crossing(policy, c.cold())
            self.assertGreater(at, 10000)
            for n, better in ((at * 0.999, False), (at * 1.001, True)):
                self.assertEqual(c.throughput(policy, n) > c.throughput(c.cold(), n), better, (policy.name, n))

    def test_the_crossing(self):
        c = self.c
        for policy in (c.live(), c.plain()):
            self.assertLess(abs(c.crossing(policy, c.cold()) / c.i["crossing"] - 1), 0.05)

    def test_plain_migration_stops_one_guest_after_the_other(self):
        """Why its downtime is a part of its time: all guests' downtimes together are that time."""
        self.assertEqual(self.c.i["guests"] * self.c.i["plain_down"], self.c.i["plain_slow"])

    def test_readings_that_do_not_fit_are_not_used(self):
        for reading in (Reading(saved=0.5), Reading(in_turn=False)):
            c = Cluster(reading=reading)
            self.assertGreater(abs(c.crossing(c.live(), c.cold()) / c.i["crossing"] - 1), 0.05)
        c = Cluster(reading=Reading(down_within=False))
        self.assertGreater(abs(c.crossing(c.plain(), c.cold()) / c.i["crossing"] - 1), 0.05)
        self.assertEqual(Cluster().reading, Reading())


class Limits(unittest.TestCase):
    def setUp(self):
        self.c = Cluster()

    def test_every_loss_makes_it_worse(self):
        inputs = load()
        for name in ("os_down", "os_loss", "warm_down", "warm_slow", "warm_loss", "cold_down", "cold_slow", "cold_loss",
                     "plain_down", "plain_slow", "plain_loss", "live_slow", "live_loss", "limited_slow", "limited_loss", "spares",
                     "handover_down", "handover_command", "comeback_bytes", "digest_page", "guest_ram"):
            more = Cluster({**inputs, name: inputs[name] * 1.1})

            def all_of(c):
                found = c.seed() + [c.handover(), c.come_back(100)]
                return [c.throughput(policy, 50) for policy in found]

            pairs = list(zip(all_of(self.c), all_of(more)))
            self.assertTrue(all(worse <= was for was, worse in pairs), name)
            self.assertTrue(any(worse < was for was, worse in pairs), name)

    def test_more_hosts_do_more(self):
        for policy in self.c.seed() + [self.c.handover(), self.c.come_back(219)]:
            done = [self.c.throughput(policy, n) for n in SIZES]
            self.assertEqual(done, sorted(set(done)))
            self.assertLess(done[0], SIZES[0])

    def test_the_rate_is_a_factor(self):
        c = self.c
        self.assertAlmostEqual(c.throughput(c.live(), 30, rate=7.0), 7 * c.throughput(c.live(), 30))

    def test_a_network_of_its_own(self):
        c = self.c
        at = [c.crossing(c.own_network(left), c.cold()) for left in (0, 0.3, 0.6, 1)]
        self.assertEqual(at, sorted(at))
        self.assertAlmostEqual(at[-1], c.crossing(c.live(), c.cold()))
        self.assertIsNone(c.crossing(c.own_network(1), c.warm()))
        self.assertGreater(c.crossing(c.own_network(0), c.warm()), at[0])

    def test_a_spare_that_works(self):
        c = self.c
        at = [c.crossing(c.busy_spare(used), c.cold()) for used in (0, 0.5, 0.75)]
        self.assertAlmostEqual(at[1], at[0] / 2)
        self.assertAlmostEqual(at[2], at[0] / 4)
        self.assertEqual(c.busy_spare(1).idle, 0)
        self.assertEqual(c.loss(c.no_spare(0)), c.loss(c.live()))

    def test_enough_spares(self):
        c = self.c
        fit = int(c.renewals_of_one_spare(219))
        self.assertEqual((c.enough_spares(fit, 219).idle, c.enough_spares(fit + 1, 219).idle), (1, 2))
        for hosts in (10, 6000, 11000, 10 ** 5, 10 ** 7):
            for boot in (59, 219):
                self.assertGreater(c.lost_part(c.enough_spares(hosts, boot), hosts), c.lost_part(c.cold(), hosts))

    def test_watari(self):
        c = self.c
        self.assertAlmostEqual(c.loss(c.handover()), 738 + 0.0085 + 11 * 0.073)
        self.assertAlmostEqual(c.digests(), 2 * 11 * 262144 * 1143e-9)
        self.assertAlmostEqual(c.loss(c.come_back(219, 1.0)), 738 + 2 * 181 * 0.57 + 219)
        self.assertAlmostEqual(c.loss(c.come_back(c.reboot_to_beat(c.cold()))), c.loss(c.cold()))


class Inputs(unittest.TestCase):
    def with_input(self, **change):
        with open(INPUTS, encoding="utf-8") as file:
            groups = json.load(file)
        groups["seed"]["os_down"].update(change)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(groups, file)
            file.flush()
            return load(file.name)

    def test_units(self):
        i = load()
        self.assertEqual(i["vmm_every"], 28 * 86400)
        self.assertAlmostEqual(i["handover_down"], 0.0085)
        self.assertAlmostEqual(i["os_loss"], 0.35)
        self.assertEqual(i["guest_ram"], 1 << 30)
        self.assertEqual(self.with_input(value=41000, unit="ms")["os_down"], i["os_down"])

    def test_refused(self):
        for change in ({"unit": "min"}, {"source": ""}):
            with self.assertRaises(BadInput):
                self.with_input(**change)

    def test_measured_ones_are_in_the_file_that_they_name(self):
        with open(INPUTS, encoding="utf-8") as file:
            measured = json.load(file)["watari"]
        for name, given in measured.items():
            with open(os.path.join(ROOT, given["source"].split(",")[0]), encoding="utf-8") as file:
                self.assertRegex(file.read(), rf"\b{re.escape(str(given['value']))}\b", name)


class Page(unittest.TestCase):
    def test_its_tables_are_the_model_s(self):
        with open(pages.PAGE, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text, pages.with_tables(text, load()), "bench/bench_rejuvenation.py --write renews them")

    def test_its_figures_are_there(self):
        with open(pages.PAGE, encoding="utf-8") as file:
            named = re.findall(r"\]\((figures/[^)]+)\)", file.read())
        self.assertEqual(len(named), 4)
        for name in named:
            self.assertTrue(os.path.getsize(os.path.join(ROOT, "docs", name)))


if __name__ == "__main__":
    unittest.main()
