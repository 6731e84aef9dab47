#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_checkpoint.py CASE... - guests that are written to files and go on from there, on this machine.

  live       a busy guest, twice into one directory; its QEMU is killed, and it goes on from the files
  refused    what is refused, each with one sentence; the guest runs on
  zstd       compressed, one on top of another, over multifd and with libwatari-feed.so
  replica    a checkpoint saves bytes of a migration
  paused     a paused guest stays so; QEMU 7.2 and 10.0, and from one to the other
  disk       a disk that is written meanwhile is frozen in the same stop; its file system is right after the restore
  disks      overlays that were used, disks that were exchanged and images that were written since are refused; the right ones are not
  full       the disk becomes full: the guest goes on, and the checkpoint before is as it was
  die        watari dies while it streams, and before the next steps: the same
  hangs      QEMU does not answer any more: watari says so, and ends
  flips      bits that flip, few
  flips_all  500 of them
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main, need_sabotage, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import FEED, Migration, events, watari  # noqa: E402

BUSY = {"mb": 160, "work_mb": 48, "rate": 3000}


def start(guest, directory, *options, env=None):
    return guest.host.start([watari(), "checkpoint", "--qmp", guest.qmp, "--json", *options, directory], "checkpoint", env=env)


def summary_of(process):
    code = process.wait(120)
    expect(code == 0, f"exit code {code}: {process.tail()}")
    return next(event for event in events(process) if event["event"] == "summary")


def checkpoint(guest, directory, *options):
    """Writes one; answers its summary."""
    summary = summary_of(start(guest, directory, *options))
    print(f"  {summary['written_bytes'] >> 10} kB of {summary['written_pages']} pages, {summary['same_pages']} as before, "
          f"{summary['total_ms']:.0f} ms, down {summary['downtime_ms']:.0f} ms", flush=True)
    return summary


def start_restore(host, directory, guest=None, *options):
    return host.start([watari(), "restore", "--json", *(["--qmp", guest.qmp] if guest else ["--check"]), *options, directory], "restore")


def told_progress(process, *states):
    """How far it is, from the beginning until all is read, and each state."""
    told = [event for event in events(process) if event["event"] == "progress"]
    expect([event["state"] for event in events(process) if event["event"] == "state"] == list(states), f"{process.tail()}")
    expect(len(told) >= 2 and told[0]["moved_bytes"] <= told[-1]["moved_bytes"], f"{told}")
    expect(told[-1]["remaining_bytes"] == 0 and 0 < told[-1]["moved_bytes"] <= told[-1]["total_bytes"], f"{told}")


def restore(host, image, directory, *options, **guest_options):
    """A new QEMU in which the guest goes on."""
    guest = Guest(host, image, incoming=True, **guest_options)
    process = start_restore(host, directory, guest, *options)
    summary = summary_of(process)
    print(f"  restored: {summary['read_pages']} pages, {summary['total_ms']:.0f} ms", flush=True)
    told_progress(process, "reading", "loading", *(["starting"] if summary["running"] else []), "done")
    return guest


def checked(host, directory):
    """It is right as a whole."""
    process = start_restore(host, directory)
    summary_of(process)
    told_progress(process, "reading", "done")


def begin(host, image, **options):
    guest = Guest(host, image, **options)
    guest.wait_reports(2)
    return guest


def case_live(host, image):
    saved = f"{host.run_dir}/saved"
    guest = begin(host, image, **BUSY)
    first = checkpoint(guest, saved)
    expect(not first["base"] and first["written_pages"] > BUSY["work_mb"] << 8, f"not all is written: {first}")
    expect(first["downtime_ms"] > 0, f"it was not stopped: {first}")
    second = checkpoint(guest, saved)
    expect(second["base"] and second["same_pages"] > 0, f"not on top of the first one: {second}")
    still_fine(guest)
    steps = guest.reports()[-1][1]
    guest.process.kill()
    back = restore(host, image, saved, **BUSY)
    expect(back.status() == "running", f"it is {back.status()}")
    back.wait_round()
    print(f"  {steps} steps before, {back.reports()[-1][1]} since", flush=True)


