# SPDX-License-Identifier: BSD-3-Clause
"""journey.py - a driven migration whose destination is changed on the way."""

from .cases import expect
from .guests import Guest
from .hosts import wait_for
from .migration import Receive, events, install_key, watari

GUEST = {"mb": 192, "work_mb": 80, "rate": 300}
SLOW = ["--max-rate", "16M"]


class Journey:
    """A guest on its way, and QEMUs that may await it, on the same host or on `others`. source: what its Guest has besides;
    receive: options of every destination; fabrics: what each of them offers; envs: of each one's relay; paused: its operator has
    stopped it."""

    def __init__(self, host, image, destinations, options=(), source=(), receive=(), others=(), fabrics=(), envs=(),
                 paused=False, **guest):
        self.host = host
        size = {**GUEST, **guest}
        self.source = Guest(host, image, **size, **dict(source))
        self.source.wait_reports(2)
        self.paused = paused
        if paused:
            self.source.call("stop")
        where = others or [host] * destinations
        secure = [["--psk", key] for key in install_key([host, *where])] if others else [["--insecure"]] * (1 + destinations)
        self.ends = [Receive(Guest(where[i], image, incoming=True, **size), *secure[1 + i], *receive,
                             *(["--fabric", fabrics[i]] if fabrics else ()), "--job", f"end{i}",
                             address=where[i].address if others else "127.0.0.1", env=envs[i] if envs else None)
                     for i in range(destinations)]
        self.sender = host.start([watari(), "send", "--qmp", self.source.qmp, "--json", *secure[0], "--verify", *SLOW, *options,
                                  self.ends[0].target()], "send")

    def progress(self):
        return next((e for e in reversed(events(self.sender)) if e["event"] == "progress"), {})

    def part(self):
        """How much of the first pass QEMU has sent; 1 when it has been sent."""
        at = self.progress()
        return 1 - at["remaining_bytes"] / at["total_bytes"] if at.get("total_bytes") else 0

    def wait_part(self, part):
        wait_for(lambda: self.part() >= part or not self.sender.running(), f"{part:.0%} of the first pass")
        expect(self.sender.running(), f"the guest moved too early: {self.sender.tail()}")

    def retarget(self, end, *options):
        """(exit code, output)"""
        target = end if isinstance(end, str) else self.ends[end].target()
        return self.host.call([watari(), "retarget", "vm", "--to", target, *options], 60)

    def change(self, end, *options):
        code, text = self.retarget(end, *options)
        expect(code == 0, f"retarget to {end}: {code} {text}; send: {self.sender.tail()}")

    def arrived(self, end, dead=None):
        """The guest runs there and nowhere else, and its memory is right. Answers the summary. dead: whose relay was killed."""
        code = self.sender.wait(240)
        expect(code == 0, f"send: {code} {self.sender.tail()}; receive: {self.ends[end].process.tail()}")
        for i, other in enumerate(self.ends):
            if i == dead:
                continue
            if other.process.running() or i == end:
                expect(other.process.wait(30) == 0, f"receive {i}: {other.process.tail()}")
            if i != end:
                other.guest.ended()
        self.source.ended()
        if self.paused:
            status = self.ends[end].guest.status()
            expect(status not in ("running", None), f"the guest was paused, and is {status} now")
            self.ends[end].guest.call("cont")
        self.ends[end].guest.wait_round()
        return next(e for e in events(self.sender) if e["event"] == "summary")
