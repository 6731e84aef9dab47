#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_daemon.py CASE... - watari daemon: many sends and receives of a host in one process; `all` runs every case.

Where only the number of sessions matters, a stub answers QMP for as many QEMUs as are wanted: each awaits a guest, and none comes.
"""

import contextlib
import ctypes
import json
import mmap
import os
import selectors
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, alive, expect, main, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import ROOT, Failure, Process, wait_for  # noqa: E402
from harness.migration import events, install_key, watari  # noqa: E402

MANY = 200
STUB_RAM = 1 << 20
SLOW = ["--max-rate", "3M"]


# ---- the stub: QEMUs that await a guest, one socket each, in one process ----

def stub_answer(name, address):
    size = f"0x{STUB_RAM:016x}"
    block = f"  mem0    4 KiB  0x0000000000000000 {size} {size} 0x{address:016x}  rw\r\n"
    return {"query-status": {"status": "inmigrate", "running": False},
            "query-migrate-capabilities": [],
            "query-memdev": [{"id": "mem0", "share": True}],
            "human-monitor-command": "    Block Name    PSize  Offset  Used  Total  HVA  RO\r\n" + block,
            "quit": {}}.get(name, {})


def stub(directory, count):
    """Serves directory/N.qmp for N below count, until it is killed."""
    ram_fd = os.memfd_create("mem0")
    os.ftruncate(ram_fd, STUB_RAM)
    ram = mmap.mmap(ram_fd, STUB_RAM)
    address = ctypes.addressof(ctypes.c_char.from_buffer(ram))
    selector = selectors.DefaultSelector()
    for number in range(count):
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{directory}/{number}.qmp")
        server.listen(4)
        selector.register(server, selectors.EVENT_READ, None)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                client, _ = key.fileobj.accept()
                version = {"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": ""}
                client.sendall(json.dumps({"QMP": {"version": version, "capabilities": []}}).encode() + b"\n")
                selector.register(client, selectors.EVENT_READ, bytearray())
                continue
            data = key.fileobj.recv(65536)
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                continue
            key.data.extend(data)
            while b"\n" in key.data:
                line, _, rest = bytes(key.data).partition(b"\n")
                key.data[:] = rest
                request = json.loads(line)
                reply = {"return": stub_answer(request["execute"], address), "id": request.get("id")}
                with contextlib.suppress(OSError):
                    key.fileobj.sendall(json.dumps(reply).encode() + b"\n")


def start_stubs(host, count):
    """Their QMP sockets."""
    directory = f"{host.run_dir}/stubs"
    os.mkdir(directory)
    process = host.start([sys.executable, __file__, "stub", directory, str(count), "-S"], "stub")
    wait_for(lambda: process.find("ready") or not process.running(), f"the stub: {process.tail()}")
    return [f"{directory}/{number}.qmp" for number in range(count)]


# ---- a daemon and its clients ----

def start_daemon(host, *options, wrap=()):
    process = host.start([*wrap, watari(), "daemon", "--json", *options], "daemon")
    wait_for(lambda: events(process) or not process.running(), "the daemon")
    expect(process.running(), f"the daemon ended: {process.tail()}")
    return process


def client(host, verb, qmp, target, *options, secure=("--insecure",), **more):
    env = {**os.environ, "XDG_RUNTIME_DIR": host.run_dir}
    process = Process([watari(), verb, "--daemon", "--qmp", qmp, "--json", *secure, *options, target], verb, env=env, **more)
    host.processes.append(process)
    return process


def port_of(receiver):
    wait_for(lambda: any(e["event"] == "listening" for e in events(receiver)) or not receiver.running(), "watari receive")
    port = next((e["port"] for e in events(receiver) if e["event"] == "listening"), None)
    expect(port, f"watari receive ended: {receiver.tail()}")
    return port


def begin(host, source, destination, *options, name="vm", **more):
    """(send, receive), begun."""
    receiver = client(host, "receive", destination.qmp, f"127.0.0.1:0/{name}", **more)
    return client(host, "send", source.qmp, f"127.0.0.1:{port_of(receiver)}/{name}", *options, **more), receiver


def succeed(pair):
    codes = [process.wait(120) for process in pair]
    expect(codes == [0, 0], f"exit codes {codes}: {pair[0].tail()} | {pair[1].tail()}")


def moving(sender):
    wait_for(lambda: any(e.get("remaining_bytes") for e in events(sender)) or not sender.running(), "the transfer")


def descriptors(process):
    return len(os.listdir(f"/proc/{process.child.pid}/fd"))


def threads(process):
    return len(os.listdir(f"/proc/{process.child.pid}/task"))


def held(host, daemon):
    """What it has without sessions; after a first one that failed, since a sanitizer has a thread of its own from then on."""
    refused(client(host, "send", f"{host.run_dir}/no.qmp", "127.0.0.1:1/none"), "no.qmp")
    return descriptors(daemon), threads(daemon)


def idle(daemon, before):
    """It has as many descriptors and threads as before."""
    wait_for(lambda: (descriptors(daemon), threads(daemon)) == before, f"the daemon's return to {before}, it has "
             f"{descriptors(daemon)} descriptors and {threads(daemon)} threads")


# ---- cases ----

def case_moves(host, image):
    """Both ends of a migration in one daemon: they are jobs as ever, and files are looked for where the command is; a command
    that is interrupted, or killed, cancels its migration; a daemon that is told to end does that for all."""
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **SMALL)
    refused(client(host, "send", source.qmp, "127.0.0.1:1/vm"), "no watari daemon runs here")
    daemon = start_daemon(host)
    refused(host.start([watari(), "daemon"], "second"), "runs here already")
    before = held(host, daemon)
    install_key([host])
    pair = begin(host, source, destination, *SLOW, secure=("--psk", "keys.psk"), cwd=host.run_dir)
    moving(pair[0])
    listed = [json.loads(line) for line in host.call([watari(), "status", "--json"])[1].splitlines()]
    expect(sorted((s["job"], s["pid"]) for s in listed) == [(job, daemon.child.pid) for job in ("vm", "vm-incoming")],
           f"the jobs: {listed}")
    pair[0].signal(signal.SIGINT)
    expect(pair[0].wait(60) == 1 and pair[0].find("cancelled by the end of its command"), pair[0].tail())
    expect(pair[1].wait(60) == 1, pair[1].tail())
    still_fine(source)
    idle(daemon, before)

    destination = Guest(host, image, incoming=True, **SMALL)
    pair = begin(host, source, destination, *SLOW)
    moving(pair[0])
    pair[0].kill()
    expect(pair[1].wait(60) == 1, pair[1].tail())
    still_fine(source)
    idle(daemon, before)

    destination = Guest(host, image, incoming=True, **SMALL)
    succeed(begin(host, source, destination, "--verify"))
    source.ended()
    destination.wait_round()
    idle(daemon, before)

    source, destination = destination, Guest(host, image, incoming=True, **SMALL)
    pair = begin(host, source, destination, *SLOW)
    moving(pair[0])
    daemon.signal(signal.SIGTERM)
    expect([process.wait(60) for process in pair] == [1, 1], pair[0].tail())
    expect(daemon.wait(60) == 0, f"the daemon: {daemon.tail()}")
    still_fine(source)
    expect(os.listdir(f"{host.run_dir}/watari") == [], "the daemon leaves files behind")


def strangers(host, daemon):
    """Who asks for nonsense is told so, and nothing begins."""
    def ask(request, descriptors):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.settimeout(30)
            asking.connect(f"{host.run_dir}/watari/.daemon.sock")
            if request is None:
                return None
            if descriptors:
                socket.send_fds(asking, [request], descriptors)
            else:
                asking.send(request)
            return json.loads(asking.recv(4096))["error"]

    directory = os.open(host.run_dir, os.O_RDONLY)
    try:
        three = [2, 2, directory]
        ask(None, ())
        for some in ((), three[:2], [*three, directory]):
            expect("comes with three descriptors" in ask(b"{}", some), f"{len(some)} descriptors")
        had = descriptors(daemon)
        for some in (three, three[:1]):
            expect("comes with three descriptors" in ask(b"", some), f"an empty request with {len(some)} descriptors")
        expect(descriptors(daemon) <= had, "the daemon keeps the descriptors of an empty request")
        for request in (b"{}", b"send", b'{"argv":[]}', b'{"argv":["send",7]}', b'{"argv":["doctor"]}', b'{"argv":{"0":"send"}}'):
            expect("runs send and receive only" in ask(request, three), f"{request}")
    finally:
        os.close(directory)


def case_limits(host, image):
    """What goes beyond a limit is refused with a sentence, and what runs goes on."""
    qmps = start_stubs(host, 4)
    wrap = ["prlimit", "--nofile=512:512"]
    refused(host.start([*wrap, watari(), "daemon"], "daemon"), "raise that (ulimit -Hn), or give a smaller --max-sessions")
    refused(host.start(["prlimit", "--memlock=65536:65536", watari(), "daemon", "--max-pinned", "1G"], "daemon"),
            "--max-pinned is more than the 65536 bytes")
    expect(host.call([watari(), "daemon", "--max-memory", "much"])[0] == 2, "--max-memory takes anything")
    daemon = start_daemon(host, "--max-sessions", "2", wrap=wrap)
    strangers(host, daemon)
    waiting = [client(host, "receive", qmps[i], f"127.0.0.1:0/vm{i}") for i in range(2)]
    for one in waiting:
        port_of(one)
    refused(client(host, "receive", qmps[2], "127.0.0.1:0/vm2"), "has 2 sessions and takes no more")
    expect(all(one.running() for one in waiting), "a refusal ends others")
    waiting[0].signal(signal.SIGTERM)
    expect(waiting[0].wait(30) == 1, waiting[0].tail())
    port_of(client(host, "receive", qmps[2], "127.0.0.1:0/vm2"))
    refused(client(host, "receive", qmps[3], "127.0.0.1:0/vm3", "--job", "vm2-incoming"), "takes no more")
    daemon.signal(signal.SIGTERM)
    expect(daemon.wait(60) == 0, daemon.tail())

    daemon = start_daemon(host, "--max-memory", "64K")
    refused(client(host, "receive", qmps[0], "127.0.0.1:0/vm0"), "takes no more sessions above the 64 KiB of --max-memory")
    daemon.signal(signal.SIGTERM)
    expect(daemon.wait(60) == 0, daemon.tail())


def case_many(host, image):
    """So many sessions at once in one daemon, each with a peer that has connected and says nothing; two guests move beside them; in the end all
    is given back."""
    qmps = start_stubs(host, MANY)
    source = Guest(host, image, **SMALL)
    source.wait_reports(2)
    destination = Guest(host, image, incoming=True, **SMALL)
    daemon = start_daemon(host)
    before = held(host, daemon)
    waiting = [client(host, "receive", qmp, f"127.0.0.1:0/stub{number}") for number, qmp in enumerate(qmps)]
    silent = [socket.create_connection(("127.0.0.1", port_of(one))) for one in waiting]
    each = (descriptors(daemon) - before[0]) / MANY
    print(f"  {MANY} sessions: {each:.1f} descriptors each, {threads(daemon)} threads", flush=True)
    expect(each < 64, "a session takes more descriptors than are kept for it")
    for _ in range(2):
        succeed(begin(host, source, destination, "--verify"))
        source, destination = destination, Guest(host, image, incoming=True, **SMALL)
    source.wait_round()
    expect(all(one.running() for one in waiting), "a session ended")
    for one in waiting:
        one.signal(signal.SIGTERM)
    for one, peer in zip(waiting, silent):
        expect(one.wait(60) == 1, one.tail())
        peer.close()
    idle(daemon, before)
    expect(alive(source), "the guest")


def case_slow(host, image):
    """Sessions whose QEMU hangs, whose link crawls, whose output nobody reads: another one moves beside them."""
    guests = [Guest(host, image, **SMALL) for _ in range(3)]
    for guest in guests:
        guest.wait_reports(2)
    awaiting = [Guest(host, image, incoming=True, **SMALL) for _ in range(3)]
    daemon = start_daemon(host)
    hangs = begin(host, guests[0], awaiting[0], name="hangs")
    awaiting[0].process.signal(signal.SIGSTOP)
    crawls = begin(host, guests[1], awaiting[1], "--max-rate", "1M", name="crawls")
    moving(crawls[0])
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, b"\n" * 4096)
    os.set_blocking(writes, True)
    env = {**os.environ, "XDG_RUNTIME_DIR": host.run_dir}
    deaf = subprocess.Popen([watari(), "receive", "--daemon", "--qmp", start_stubs(host, 1)[0], "--insecure", "--json",
                             "127.0.0.1:0/deaf"], stdout=writes, stderr=writes, env=env, start_new_session=True)
    os.close(writes)
    try:
        succeed(begin(host, guests[2], awaiting[2], "--verify", name="moves"))
        awaiting[2].wait_round()
        expect(crawls[0].running() and deaf.poll() is None, "the others did not last")
    finally:
        os.close(reads)
        deaf.terminate()
        deaf.wait()
    awaiting[0].process.signal(signal.SIGCONT)
    crawls[0].signal(signal.SIGTERM)
    expect([process.wait(60) for process in crawls] == [1, 1], crawls[0].tail())
    for process in hangs:
        process.wait(120)
    daemon.signal(signal.SIGTERM)
    expect(daemon.wait(60) == 0, daemon.tail())


def soak(migrations):
    """{metric: line} of scripts/bench soak, without the build that it makes."""
    command = [sys.executable, os.path.join(ROOT, "bench", "bench_soak.py"), "--json", "--migrations", str(migrations)]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise Failure(f"bench_soak.py ended with {ran.returncode}")
    print(ran.stdout, end="", flush=True)
    return {line["metric"]: line for line in map(json.loads, ran.stdout.splitlines())}


def case_soak_sample(host, image):
    """A guest goes back and forth a few times; after each both daemons have what they had before."""
    found = soak(8)
    for metric in ("fd_growth", "thread_growth", "pinned_growth"):
        expect(found[metric]["ratio"] <= 1, f"{found[metric]}")


def case_soak(host, image):
    """2,000 times; memory, descriptors, threads and pinned memory are flat from the 100th on."""
    found = soak(2000)
    for metric in ("rss_growth", "fd_growth", "thread_growth", "pinned_growth"):
        expect(found[metric]["ratio"] <= 1.02, f"{found[metric]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["stub"]:
        stub(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main(globals(), __doc__))
