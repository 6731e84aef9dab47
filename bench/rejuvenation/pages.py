# SPDX-License-Identifier: BSD-3-Clause
"""pages.py - the tables and figures of docs/REJUVENATION.md, made of the model: a table stands between the lines
`<!-- table NAME -->` and `<!-- end -->`, a figure is an SVG that gnuplot draws (figures.gp)."""

import json
import os
import re
import subprocess
import tempfile

from .model import Cluster, INPUTS, Reading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs", "REJUVENATION.md")
FIGURES = os.path.join(ROOT, "docs", "figures")
HOSTS = [round(10 ** (1 + step / 20)) for step in range(81)]  # 10 to 100,000
PARTS = [step / 50 for step in range(51)]
READINGS = {
    "as used: a cold reboot saves one round; guests are renewed in turn; migration's downtime is within its time": Reading(),
    "migration's downtime comes on top": Reading(down_within=False),
    "a cold reboot saves half a round (it falls anywhere between two)": Reading(saved=0.5),
    "the others lose 35 % during one renewal of a round, not during each": Reading(in_turn=False),
}


def _table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def _hosts(value):
    return "never" if value is None else f"{value:,.0f}"


def _off(value, wanted):
    return f"{_hosts(value)} ({value / wanted - 1:+.1%})"


def readings(inputs):
    rows = []
    for text, reading in READINGS.items():
        c = Cluster(inputs, reading)
        rows.append([text] + [_off(c.crossing(m, c.cold()), inputs["crossing"]) for m in (c.plain(), c.live(), c.limited())])
    return _table(["reading", "plain", "live", "limited rate"], rows)


def _policy_row(c, policy):
    down = "not counted" if not policy.down else f"{policy.down:.0f} s" if policy.down >= 1 else f"{policy.down * 1e3:.1f} ms"
    return [policy.name, down, f"{policy.slow:.1f}", f"{policy.away:.0f}", f"{policy.rounds * c.round_loss:.1f}",
            f"{c.loss(policy):.1f}", f"{policy.idle:.0f}"] + [f"{c.throughput(policy, n):,.3f}" for n in (100, 1000, 11000)]


def policies(inputs):
    c = Cluster(inputs)
    found = c.seed() + [c.handover(), c.handover("nested_down", "nested_total")]
    found += [c.come_back(c.i[kind]) for kind in ("host_reboot", "host_reload")] + [c.come_back(c.i["host_reboot"], 1.0)]
    head = ["policy", "a guest is down for", "slow", "away", "OS rounds", "loss", "idle hosts", "of 100", "of 1,000", "of 11,000"]
    return _table(head, [_policy_row(c, policy) for policy in found])


def network(inputs):
    c = Cluster(inputs)
    rows = []
    for left in (1.0, 0.75, 0.5, 0.25, 0.0):
        policy = c.own_network(left)
        rows.append([f"{left:.0%}", f"{c.loss(policy):.1f}", _hosts(c.crossing(policy, c.cold())), _hosts(c.crossing(policy, c.warm()))])
    return _table(["of live migration's loss is left", "loss", "better than cold reboot from", "than warm reboot from"], rows)


def spare(inputs):
    c = Cluster(inputs)
    rows = []
    for used in (0.0, 0.5, 0.9, 0.99):
        rows.append([f"one spare, {used:.0%} used", f"{c.loss(c.live()):.1f}", _hosts(c.crossing(c.busy_spare(used), c.cold()))])
    for kind in ("host_reboot", "host_reload"):
        policy = c.no_spare(c.i[kind])
        verdict = "at any size" if c.loss(policy) < c.loss(c.cold()) else "never"
        rows.append([f"no spare, an empty host boots in {c.i[kind]:.0f} s", f"{c.loss(policy):.1f}", verdict])
    return _table(["live migration", "loss", "better than cold reboot from"], rows)


def rounds(inputs):
    """How many spares a cluster needs to come round at all, and what that does to the ranking."""
    c = Cluster(inputs)
    rows = []
    for kind in ("host_reboot", "host_reload"):
        for hosts in (5000, 11000, 100000):
            policy = c.enough_spares(hosts, c.i[kind])
            rows.append([f"{c.i[kind]:.0f} s", f"{hosts:,}", f"{policy.idle:.0f}", f"{c.lost_part(policy, hosts) * 1e6:.0f}",
                         f"{c.lost_part(c.cold(), hosts) * 1e6:.0f}"])
    return _table(["an empty host boots in", "hosts", "spares", "lost, millionths", "by cold reboots"], rows)


def sources(_):
    with open(INPUTS, encoding="utf-8") as file:
        groups = json.load(file)
    return _table(["input", "value", "source"],
                  [[f"`{name}`", f"{given['value']} {given['unit'] if given['unit'] != '1' else ''}".strip(), given["source"]]
                   for group in groups.values() for name, given in group.items()])


TABLES = {"readings": readings, "policies": policies, "network": network, "spare": spare, "rounds": rounds, "inputs": sources}


def with_tables(text, inputs):
    """The page's text with its tables as the model has them now."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.S)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{PAGE}: there must be one table {name}")
        table = make(inputs)
        text = pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)
    return text


def curves(inputs):
    """{figure: rows of numbers}, the first one of a row is x; nothing better is NaN."""
    c = Cluster(inputs)
    seed = c.seed()
    ours = [c.warm(), c.cold(), c.live(), c.come_back(c.i["host_reboot"]), c.come_back(c.i["host_reload"]), c.handover()]

    def crossing(policy, other):
        found = c.crossing(policy, other)
        return float("nan") if found is None else found

    return {
        "throughput": [[n] + [c.lost_part(policy, n) * 1e6 for policy in seed] for n in HOSTS],
        "watari": [[n] + [c.lost_part(policy, n) * 1e6 for policy in ours] for n in HOSTS],
        "network": [[left, crossing(c.own_network(left), c.cold()), crossing(c.own_network(left), c.warm())] for left in PARTS],
        "spare": [[used, crossing(c.busy_spare(used), c.cold())] for used in PARTS[:-1]],
    }


def write(inputs):
    with open(PAGE, encoding="utf-8") as file:
        text = with_tables(file.read(), inputs)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(text)
    with tempfile.TemporaryDirectory(prefix="watari-figures-") as directory:
        for name, rows in curves(inputs).items():
            with open(os.path.join(directory, f"{name}.dat"), "w", encoding="utf-8") as file:
                file.writelines(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows)
        subprocess.run(["gnuplot", "-e", f"data='{directory}'; out='{FIGURES}'",
                        os.path.join(os.path.dirname(os.path.abspath(__file__)), "figures.gp")], check=True)
