#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_refusals.py CASE... - mistakes, strangers and peers that fail, on this machine; `all` runs every case.

Each gets one clear sentence and an exit code that is not zero, and the source guest runs on, its memory right.
"""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import HURRY, SMALL, Skip, alive, expect, main, refused, still_fine  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import wait_for  # noqa: E402
from harness.migration import Migration, events, install_key, watari  # noqa: E402
from harness.network import network  # noqa: E402

FLOOD = {**SMALL, "mb": 512, "work_mb": 320}  # long enough on its way to be interrupted


def send(host, guest, target, *options):
    return host.start([watari(), "send", "--qmp", guest.qmp, "--json", *options, target], "send")


def receive(host, guest, *options, address="127.0.0.1"):
    """A `watari receive` that listens: (process, port)"""
    process = host.start([watari(), "receive", "--qmp", guest.qmp, "--json", *options, f"{address}:0/vm"], "receive")
    return process, wait_for(lambda: next((e["port"] for e in events(process) if e["event"] == "listening"), 0),
                             f"watari receive: {process.tail()}")


def source_of(host, image, **options):
    guest = Guest(host, image, **{**SMALL, **options})
    guest.wait_reports(2)
    return guest


def end(*processes):
    for process in processes:
        process.signal(signal.SIGTERM)
        process.wait(20)


def case_bad_input(host, image):
    """Words that make no sense, strangers on the control port, and then a migration that succeeds all the same."""
    source = source_of(host, image)
    refused(send(host, source, "127.0.0.1:1/vm", "--insecure"), "refused")
    refused(send(host, source, "no-such-host.invalid:7/vm", "--psk", install_key([host])[0]), "no-such-host.invalid")
    refused(send(host, source, "10.0.0.1:7/vm", "--insecure"), "loopback")
    refused(send(host, source, "127.0.0.1:7/vm"), "--psk")
    refused(host.start([watari(), "send", "--qmp", "/nonexistent", "--insecure", "127.0.0.1:7/vm"], "send"),
            "/nonexistent")
    for target, word in (("127.0.0.1:70000/vm", "70000"), ("127.0.0.1:x/vm", "x"), ("127.0.0.1/vm", "127.0.0.1"),
                         ("127.0.0.1:7", "127.0.0.1:7")):
        print(f"  {refused(send(host, source, target, '--insecure'), word)}", flush=True)

    destination = Guest(host, image, incoming=True, **SMALL)
    receiver, port = receive(host, destination, "--insecure")
    refused(send(host, source, f"127.0.0.1:{port}/other", "--insecure"), "other")
    for stranger in STRANGERS:
        stranger(port)
    key = install_key([host])[0]
    refused(send(host, source, f"127.0.0.1:{port}/vm", "--psk", key), "127.0.0.1")
    still_fine(source)
    expect(receiver.running(), f"receive ended: {receiver.tail()}")
    expect(send(host, source, f"127.0.0.1:{port}/vm", "--insecure", "--verify").wait(120) == 0, "the good one failed")
    expect(receiver.wait(30) == 0, f"receive: {receiver.tail()}")
    destination.wait_round()


def say(*words):
    """A stranger who says that and hangs up."""
    def stranger(port):
        with socket.create_connection(("127.0.0.1", port), 10) as connection, contextlib.suppress(OSError):
            for word in words:
                connection.sendall(word)
    return stranger


def tls_client(port):
    """A TLS client without our key, as a browser would be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as connection, contextlib.suppress(OSError):
        context.wrap_socket(connection)


STRANGERS = (say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), say(os.urandom(4096)), say(*[os.urandom(65536)] * 16),
             say(b"\0WATARI\1" + b"\xff" * 400), say(b""), tls_client)


