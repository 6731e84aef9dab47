#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""campaign.py SCENARIO [--part I/N] [--sample COUNT] [--only TEXT] [--out FILE] - one fault at each place, each in its turn.

A first run without a fault records the places that the scenario reaches (calls.py); then it runs once for each place and each
way in which that call may fail, with that fault (migrations.py). Each result is a line of JSON in FILE: component, kind, name of
the point, result (survived, refused, recovered, broken, not reached), and what was said. Points that FILE has already are left out,
so a campaign is resumed by running it again. --list prints the points; --sample takes some at random, WATARI_SEED=N repeats the
choice. Exit code 1 if any is broken.
"""

import argparse
import json
import os
import random
import sys
import time

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]

from harness.hosts import Failure  # noqa: E402

import calls  # noqa: E402
import gangs  # noqa: E402
import jobs  # noqa: E402
import migrations  # noqa: E402

SCENARIOS = {"plain": migrations.Plain, "replica": migrations.Replica, "gang": gangs.Together, "quiesce": jobs.Quiesce,
             "resume": jobs.Resume, "rank": jobs.Rank}
MAY_LEAVE = ("unlink", "flock")  # files that could not be removed; a lock file that was not ours to remove


def record(world, scenario):
    """{component: [site]}"""
    files = {component: os.path.join(world.host.guest_dir, f"{component}.sites") for component in scenario.components}
    for _ in range(2):  # what depends on timing is found more often
        left, said = scenario.run({component: migrations.preload(RECORD=path, **scenario.words)
                                   for component, path in files.items()})
        if left != "destination" or said:
            raise Failure(f"without a fault: {left}: {said}")
    found = {}
    for component, path in files.items():
        with open(path, encoding="ascii") as file:
            found[component] = calls.name_sites(scenario.binary, file.read().splitlines())
    return found


def points_of(sites):
    """[(component, kind, site, how)]"""
    return [(component, kind, site, how) for component, found in sites.items() for site in found
            for kind, how in calls.ways(site.call)]


def name_of(scenario, point):
    component, _, site, how = point
    return f"{scenario} {component}: {site.name}: {calls.word(how)}"


def try_point(world, scenario, point):
    """(result, what was said)"""
    component, _, site, how = point
    fired = os.path.join(world.host.guest_dir, "fired")
    if os.path.exists(fired):
        os.unlink(fired)
    nth = "1+" if how.endswith("+") else "1"
    what = f"{site.call} {site.offset} {how.rstrip('+')} {nth}"
    env = {component: migrations.preload(**{"": what, "FIRED": fired, **scenario.words})}
    try:
        left, said = scenario.run(env)
        if not any(call in site.call for call in MAY_LEAVE):
            migrations.leftovers(world, scenario.keeps)
    except Failure as failure:
        world.drop()
        return "broken", [str(failure)]
    if not os.path.exists(fired):
        return "not reached", said
    if any(word.startswith("recover: ") for word in said):
        return "recovered", [f"left is the {left}", *said]
    return ("survived" if left == "destination" else "refused"), said


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
        result, said = try_point(world, scenario, point)
        line = {"component": point[0], "kind": point[1], "name": name_of(name, point), "result": result, "said": said,
                "s": round(time.monotonic() - start, 1)}
        broken += result == "broken"
        print(f"  {line['name']}: {result} ({line['s']} s); {' | '.join(said)}", flush=True)
        if out:
            with open(out, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return broken


def choose(points, name, given):
    points = [point for point in points if given.only in name_of(name, point)]
    if given.sample:
        seed = int(os.environ.get("WATARI_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"  WATARI_SEED={seed} repeats this choice", flush=True)
        points = random.Random(seed).sample(points, min(given.sample, len(points)))
    part, parts = map(int, given.part.split("/"))
    had = known(given.out)
    return [point for point in points[part - 1::parts] if name_of(name, point) not in had]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", default="")
    parser.add_argument("--for", dest="seconds", type=float, default=1e9, help="begin no point after so many seconds")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def main():
    given = arguments()
    world = migrations.World()
    try:
        scenario = SCENARIOS[given.scenario](world)
        points = points_of(record(world, scenario))
        chosen = choose(points, given.scenario, given)
        print(f"  {len(points)} points, {len(chosen)} of them to be tried", flush=True)
        if given.list:
            print("\n".join(name_of(given.scenario, point) for point in points))
            return 0
        return 1 if run(given.scenario, chosen, world, scenario, given.out, given.seconds) else 0
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
