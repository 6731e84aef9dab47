#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_security.py CASE... - the table of docs/SECURITY.md: each attack on a migration that is under way; `all` runs every case.

`table` makes all of them on one migration, every other case is one row on a migration of its own. Each is refused, the
destination says so in one line, and the migration goes on to its end, the guest's memory right.
"""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import SMALL, expect, main, refused  # noqa: E402
from harness.guests import Guest  # noqa: E402
from harness.hosts import ROOT, wait_for  # noqa: E402
from harness.migration import Receive, events, watari  # noqa: E402

HERE = "127.0.0.1"
HALF_OPEN_MAX = 64  # of control handshakes, and of data connections


class Certificates:
    """Folders by name: `host` for both ends; `guest`, of the same authority and not allowed; `lost`, revoked; `old`, out of
    date; `strange`, of another authority."""

    def __init__(self, directory):
        self.directory = directory
        for name in ("ca", "other"):
            self.make("init", name)
        for name in ("lost", "guest", "host"):
            self.make("host", "ca", name, f"{name}.test", f"IP:{HERE}")
        self.make("host", "ca", "old", "old.test", WATARI_CERTIFICATE_END="20200101000000Z")
        self.make("host", "other", "strange", "host.test")
        self.make("revoke", "ca", self.folder("lost") + "/client-cert.pem")
        with open(self.folder("ca") + "/ca-crl.pem") as made, open(self.folder("host") + "/ca-crl.pem", "w") as file:
            file.write(made.read())

    def make(self, action, authority, *rest, **env):
        words = [action, self.folder(authority), *((self.folder(rest[0]), *rest[1:]) if rest else ())]
        subprocess.run([os.path.join(ROOT, "scripts", "certificates"), *words], check=True, env={**os.environ, **env})

    def folder(self, name):
        return os.path.join(self.directory, name)

    def options(self, name):
        return ["--tls-creds", self.folder(name), "--tls-allow", "host.test"]


class Target:
    """A migration that is under way: the guest writes faster than QEMU may send, until finish."""

    def __init__(self, host, image):
        self.host = host
        self.certificates = Certificates(host.run_dir)
        self.source = Guest(host, image, **{**SMALL, "rate": 4000})
        self.source.wait_reports(1)
        self.destination = Guest(host, image, incoming=True, **{**SMALL, "rate": 4000})
        self.receive = Receive(self.destination, *self.certificates.options("host"), address=HERE)
        self.receiver, self.port = self.receive.process, self.receive.port()
        self.sender = host.start(
            [watari(), "send", "--qmp", self.source.qmp, "--json", *self.certificates.options("host"), "--max-rate", "3M",
             "--fabric", "tcp", "--verify", self.receive.target()], "send")
        wait_for(lambda: any(e.get("moved_bytes", 0) > 1 << 20 for e in events(self.sender)) or not self.sender.running(),
                 f"the transfer: {self.sender.tail()}")
        self.data_port = next(port for port in self.listening() if port != self.port)

    def listening(self):
        """The TCP ports on which the destination's relay listens."""
        pid = self.receiver.child.pid
        sockets = set()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        with open(f"/proc/{pid}/net/tcp") as four, open(f"/proc/{pid}/net/tcp6") as six:
            rows = [line.split() for line in [*four.readlines()[1:], *six.readlines()[1:]]]
        return [int(row[1].rsplit(":", 1)[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]

    def refusals(self):
        return [e["text"] for e in events(self.receiver) if e["event"] == "refused"]

    def said(self, text, attack, count=1):
        """The attack is made, and the destination refuses it so many times, in these words and no others."""
        before = len(self.refusals())
        attack()
        wait_for(lambda: len(self.refusals()) >= before + count or not self.receiver.running(), f"word of {text}", 30)
        time.sleep(0.2)  # another line would be one too many
        new = self.refusals()[before:]
        expect(len(new) == count and all(re.search(text, line) for line in new), f"{count} of '{text}' expected: {new}")
        print(f"    {new[-1]}", flush=True)

    def silent(self):
        """Whatever was to be said of attacks that are over has been said."""
        said = -1
        while said != (said := len(self.refusals())):
            time.sleep(1)

    def goes_on(self):
        expect(self.sender.running() and self.receiver.running(), f"the migration has ended: {self.sender.tail()}")
        lost = [e for e in [*events(self.sender), *events(self.receiver)] if e["event"] in ("lost", "failed", "aborted")]
        expect(not lost, f"the migration was disturbed: {lost}")

    def finish(self):
        """The guest moves, and is well there."""
        self.goes_on()
        code, text = self.source.call("migrate-set-parameters", {"max-bandwidth": 1 << 30})
        expect(code == 0, text)
        expect(self.sender.wait(120) == 0, f"send: {self.sender.tail()}")
        expect(self.receiver.wait(60) == 0, f"receive: {self.receiver.tail()}")
        connected = [e for e in events(self.sender) if e["event"] == "connected"]
        expect(connected and connected[0]["fabric"] == "tls", f"data was not encrypted: {connected}")
        self.goes_well()

    def goes_well(self):
        self.destination.wait_round()


# ---- attackers ----

def connect(port):
    return socket.create_connection((HERE, port), 10)


def context(folder=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if folder:
        made.load_cert_chain(f"{folder}/client-cert.pem", f"{folder}/client-key.pem")
    return made


def is_refused_by(port, made, say=b""):
    """A TLS client that connects, speaks, and listens until it is turned away; answers what it heard."""
    heard = b""
    with connect(port) as connection, contextlib.suppress(OSError):  # an alert is one, too
        with made.wrap_socket(connection) as tls:
            tls.sendall(say)
            while more := tls.recv(4096):
                heard += more
    return heard


def says(port, *words):
    """Whoever says that and hangs up."""
    with connect(port) as connection, contextlib.suppress(OSError):
        for word in words:
            connection.sendall(word)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def hello(name):
    """Of watari's protocol, for a guest."""
    with open(os.path.join(ROOT, "transport", "wire.h")) as file:
        version = int(re.search(r"WT_WIRE_VERSION (\d+)", file.read())[1]).to_bytes(2, "little")
    text = name.encode()
    return (b"\0WATARI\1" + 2 * version + os.urandom(16) + bytes(8) + len(text).to_bytes(2, "little") + text).ljust(312, b"\0")


# ---- the rows: (target) ----

def row_nothing_without_credentials(t):
    """Without credentials nothing listens, and in the clear nothing but this host can connect."""
    incoming = Guest(t.host, t.image, incoming=True, **SMALL)
    start = [watari(), "receive", "--qmp", incoming.qmp]
    print(f"    {refused(t.host.start([*start, f'{HERE}:0/other'], 'receive'), '--insecure')}", flush=True)
    print(f"    {refused(t.host.start([*start, '--insecure', '0.0.0.0:0/other'], 'receive'), 'nothing is encrypted')}", flush=True)
    incoming.quit()


def row_no_certificate(t):
    t.said("shown no certificate", lambda: is_refused_by(t.port, context()))


def row_in_the_clear(t):
    t.said("does not speak TLS", lambda: says(t.port, hello("vm")))


def row_pre_shared_key(t):
    """Where certificates are wanted, a key is none."""
    t.said("broke the TLS handshake|shown no certificate", lambda: says_key(t.port))


def says_key(port):
    subprocess.run(["openssl", "s_client", "-connect", f"{HERE}:{port}", "-psk", "ab" * 32, "-psk_identity", "watari", "-tls1_3",
                    "-ciphersuites", "TLS_AES_128_GCM_SHA256"], check=False, capture_output=True, timeout=30, input=b"")


def row_wrong_authority(t):
    t.said("strange|not accepted", lambda: is_refused_by(t.port, context(t.certificates.folder("strange"))))


def row_expired(t):
    t.said("certificate has expired", lambda: is_refused_by(t.port, context(t.certificates.folder("old"))))


def row_revoked(t):
    t.said("certificate revoked", lambda: is_refused_by(t.port, context(t.certificates.folder("lost"))))


def row_not_allowed(t):
    t.said("CN=guest.test.*not allowed here", lambda: is_refused_by(t.port, context(t.certificates.folder("guest"))))


def row_other_guest(t):
    """Somebody who is allowed to connect names a guest that is not awaited here, or comes for the same one."""
    made = context(t.certificates.folder("host"))
    t.said('the VM that is awaited here is "vm", not "other"', lambda: is_refused_by(t.port, made, hello("other")))
    t.said("being received from another source", lambda: is_refused_by(t.port, made, hello("vm")))


def row_downgrade(t):
    made = context(t.certificates.folder("host"))
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    t.said("offered no TLS 1.3", lambda: is_refused_by(t.port, made))


def row_oversized_handshake(t):
    """A record longer than TLS has, and a first message that says it has 16 MiB."""
    t.said("broke the TLS handshake", lambda: says(t.port, b"\x16\x03\x01\xff\xff" + bytes(65535)))
    t.said("broke the TLS handshake", lambda: says(t.port, *[b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380)] * 64))


def row_port_scan(t):
    t.said("closed the connection|ended the connection", lambda: connect(t.port).close())
    t.said("data connection over tls", lambda: connect(t.data_port).close())


def row_crowd(t):
    """More connections than there are places for handshakes, which say nothing: the oldest make room."""
    def crowd(port, connections):
        for _ in range(HALF_OPEN_MAX + 1):
            connections.enter_context(connect(port))

    expired = context(t.certificates.folder("old"))
    with contextlib.ExitStack() as connections:
        t.said("was dropped: more than 64", lambda: crowd(t.port, connections))
        t.said("data connection over tls", lambda: crowd(t.data_port, connections))
        t.said("certificate has expired|was dropped", lambda: is_refused_by(t.port, expired), 2)
        before = len(t.refusals())
    wait_for(lambda: len(t.refusals()) >= before + HALF_OPEN_MAX, "word of those who left")
    t.silent()


def row_data_without_token(t):
    """On the data port: the tcp fabric's own greeting with a token that is made up; a key that is; noise."""
    greeting = b"WTTH\1\0\0\0" + os.urandom(48)
    t.said("data connection over tls without the session's token", lambda: says(t.data_port, greeting))
    t.said("data connection over tls without the session's token", lambda: says_key(t.data_port))
    t.said("data connection over tls without the session's token", lambda: says(t.data_port, os.urandom(4096)))


def row_slow_handshake(t):
    """A client hello byte by byte ends after 10 s, however busy it looks."""
    start = time.monotonic()
    with connect(t.port) as connection:
        def drip():
            with contextlib.suppress(OSError):
                for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100):
                    connection.sendall(bytes([byte]))
                    time.sleep(0.2)
        t.said("did not finish the TLS handshake within 10", drip)
    expect(time.monotonic() - start > 9, "it was not even waited for")


ROWS = {name[4:]: function for name, function in list(globals().items()) if name.startswith("row_")}


def attack(host, image, rows):
    target = Target(host, image)
    target.image = image
    for name, row in rows.items():
        print(f"  {name}", flush=True)
        row(target)
        target.goes_on()
    target.finish()


def case_table(host, image):
    """Every row, on one migration."""
    attack(host, image, ROWS)


def one(name, row):
    def case(host, image):
        attack(host, image, {name: row})
    return case


globals().update({f"case_{name}": one(name, row) for name, row in ROWS.items()})


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
