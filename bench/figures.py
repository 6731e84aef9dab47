# SPDX-License-Identifier: BSD-3-Clause
"""figures.py - what every benchmark does with its figures: medians of interleaved runs, as lines for people and as JSON."""

import argparse
import json
import statistics


def parser(doc, runs=5):
    """Of --json and --runs N; more may be added."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", action="store_true")
    made.add_argument("--runs", type=int, default=runs)
    return made


def options(doc, runs=5):
    return parser(doc, runs).parse_args()


def interleave(contenders, runs):
    """{name: [figures of each run]}; contenders are functions that answer {metric: value}, one of each in turn, each time another
    one first: who comes behind whom may matter."""
    found, names = {name: [] for name in contenders}, list(contenders)
    for turn in range(runs):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(contenders[name]())
    return found


def spread(values):
    middle = statistics.median(values)
    return max(abs(value - middle) for value in values) / middle if middle else 0


def show(args, bench, case, metric, unit, better, ours, baseline=None, others=()):
    """A line for one metric: figures of our runs, and of the runs of a baseline, if there is one."""
    value, base = statistics.median(ours), statistics.median(others) if others else None
    line = {"bench": bench, "metric": metric, "case": case, "unit": unit, "better": better, "value": round(value, 3),
            "baseline": baseline, "baseline_value": round(base, 3) if others else None,
            "ratio": round(value / base, 3) if base else None,
            "runs": len(ours), "spread": round(max(spread(ours), spread(others) if others else 0), 3)}
    if args.json:
        print(json.dumps(line), flush=True)
        return
    against = f"{baseline} {base:10.1f} {unit:4}  ratio {line['ratio']}  " if others else ""
    print(f"{case:12} {metric:24} {value:10.1f} {unit:4}  {against}"
          f"({better} is better; {len(ours)} runs, spread {line['spread']:.0%})", flush=True)


def report(args, bench, case, found, ours, baseline, metrics):
    """A line for each of metrics, {metric: (unit, better)}, of what interleave has found."""
    for metric, (unit, better) in metrics.items():
        mine, other = ([run[metric] for run in found[name]] for name in (ours, baseline))
        show(args, bench, case, metric, unit, better, mine, baseline, other)
