#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""table.py [--points] FILE... - what campaigns have found: a table by component and kind of fault, and all that is broken.

FILEs are those of campaign.py --out. --points prints each place instead, with what came of each way in which it failed. The
last result of a point counts. Exit code 1 if a point is broken.
"""

import collections
import json
import sys

GOOD = ("survived", "refused", "recovered", "lost as promised")
SHORT = {"survived": "s", "refused": "r", "recovered": "R", "lost as promised": "L", "not reached": "-", "broken": "BROKEN"}


def load(paths):
    """{name: result}"""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in map(json.loads, file):
                if found.get(line["name"], {}).get("result") in GOOD and line["result"] == "not reached":
                    continue  # it was, another time
                found[line["name"]] = line
    return found


def row(words):
    return "| " + " | ".join(str(word) for word in words) + " |"


def count(lines):
    tally = collections.Counter(line["result"] for line in lines)
    return [sum(tally[result] for result in (*GOOD, "broken")), *(tally[result] for result in GOOD), tally["broken"], tally["not reached"]]


def table(found):
    head = ["component", "fault", "tried", *GOOD, "broken", "not reached"]
    print(row(head) + "\n" + row("---" for _ in head))
    groups = collections.defaultdict(list)
    for line in found.values():
        groups[line["component"], line["kind"]].append(line)
    for (component, kind), lines in sorted(groups.items()):
        print(row([component, kind, *count(lines)]))
    print(row(["all", "", *count(found.values())]))
    kept = [line for line in found.values() if line["result"] in GOOD]
    broken = [line for line in found.values() if line["result"] == "broken"]
    print(f"\n{len(kept) + len(broken)} faults tried, {len(kept)} ended as promised, {len(broken)} broken")
    for line in broken:
        print(f"- broken: {line['name']}: {line['said']}")
    return bool(broken)


def points(found):
    """One line for each place."""
    places = collections.defaultdict(list)
    for line in found.values():
        place, _, way = line["name"].rpartition(": ")
        places[place].append(f"{way} {SHORT[line['result']]}")
    for place, ways in sorted(places.items()):
        print(f"{place}: {', '.join(ways)}")


def main():
    paths = [word for word in sys.argv[1:] if not word.startswith("--")]
    if not paths:
        print(__doc__)
        return 2
    found = load(paths)
    if "--points" in sys.argv[1:]:
        points(found)
        return 0
    return table(found)


if __name__ == "__main__":
    sys.exit(main())