def case_zstd(host, image):
    saved, other = f"{host.run_dir}/saved", f"{host.run_dir}/other"
    guest = begin(host, image, env=FEED, **BUSY)
    raw = checkpoint(guest, other)
    expect(raw["feed"], f"the feed is not used: {raw}")
    first = checkpoint(guest, saved, "--zstd", "--channels", "3")
    expect(first["written_bytes"] < first["written_pages"] << 12, f"not compressed: {first}")
    second = checkpoint(guest, saved, "--no-feed")
    expect(second["base"] and second["same_pages"], f"not on top: {second}")
    third = checkpoint(guest, f"{host.run_dir}/third", "--base", saved, "--zstd=3")
    expect(third["base"] and third["same_pages"], f"not on top: {third}")
    still_fine(guest)
    guest.process.kill()
    for directory in (other, saved, f"{host.run_dir}/third"):
        checked(host, directory)
        back = restore(host, image, directory, **BUSY)
        back.wait_round()
        back.quit()


def case_replica(host, image):
    for options in ([], ["--zstd"]):
        saved = f"{host.run_dir}/saved{len(options)}"
        quiet = {"mb": 192, "work_mb": 100, "rate": 200}
        guest = begin(host, image, **quiet)
        checkpoint(guest, saved, *options)
        refused(host.start([watari(), "send", "--qmp", guest.qmp, "--insecure", "--keep-replica", saved, "127.0.0.1:1/vm"], "send"),
                "checkpoint")
        destination = Guest(host, image, incoming=True, **quiet)
        summary = Migration(guest, destination, send=["--verify"], receive=["--replica", saved]).succeed()
        print(f"  {summary['digested_pages']} pages digested, {summary['replica_pages']} equal", flush=True)
        expect(summary["verified"] and summary["replica_pages"] > 0.9 * summary["digested_pages"] > 0, f"of no use: {summary}")
        destination.wait_round()
        destination.quit()
    refused(host.start([watari(), "replica", "--insecure", saved, ":0/vm"], "replica"), "compressed")


def case_paused(host, image):
    old = "pc-q35-7.2"
    for source, destination in (("7.2", "7.2"), ("7.2", "10.0"), ("10.0", "7.2"), ("10.0", "10.0")):
        saved = f"{host.run_dir}/{source}-{destination}"
        options = {**SMALL, "machine": old}
        guest = begin(host, image, version=source, **options)
        guest.call("stop")  # QEMU 7.2 loses pages of guests that run without KVM
        summary = checkpoint(guest, saved)
        expect(summary["downtime_ms"] == 0, f"a paused guest was stopped: {summary}")
        expect(guest.status() in ("paused", "postmigrate"), f"it is {guest.status()}")
        guest.call("cont")
        guest.wait_reports(1)
        guest.check()
        guest.process.kill()
        back = restore(host, image, saved, version=destination, **options)
        expect(back.status() != "running", "a paused guest runs")
        back.call("cont")
        back.wait_round()
        back.quit()
    guest = begin(host, image, **SMALL)
    checkpoint(guest, f"{host.run_dir}/running")
    guest.process.kill()
    back = restore(host, image, f"{host.run_dir}/running", "--paused", **SMALL)
    expect(back.status() == "paused", f"it is {back.status()}")
    back.call("cont")
    back.wait_round()


# ---- what is refused ----

def case_refused(host, image):
    saved = f"{host.run_dir}/saved"
    guest = begin(host, image, **SMALL)
    refused(start(guest, f"{host.run_dir}/no/such"), "No such file")
    os.mkdir(f"{host.run_dir}/mine")
    with open(f"{host.run_dir}/mine/letter", "w") as file:
        file.write("dear all")
    refused(start(guest, f"{host.run_dir}/mine"), "files in it")
    refused(start(guest, saved, "--base", f"{host.run_dir}/mine"), "index.json")
    expect(not os.path.exists(saved), "a refused checkpoint leaves a directory")
    checkpoint(guest, saved, "--name", "web1")
    refused(start(guest, saved, "--name", "web2"), "web1")
    still_fine(guest)
    refused(start_restore(host, saved, guest), "-incoming defer")
    refused(start_restore(host, f"{host.run_dir}/mine"), "index.json")
    private = Guest(host, image, **{**SMALL, "mb": 128, "ram_options": ",share=off"})
    refused(start(private, f"{host.run_dir}/private"), "private")
    expect(private.status() == "running", "a refused guest does not run")
    private.quit()

    same = {**SMALL, "backend": "file", "ram_file": f"{host.run_dir}/one.ram"}
    running = begin(host, image, **same)
    other = Guest(host, image, incoming=True, **same)
    print(f"  {refused(start_restore(host, saved, other), 'uses the memory')}", flush=True)
    other.quit()
    still_fine(running)
    running.quit()

    for words, options in (("machine type", {"machine": "pc"}), ("bytes in the checkpoint", {"mb": 192})):
        other = Guest(host, image, incoming=True, **{**SMALL, **options})
        refused(start_restore(host, saved, other), words)
        expect(other.status() == "inmigrate", f"{words}: it is {other.status()}")
        other.quit()
    other = Guest(host, image, incoming=True, **SMALL)
    damaged(host, saved, other)
    guest.process.kill()
    summary_of(start_restore(host, saved, other))  # after all that it is as good as ever
    other.wait_reports(1)
    other.check()


