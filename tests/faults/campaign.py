#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""campaign.py SCENARIO [--part I/N] [--sample COUNT] [--only TEXT,...] [--out FILE] - one fault at each place, each in its turn.

For calls, a first run without a fault records the places that the scenario reaches (calls.py); then it runs once for each place and
each way in which that call may fail, with that fault (migrations.py, gangs.py, jobs.py). steps.py, networks.py and limits.py have
lists of their own. Each result is a line of JSON in FILE: component, kind, name of the point, what was said, and the result:
survived (all went on as if nothing had been), refused (a sentence, and all is as before), recovered (after `watari recover`), lost as
promised (the only host that had it is gone), not reached, or broken. Points that FILE has already are left out,
so a campaign is resumed by running it again. --part takes one of N shares of the points. --list prints the points; --sample takes some at random, WATARI_SEED=N repeats the
choice. Exit code 1 if any is broken.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import time
import zlib

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]

from harness.hosts import Failure  # noqa: E402

import calls  # noqa: E402
import daemons  # noqa: E402
import devices  # noqa: E402
import gangs  # noqa: E402
import jobs  # noqa: E402
import limits  # noqa: E402
import migrations  # noqa: E402
import networks  # noqa: E402
import steps  # noqa: E402

MAY_LEAVE = ("unlink", "flock")  # files that could not be removed; a lock file that was not ours to remove


class Calls:
    """Each call that a scenario reaches fails in each way."""

    def __init__(self, scenario, but=None):
        self.scenario, self.world, self.but = scenario, scenario.world, but

    def points(self):
        """[(component, kind, name, (component, site, how))], without what another scenario reaches, too"""
        found = self.record(self.scenario)
        others = {component: {site[:2] for site in sites} for component, sites in self.record(self.but(self.world)).items()} \
            if self.but else {}
        return [(component, kind, f"{component}: {site.name}: {calls.word(how, site.call)}", (component, site, how))
                for component, sites in found.items() for site in sites
                if site.call.startswith(getattr(self.scenario, "only", "")) and site[:2] not in others.get(component, ())
                for kind, how in calls.ways(site.call)]

    def record(self, scenario):
        """{component: [site]}"""
        files = {component: os.path.join(self.world.host.guest_dir, f"{component}.sites") for component in scenario.components}
        for path in files.values():
            if os.path.exists(path):
                os.unlink(path)
        for _ in range(2):  # what depends on timing is found more often
            left, said = scenario.run({component: migrations.preload(RECORD=path, **scenario.words)
                                            for component, path in files.items()})
            if left != "destination" or said:
                raise Failure(f"without a fault: {left}: {said}")
        found = {}
        for component, path in files.items():
            with open(path, encoding="ascii") as file:
                found[component] = [site for site in calls.name_sites(scenario.binary, file.read().splitlines())
                                    if not site.name.startswith(getattr(scenario, "foreign", "\n"))]
        return found

    def run(self, what):
        component, site, how = what
        fired = os.path.join(self.world.host.guest_dir, "fired")
        if os.path.exists(fired):
            os.unlink(fired)
        words = {"": f"{site.call} {site.offset} {how.rstrip('+')} {'1+' if how.endswith('+') else '1'}", "FIRED": fired}
        left, said = self.scenario.run({component: migrations.preload(**words, **self.scenario.words)})
        if any(call in site.call for call in MAY_LEAVE):
            self.world.clear()
        migrations.leftovers(self.world, self.scenario.keeps)
        if not os.path.exists(fired):
            return "not reached", said
        return migrations.outcome(left, said)


SCENARIOS = {
    "plain": lambda world: Calls(migrations.Plain(world)), "replica": lambda world: Calls(migrations.Replica(world), but=migrations.Plain),
    "daemon": lambda world: Calls(daemons.Daemon(world)), "gang": lambda world: Calls(gangs.Together(world)), "quiesce": lambda world: Calls(jobs.Quiesce(world)),
    "resume": lambda world: Calls(jobs.Resume(world)), "rank": lambda world: Calls(jobs.Rank(world)),
    "verbs": lambda world: Calls(migrations.Verbs(world)), "daemon-verbs": lambda world: Calls(daemons.DaemonVerbs(world)),
    "verbs-device": devices.Devices, "steps": steps.Steps, "network": networks.Networks, "limits": limits.Limits}


