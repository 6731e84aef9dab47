#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_gang_files.py CASE... - the coordinator of `watari gang --checkpoint` and `--restore` alone: `watari checkpoint` and `watari
restore` are stubs (harness/gang_stub.py), with files in place of QEMUs.

  order    nobody goes on before all hold; the second checkpoint adds to the first, and the first one is removed
  fails    a guest fails, hangs until it is called back, or does not come to disk; a signal; guests that cannot be restored
  refused  folders of others, plans that do not fit, options
  dies     the coordinator is killed at each step; the same command does it
"""

import json
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main, need_sabotage  # noqa: E402
from harness.gang import Gang, summary  # noqa: E402
from harness.gang_stub import read, write  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from test_gang_stub import STUB, StubMember  # noqa: E402

GUESTS = 3


class Files:
    """Three guests, a plan, a folder."""

    def __init__(self, host, **plan):
        self.host, self.folder = host, f"{host.run_dir}/job"
        self.members = [StubMember(host, f"vm{number}", number) for number in range(GUESTS)]
        self.log = f"{host.run_dir}/order"
        self.run_here()
        self.gang = Gang(host, self.members, **{"watari": STUB, "hold_s": 60, **plan})

    def run_here(self):
        for member in self.members:
            write(member.from_path, "running")

    def crash(self):
        """All guests are lost, and others wait."""
        for member in self.members:
            if os.path.exists(member.from_path):
                os.unlink(member.from_path)
            write(member.to_path, "inmigrate")

    def where(self, end):
        return {read(getattr(member, f"{end}_path")) for member in self.members}

    def start(self, *words, env=None):
        write(self.log, "")
        return self.gang.start(*words, env=env)

    def run(self, code, result, *words, env=None):
        """Its sentences on standard error."""
        process = self.start(*words, env=env)
        found = process.wait(120)
        expect(found == code, f"exit code {found}, not {code}: {process.tail(12)}")
        if result:
            expect(summary(process)["result"] == result, f"{summary(process)}")
        return [line for line in process.lines if line.startswith("watari: ")]

    def save(self, code=0, result="saved", **more):
        said = self.run(code, result, "--checkpoint", self.folder, "--of", "weather", **more)
        expect(self.where("from") == {"running"}, f"not all guests go on: {self.where('from')}")
        return said

    def restore(self, code=0, result="restored", **more):
        return self.run(code, result, "--restore", self.folder, **more)

    def record(self):
        with open(f"{self.folder}/job.json", encoding="utf-8") as file:
            return json.load(file)

    def whole(self):
        """The folder has one checkpoint, of all guests, and no rubbish."""
        generation = self.record()["generation"]
        expect(sorted(os.listdir(self.folder)) == sorted([generation, "job.json", "lock"]), f"{os.listdir(self.folder)}")
        expect(all(read(f"{self.folder}/{generation}/vm{number}/ram") for number in range(GUESTS)), "a guest is not there")
        return generation

    def in_order(self, first, then):
        """All first, then all."""
        happened = [line.split()[0] for line in read(self.log).splitlines()]
        expect(happened == [first] * GUESTS + [then] * GUESTS, f"{happened}")


def case_order(host, image):
    f = Files(host)
    f.save()
    f.in_order("stopped", "goes-on")
    first = f.whole()
    expect(f.record()["job"] == "weather" and f.record()["guests"]["vm1"]["written_bytes"] == 1000, f"{f.record()}")
    f.save()
    second = f.whole()
    expect(first != second and read(f"{f.folder}/{second}/vm2/ram") == f"vm2 on {os.path.realpath(f.folder)}/{first}/vm2", "it adds to none")
    f.crash()
    f.restore()
    f.in_order("loaded", "runs")
    expect(f.where("to") == {"running"}, f"{f.where('to')}")
    f.crash()
    f.restore()  # the same moment again
    expect(f.whole() == second, "the checkpoint has changed")


def case_fails(host, image):
    f = Files(host)
    said = f.save(1, "failed", env={"STUB_FAIL": "vm1:save"})
    expect("vm1: No space left on device" in said[0] and "all guests go on" in said[0] and "holds no checkpoint" in said[0], f"{said}")
    expect(os.listdir(f.folder) == ["lock"], f"rubbish is left: {os.listdir(f.folder)}")
    f.save()
    good = f.whole()
    for env in ({"STUB_FAIL": "vm0:save"}, {"STUB_FAIL": "vm2:sync"}, {"STUB_FAIL": "vm0:save", "STUB_HANG": "vm2"}):
        said = f.save(1, "failed", env=env)
        expect(f.whole() == good and "holds what it held" in said[0], f"{env}: {said}")
    process = f.start("--checkpoint", f.folder, "--of", "weather", env={"STUB_HANG": "vm1"})
    wait_for(lambda: len((read(f.log) or "").splitlines()) == GUESTS - 1, "those that hold")
    os.kill(process.child.pid, signal.SIGTERM)
    expect(process.wait(120) == 1 and f.whole() == good and f.where("from") == {"running"}, f"{process.tail()}")

    f.crash()
    said = f.restore(1, "failed", env={"STUB_FAIL": "vm1:load"})
    expect("vm1: the checkpoint is damaged" in said[0] and "no guest runs" in said[0], f"{said}")
    expect("running" not in f.where("to") and "loaded" not in f.where("to"), f"{f.where('to')}")
    f.crash()
    f.members[2].plan["to"]["start"] = ["/bin/false"]
    f.gang = Gang(host, f.members, watari=STUB)
    said = f.restore(1, "failed")
    expect("vm2: the command that starts its QEMU has failed" in said[0], f"{said}")
    f.crash()
    f.members[2].plan["to"]["start"] = ["/bin/true"]
    f.gang = Gang(host, f.members, watari=STUB)
    f.restore()
    expect(f.whole() == good, "the checkpoint has changed")


def case_refused(host, image):
    f = Files(host)

    def refuse(text, *words):
        said = f.run(1, None, *words)
        expect(text in said[0] and "nothing was begun" in said[0] and f.where("from") == {"running"}, f"{said}")
        print(f"  {said[0]}", flush=True)

    refuse("cannot be found", "--restore", f.folder)
    os.mkdir(f.folder)
    refuse("holds no checkpoint of a job", "--restore", f.folder)
    f.save()
    refuse("holds the checkpoint of job weather", "--checkpoint", f.folder, "--of", "rain")
    refuse("is no directory", "--checkpoint", f"{f.folder}/job.json")
    os.mkdir(f"{host.run_dir}/one")
    write(f"{host.run_dir}/one/index.json", "{}")
    refuse("holds the checkpoint of one guest", "--checkpoint", f"{host.run_dir}/one")
    refuse("cannot be made", "--checkpoint", "/nowhere/at/all")
    f.members[0].plan["from"]["prefix"] = ["env"]
    f.gang = Gang(host, f.members, watari=STUB)
    refuse("letters in it that a shell may take", "--checkpoint", f"{host.run_dir}/a b")
    few = Gang(host, f.members[:2], name="few", watari=STUB)
    f.gang = few
    refuse("the plan has no place for vm2", "--restore", f.folder)
    f.gang = Gang(host, [*f.members, StubMember(host, "vm9", 9)], name="many", watari=STUB)
    refuse("has a guest vm9, which is not in the checkpoint", "--restore", f.folder)
    f.members[0].plan["from"]["checkpoint"] = ["--full"]
    f.gang = Gang(host, f.members, watari=STUB)
    refuse("option --full", "--checkpoint", f.folder, "--of", "weather")
    del f.members[0].plan["from"]["checkpoint"]
    f.gang = Gang(host, f.members, watari=STUB)
    record = read(f"{f.folder}/job.json")
    write(f"{f.folder}/job.json", record[:-20])
    refuse("job.json is damaged", "--restore", f.folder)
    for words in (("--checkpoint", "x", "--restore", "x"), ("--checkpoint", "x", "--resume"), ("--of", "x"), ("--checkpoint", "x", "--of", "/")):
        f.run(2, None, *words)


def case_dies(host, image):
    need_sabotage()
    f = Files(host)
    for point in ("save.begin", "save.going", "save.commit", "save.committed"):
        before = read(f"{f.folder}/job.json")
        process = f.start("--checkpoint", f.folder, "--of", "weather", env={"WATARI_DIE_BEFORE": point})
        expect(process.wait(120) == -signal.SIGKILL, f"{point}: {process.tail()}")
        expect((read(f"{f.folder}/job.json") == before) == (point != "save.committed"), f"{point}: what does the folder hold?")
        if point == "save.going":
            f.run(0, None, "--checkpoint", f.folder, "--of", "weather", "--undo")
            expect(f.where("from") == {"running"}, f"{point}: guests are held: {f.where('from')}")
        f.save()
        f.whole()
    for point in ("restore.begin", "restore.going", "restore.over"):
        f.crash()
        process = f.start("--restore", f.folder, env={"WATARI_DIE_BEFORE": point})
        expect(process.wait(120) == -signal.SIGKILL, f"{point}: {process.tail()}")
        if point == "restore.going":
            f.restore(1, None)  # what is left of it is called back; its QEMUs are gone
            expect(not {"running", "loaded"} & f.where("to"), f"{point}: {f.where('to')}")
            f.crash()
        if point != "restore.over":
            f.restore()
        expect(f.where("to") == {"running"}, f"{point}: {f.where('to')}")
    f.crash()
    f.restore()  # what it has left beside the checkpoint goes
    f.whole()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, image=lambda: None))