def damaged(host, saved, other):
    """One flipped bit in each kind of file: named, and the guest does not run."""
    for suffix, words in ((".raw", "page "), (".map", "damaged"), (".bin", "device state"), (".json", "damaged")):
        path = next(os.path.join(saved, name) for name in sorted(os.listdir(saved)) if name.endswith(suffix))
        with flipped(path, 8 * middle(path) + 3):
            said = refused(start_restore(host, saved, other), words)
            print(f"  {said}", flush=True)
        expect(other.status() == "inmigrate", f"{path}: it is {other.status()}")


def middle(path):
    """An offset at which the file has bytes."""
    with open(path, "rb") as file:
        return os.lseek(file.fileno(), os.path.getsize(path) // 2, os.SEEK_DATA) if path.endswith(".raw") else os.path.getsize(path) // 2


@contextlib.contextmanager
def flipped(path, bit):
    def flip():
        with open(path, "r+b") as file:
            file.seek(bit // 8)
            byte = file.read(1)[0] ^ 1 << bit % 8
            file.seek(bit // 8)
            file.write(bytes([byte]))
    flip()
    try:
        yield
    finally:
        flip()


def flips(host, image, count):
    """Of bits anywhere in the files, none stays unseen."""
    seed = int(os.environ.get("WATARI_SEED", "1"))
    print(f"  WATARI_SEED={seed}", flush=True)
    choice = random.Random(seed)
    saved = f"{host.run_dir}/saved"
    guest = begin(host, image, **SMALL)
    guest.call("stop")  # no page is written twice: all bytes of frames belong to the checkpoint
    for options in ([], ["--full", "--zstd"]):
        checkpoint(guest, saved, *options)
        files = [os.path.join(saved, name) for name in sorted(os.listdir(saved))]
        sizes = [os.path.getsize(path) for path in files]
        for i in range(count):
            number = choice.choices(range(len(files)), [size ** 0.5 + 1 for size in sizes])[0]
            with flipped(files[number], choice.randrange(8 * sizes[number])):
                process = start_restore(host, saved)
                expect(process.wait(60) == 1, f"flip {i} of {files[number]} was not seen: {process.tail()}")
        checked(host, saved)


def case_flips(host, image):
    flips(host, image, 12)


def case_flips_all(host, image):
    flips(host, image, 500)


# ---- what goes wrong ----

@contextlib.contextmanager
def small_disk(host, mb):
    """A file system of so many MB."""
    where = f"{host.run_dir}/small"
    os.mkdir(where)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mb}m", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)


def case_full(host, image):
    guest = begin(host, image, **BUSY)
    with small_disk(host, 40) as where:
        refused(start(guest, f"{where}/saved"), "No space left")
        expect(os.listdir(where) == [], f"it leaves {os.listdir(where)}")
    still_fine(guest)
    guest.quit()
    guest = begin(host, image, **{**SMALL, "rate": 200})
    os.rmdir(f"{host.run_dir}/small")
    with small_disk(host, 160) as where:
        checkpoint(guest, f"{where}/saved")
        files = sorted(os.listdir(f"{where}/saved"))
        with contextlib.suppress(OSError), open(f"{where}/rubbish", "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        text = refused(start(guest, f"{where}/saved", "--full"), "No space left")
        print(f"  {text}", flush=True)
        expect(sorted(os.listdir(f"{where}/saved")) == files, "the checkpoint before is not as it was")
        checked(host, f"{where}/saved")
        still_fine(guest)
        guest.process.kill()
        restore(host, image, f"{where}/saved", **SMALL).wait_round()


def case_die(host, image):
    need_sabotage()
    saved = f"{host.run_dir}/saved"
    guest = begin(host, image, **BUSY)
    checkpoint(guest, saved)
    files = sorted(os.listdir(saved))
    for state in ("streaming", "stopped", "returning"):
        process = start(guest, saved, env={"WATARI_DIE_BEFORE": state})
        expect(process.wait(60) == -signal.SIGKILL, f"it did not die: {process.tail()}")
        wait_for(lambda: guest.status() == "running", f"the guest to run after {state}")
        still_fine(guest)
        expect(set(files) <= set(os.listdir(saved)), f"{state}: the checkpoint before is not as it was")
        checked(host, saved)
    for how in ("SIGTERM", "cancel"):
        process = start(guest, saved, "--max-rate", "1M", "--job", "saving")
        wait_for(lambda: any(e.get("event") == "progress" for e in events(process)), "progress")
        code, said = host.call([watari(), "status", "saving"])
        expect(code == 0 and "checkpoint" in said and "streaming" in said, said)
        if how == "cancel":
            expect(host.call([watari(), "cancel", "saving"])[0] == 0, "it cannot be cancelled")
        else:
            process.signal(signal.SIGTERM)
        refused(process, "cancelled")
        still_fine(guest)
    checkpoint(guest, saved)
    expect(not [name for name in os.listdir(saved) if name.endswith(".tmp")], "rubbish is left")
    guest.process.kill()
    restore(host, image, saved, **BUSY).wait_round()


def case_hangs(host, image):
    guest = begin(host, image, **SMALL)
    process = start(guest, f"{host.run_dir}/saved", "--max-rate", "1M")
    wait_for(lambda: any(e.get("event") == "progress" for e in events(process)), "progress")
    guest.process.signal(signal.SIGSTOP)
    process.signal(signal.SIGTERM)
    print(f"  {refused(process, 'has not said that its guest goes on', 120)}", flush=True)
    guest.process.signal(signal.SIGCONT)
    wait_for(lambda: guest.status() == "running", "the guest to run")
    still_fine(guest)


# ---- disks ----

def fsck(host, disk):
    """The file system on a disk, as it is there now, is right."""
    raw = f"{host.run_dir}/fsck.raw"
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", disk, raw], check=True)
    replayed = subprocess.run(["/usr/sbin/e2fsck", "-p", raw], capture_output=True, text=True, check=False)
    expect(replayed.returncode in (0, 1), f"e2fsck -p {disk}: {replayed.stdout}{replayed.stderr}")
    found = subprocess.run(["/usr/sbin/e2fsck", "-fn", raw], capture_output=True, text=True, check=False)
    expect(found.returncode == 0, f"e2fsck -fn {disk}: {found.stdout}{found.stderr}")
    os.unlink(raw)


def written(guest, more):
    """Waits for so many more files that the guest has written, and read again."""
    have = guest.console().count("DISK good")
    wait_for(lambda: guest.console().count("DISK good") >= have + more or "DISK BAD" in guest.console() or "EXT4-fs error" in
             guest.console(), "files of the guest", 120)
    for bad in ("DISK BAD", "EXT4-fs error", "I/O error"):
        expect(bad not in guest.console(), f"the guest says: {bad}")


def overlay(host, file, name):
    with_format = json.loads(subprocess.run(["qemu-img", "info", "-U", "--output=json", file], capture_output=True, check=True).stdout)
    path = f"{host.run_dir}/{name}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", file, "-F", with_format["format"], path], check=True)
    return path


def case_disk(host, image):
    disk, saved, snapshots = (f"{host.run_dir}/{name}" for name in ("disk.qcow2", "saved", "snapshots"))
    raw = f"{host.run_dir}/disk.raw"
    with open(raw, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", raw], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
    os.mkdir(snapshots)
    options = {**SMALL, "append": "wt.disk", "initrd": "disk.cpio"}
    relative = Guest(host, image, disk=os.path.relpath(disk), **options)
    refused(start(relative, saved, "--snapshot-dir", snapshots), "relative")
    relative.quit()
    guest = begin(host, image, disk=disk, **options)
    written(guest, 3)
    refused(start(guest, saved), "--snapshot-dir")
    refused(start(guest, saved, "--snapshot-dir", f"{snapshots}/none"), "snapshot")
    still_fine(guest)
    written(guest, 2)
    for number in range(2):
        summary = checkpoint(guest, saved, "--snapshot-dir", snapshots)
        expect(summary["disks"] == 1, f"{summary}")
        written(guest, 3)
    with open(f"{saved}/index.json") as file:
        frozen = json.load(file)["checkpoint"]["disks"][0]
    frozen_file = frozen["files"][0]["file"]
    print(f"  frozen: {frozen_file}", flush=True)
    guest.process.kill()
    fsck(host, frozen["overlay"])

    other = Guest(host, image, incoming=True, disk=overlay(host, disk, "wrong"), **options)
    refused(start_restore(host, saved, other), "is no overlay of")
    other.quit()
    for number in range(2):  # the same moment twice
        again = overlay(host, frozen_file, f"again{number}")
        fsck(host, again)
        back = restore(host, image, saved, disk=again, **options)
        written(back, 4)
        back.wait_round()
        back.process.kill()
        fsck(host, again)
        other = Guest(host, image, incoming=True, disk=again, **options)
        refused(start_restore(host, saved, other), "something was written")
        other.quit()


def drives(*files):
    """Disks of a guest that does not use them: the first is known by its place, the second by an id."""
    names = ("", ",id=second", ",id=third")
    return {"extra": [word for number, (file, form) in enumerate(files) for word in
                      ("-drive", f"file={file},format={form},if=none,id=d{number}", "-device", f"virtio-blk-pci,drive=d{number}{names[number]}")]}


def image_file(path, *options):
    subprocess.run(["qemu-img", "create", "-q", *options, path, *([] if "-b" in options else ["64M"])], check=True)
    return path


def qemu_io(file, form, command):
    subprocess.run(["qemu-io", "-f", form, "-c", command, file], stdout=subprocess.DEVNULL, check=True)


def case_disks(host, image):
    at = f"{host.run_dir}/disks"
    saved, base, first, second = f"{at}/saved", f"{at}/base.qcow2", f"{at}/first.qcow2", f"{at}/second.raw"
    os.mkdir(at)
    os.mkdir(f"{at}/snapshots")
    image_file(base, "-f", "qcow2")
    image_file(first, "-f", "qcow2", "-b", base, "-F", "qcow2")
    image_file(second, "-f", "raw")
    guest = begin(host, image, **SMALL, **drives((first, "qcow2"), (second, "raw")))
    checkpoint(guest, saved, "--snapshot-dir", f"{at}/snapshots")
    snapshots = [(f"{at}/snapshots/{name}", "qcow2") for name in sorted(os.listdir(f"{at}/snapshots"))]
    guest.quit()

    def new(name, file, form, *options):
        return image_file(f"{at}/{name}.qcow2", "-f", "qcow2", *options, "-b", file, "-F", form), "qcow2"

    def refuse(words, *files):
        other = Guest(host, image, incoming=True, **SMALL, **drives(*files))
        print(f"  {refused(start_restore(host, saved, other), words)}", flush=True)
        expect(other.status() == "inmigrate", f"{words}: it is {other.status()}")
        other.quit()

    one, two = new("one", first, "qcow2"), new("two", second, "raw")
    refuse("exchanged", two, one)
    refuse("is no overlay of", (first, "qcow2"), (second, "raw"))
    refuse("where the guest went on", *snapshots)
    refuse("no writable disk there", one)
    refuse("the guest had none there", one, two, new("three", second, "raw"))
    smaller = f"{at}/smaller.qcow2", "qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", second, "-F", "raw", smaller[0], "32M"], check=True)
    refuse("another size", one, smaller)
    refuse("was the chain of images changed", new("other", first, "raw"), two)
    for number, command in enumerate(("write 60M 4k", "discard 0 64k")):
        used = new(f"used{number}", second, "raw")
        qemu_io(*used, command)
        refuse("something was written", one, used)
    for file in (base, second):  # one that is two levels down, too
        before = os.stat(file).st_mtime_ns
        os.utime(file)
        refuse("was written at", one, two)
        os.utime(file, ns=(before, before))
    back = restore(host, image, saved, **SMALL, **drives(one, two))
    back.wait_reports(1)
    back.check()


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