def try_point(world, scenario, what):
    """(result, what was said)"""
    try:
        return scenario.run(what)
    except Failure as failure:
        world.drop()
        return "broken", [str(failure)]


def digest():
    """Of all that results depend on: the programs, and this directory."""
    made = hashlib.sha256()
    names = [os.path.join(migrations.BUILD, name) for name in ("watari", "watari-mpi", "openmpi/mca_btl_watari.so", "tests/libfault.so")]
    here = os.path.dirname(os.path.abspath(__file__))
    for path in [*names, *sorted(os.path.join(here, name) for name in os.listdir(here) if name.endswith((".py", ".S")))]:
        if os.path.exists(path):
            with open(path, "rb") as file:
                made.update(file.read())
    return made.hexdigest()[:12]


def kept(directory, name, part):
    """The file for a part's results in the directory; those of other programs go."""
    os.makedirs(directory, exist_ok=True)
    stem = f"{name}-{part.replace('/', '-of-')}"
    path = os.path.join(directory, f"{stem}.{digest()}.jsonl")
    for found in os.listdir(directory):
        if found.startswith(f"{stem}.") and found != os.path.basename(path):
            os.unlink(os.path.join(directory, found))
    return path


def known(path):
    if not path or not os.path.exists(path):
        return set()
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return {line["name"] for line in lines if line["result"] not in ("broken", "not reached")}


def run(name, chosen, world, scenario, out, seconds):
    """How many are broken"""
    broken, began = 0, time.monotonic()
    for point in chosen:
        start = time.monotonic()
        if start - began > seconds:
            print("  the rest is left for another time", flush=True)
            break
        component, kind, what_name, what = point
        result, said = try_point(world, scenario, what)
        line = {"component": component, "kind": kind, "name": f"{name} {what_name}", "result": result, "said": said,
                "s": round(time.monotonic() - start, 1)}
        broken += result == "broken"
        print(f"  {line['name']}: {result} ({line['s']} s); {' | '.join(said)}", flush=True)
        if out:
            with open(out, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return broken


def choose(points, name, given):
    points = [point for point in points if any(text in point[2] for text in given.only.split(","))]
    if given.exactly:
        with open(given.exactly, encoding="ascii") as file:
            wanted = {line.strip() for line in file if line.strip() and not line.startswith("#")}
        points = [point for point in points if f"{name} {point[2]}" in wanted]
    if given.sample:
        seed = int(os.environ.get("WATARI_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"  WATARI_SEED={seed} repeats this choice", flush=True)
        points = random.Random(seed).sample(points, min(given.sample, len(points)))
    part, parts = map(int, given.part.split("/"))
    had = known(given.out).union(*map(known, given.had))
    return [point for point in points if part_of(full := f"{name} {point[2]}", parts) == part and full not in had]


def part_of(name, parts):
    """By the name alone: each part finds points of its own, and not quite the same ones."""
    return zlib.crc32(name.encode()) % parts + 1


def unusable(name):
    """Why a scenario cannot run here, or None."""
    if not os.path.exists(migrations.LIBRARY):
        return "needs tests/libfault.so, of a build without sanitizers"
    if name in ("quiesce", "resume", "rank") and not os.path.exists(jobs.Rank.binary):
        return "needs a build with Open MPI"
    return None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", default="")
    parser.add_argument("--exactly", default="", help="a file with the names of the points to be tried, one a line")
    parser.add_argument("--had", nargs="*", default=[], help="more files of results")
    parser.add_argument("--keep", default="", help="a directory for results, in place of --out: resumed as long as nothing changes")
    parser.add_argument("--for", dest="seconds", type=float, default=1e9, help="begin no point after so many seconds")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def main():
    given = arguments()
    if reason := unusable(given.scenario):
        print(f"skipped: {reason}")
        return 77
    if given.keep:
        given.out = kept(given.keep, given.scenario, given.part)
    world = migrations.World()
    try:
        scenario = SCENARIOS[given.scenario](world)
        points = scenario.points()
        chosen = choose(points, given.scenario, given)
        print(f"  {len(points)} points, {len(chosen)} of them to be tried", flush=True)
        if given.list:
            print("\n".join(f"{given.scenario} {point[2]}" for point in points))
            return 0
        return 1 if run(given.scenario, chosen, world, scenario, given.out, given.seconds) else 0
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
