# SPDX-License-Identifier: BSD-3-Clause
"""figures.py - what every benchmark does with its figures: medians of interleaved runs, as lines for people and as JSON."""

import argparse
import json
import statistics


def options(doc, runs=5):
    """--json and --runs N"""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--runs", type=int, default=runs)
    return parser.parse_args()


def interleave(contenders, runs):
    """{name: [figures of each run]}; contenders are functions that answer {metric: value}, one of each in turn."""
    found = {name: [] for name in contenders}
    for _ in range(runs):
        for name, run in contenders.items():
            found[name].append(run())
    return found


def spread(values):
    middle = statistics.median(values)
    return max(abs(value - middle) for value in values) / middle if middle else 0


def print_line(args, bench, metric, case, unit, better, baseline, pairs):
    """One metric of one case; pairs: [(value, baseline's value in the same run)]; baseline None: there is none."""
    mine, other = ([pair[i] for pair in pairs] for i in (0, 1))
    value = statistics.median(mine)
    base = statistics.median(other) if baseline else None
    line = {"bench": bench, "metric": metric, "case": case, "unit": unit, "better": better, "value": round(value, 3),
            "baseline": baseline, "baseline_value": round(base, 3) if baseline else None,
            "ratio": round(value / base, 3) if base else None, "runs": len(mine),
            "spread": round(max(spread(mine), spread(other) if baseline else 0), 3)}
    if args.json:
        print(json.dumps(line), flush=True)
    else:
        against = f"{baseline} {base:.1f} {unit}  ratio {line['ratio']}  " if baseline else ""
        print(f"{case:12} {metric:24} {value:12.1f} {unit:4}  {against}({better} is better; {len(mine)} runs, "
              f"spread {line['spread']:.0%})", flush=True)


def report(args, bench, case, found, ours, baseline, metrics):
    """A line for each of metrics, {metric: (unit, better)}, of what interleave has found."""
    for metric, (unit, better) in metrics.items():
        print_line(args, bench, metric, case, unit, better, baseline,
                   [(mine[metric], other[metric]) for mine, other in zip(found[ours], found[baseline])])