def case_strangers_with_key(host, image):
    """The same strangers, where a key is wanted."""
    source = source_of(host, image)
    destination = Guest(host, image, incoming=True, **SMALL)
    key = install_key([host])[0]
    receiver, port = receive(host, destination, "--psk", key)
    for stranger in STRANGERS:
        stranger(port)
    expect(send(host, source, f"127.0.0.1:{port}/vm", "--psk", key).wait(120) == 0, "the good one failed")
    expect(receiver.wait(30) == 0, f"receive: {receiver.tail()}")
    destination.wait_round()


def answering(reply):
    """A server that answers every connection with reply; (socket, port). It serves the first one only."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.sendall(reply)
            connection.settimeout(10)
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass

    return listener, serve


def case_not_watari(host, image):
    """What answers at the port is no watari, or one of another version."""
    source = source_of(host, image)
    for what, reply in (("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20), ("noise", os.urandom(4096))):
        listener, serve = answering(reply)
        with listener:
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            said = refused(send(host, source, f"127.0.0.1:{listener.getsockname()[1]}/vm", "--insecure", *HURRY),
                           "does not speak watari's protocol")
            print(f"  {what}: {said}", flush=True)
            thread.join(20)
    still_fine(source)


class Meddler:
    """Passes one connection on to a port, and changes the first bytes that the client says."""

    def __init__(self, port, change):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.serve, args=(port, change), daemon=True)]
        self.threads[0].start()

    def serve(self, port, change):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                server.sendall(change(client.recv(4096)))
                for a, b in ((client, server), (server, client)):
                    threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)


def case_version(host, image):
    """A hello of another version is turned away, with both versions named; the destination waits on."""
    source = source_of(host, image)
    destination = Guest(host, image, incoming=True, **SMALL)
    receiver, port = receive(host, destination, "--insecure")

    def newer(hello):
        at = hello.index(b"\0WATARI\1") + 8  # behind the magic: the lowest and the highest version, 16 bits each
        return hello[:at] + b"\x09\0\x09\0" + hello[at + 4:]

    print(f"  {refused(send(host, source, f'127.0.0.1:{Meddler(port, newer).port}/vm', '--insecure', *HURRY), 'version')}")
    expect(receiver.running(), f"receive ended: {receiver.tail()}")
    still_fine(source)
    end(receiver)


def case_layout(host, image):
    """RAM that does not fit: too small, too large, another name, another number of blocks. Both ends are told, with the
    block and both sizes; the destination waits on."""
    source = source_of(host, image)
    numa = ("-object", "memory-backend-memfd,id=n0,size=80M,share=on", "-object",
            "memory-backend-memfd,id=n1,size=80M,share=on", "-numa", "node,memdev=n0", "-numa", "node,memdev=n1")
    mib = {size: str(size << 20) for size in (160, 96, 192)}
    for options, words in (({"mb": 192}, ("mem", mib[160], mib[192])), ({"mb": 96}, ("mem", mib[160], mib[96])),
                           ({"numa": numa}, ("mem",))):
        other = Guest(host, image, incoming=True, **{**SMALL, **options})
        wrong = Migration(source, other)
        said = refused(wrong.sender, words[0])
        expect(all(word in said for word in words), f"the sentence should name {words}: {said}")
        expect(wrong.receiver.running() and alive(other), "a source that does not fit must not end the destination")
        print(f"  {said}", flush=True)
        end(wrong.receiver)
        other.quit()
    still_fine(source)


def case_not_shared(host, image):
    """A destination whose RAM cannot be mapped is refused where it is, and the source never hears of it."""
    private = ("-machine", "memory-backend=mem", "-object", "memory-backend-ram,id=mem,size=160M")
    destination = Guest(host, image, incoming=True, **SMALL, numa=private)
    said = refused(host.start([watari(), "receive", "--qmp", destination.qmp, "--insecure", "127.0.0.1:0/vm"], "receive"),
                   "share=on")
    print(f"  {said}", flush=True)
    expect(alive(destination), "the destination QEMU was ended")


def under_way(attempt):
    wait_for(lambda: any(e.get("moved_bytes", 0) > 8 << 20 for e in events(attempt.sender)) or
             not attempt.sender.running(), f"the transfer: {attempt.sender.tail()}")
    expect(attempt.sender.running(), f"it ended too soon: {attempt.sender.tail()}")


def case_peers(host, image):
    """On a slow network, the destination's relay dies or stalls while it transfers, its QEMU does, or it stalls before it
    answers."""
    with network() as net:
        net.limit(100)
        peers(net.hosts, install_key(net.hosts), image)


def peers(hosts, keys, image):
    source = source_of(hosts[0], image, **FLOOD)
    for what, number in (("dies", signal.SIGKILL), ("stalls", signal.SIGSTOP)):
        destination = Guest(hosts[1], image, incoming=True, **FLOOD)
        attempt = Migration(source, destination, keys=keys, send=HURRY, receive=HURRY)
        under_way(attempt)
        attempt.receiver.signal(number)
        print(f"  {what} in the transfer: {refused(attempt.sender, hosts[1].address, 90)}", flush=True)
        still_fine(source)
        attempt.receiver.signal(signal.SIGCONT)
        wait_for(lambda: not attempt.receiver.running(), "the end of the destination's relay", 60)
        expect(attempt.receiver.child.returncode != 0, "receive claims success")
        destination.quit()

    destination = Guest(hosts[1], image, incoming=True, **FLOOD)
    receiver, port = receive(hosts[1], destination, "--psk", keys[1], *HURRY, address=hosts[1].address)
    receiver.signal(signal.SIGSTOP)
    target = f"{hosts[1].address}:{port}/vm"
    print(f"  stalls before it answers: {refused(send(hosts[0], source, target, '--psk', keys[0], *HURRY), target[:-3], 90)}",
          flush=True)
    receiver.signal(signal.SIGCONT)
    expect(receiver.running(), f"receive ended: {receiver.tail()}")
    end(receiver)
    destination.quit()

    destination = Guest(hosts[1], image, incoming=True, **FLOOD)
    attempt = Migration(source, destination, keys=keys, send=HURRY, receive=HURRY)
    under_way(attempt)
    destination.process.signal(signal.SIGSTOP)
    attempt.sender.signal(signal.SIGTERM)
    print(f"  its QEMU stalls, and the operator cancels: {refused(attempt.sender, 'cancel', 90)}", flush=True)
    still_fine(source)


def case_no_rdma(host, image):
    """--fabric verbs where there is no RDMA device."""
    if os.path.isdir("/sys/class/infiniband") and os.listdir("/sys/class/infiniband"):
        raise Skip("this machine has an RDMA device")
    source = source_of(host, image)
    destination = Guest(host, image, incoming=True, **SMALL)
    attempt = Migration(source, destination, send=["--fabric", "verbs"])
    print(f"  {refused(attempt.sender, 'no fabric that both ends have')}", flush=True)
    still_fine(source)
    attempt.receiver.wait(60)


def case_ram_full(host, image):
    """The destination's RAM is a file on a file system that becomes full."""
    if os.geteuid():
        raise Skip("mounting a small tmpfs needs root")
    source = source_of(host, image, **FLOOD)
    where = tempfile.mkdtemp(dir=host.run_dir)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48M", "none", where], check=True)
    try:
        destination = Guest(host, image, incoming=True, **FLOOD, backend="file", ram_file=f"{where}/ram")
        attempt = Migration(source, destination, send=HURRY, receive=HURRY)
        print(f"  {refused(attempt.sender, 'there is no memory', 120)}", flush=True)
        wait_for(lambda: not attempt.receiver.running(), "the end of the destination's relay", 60)
        print(f"  {refused(attempt.receiver, 'there is no memory')}", flush=True)
        still_fine(source)
        destination.quit()
    finally:
        subprocess.run(["umount", "-l", where], check=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
