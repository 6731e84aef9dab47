# SPDX-License-Identifier: BSD-3-Clause
"""agent.py - runs commands in a lab host for somebody outside. Both ends are here.

  agent.py NETNS TOKENFILE    the server, in the lab host: listens in NETNS, and then
                              prints a line
  execute()                   the client, outside; used by lab

One TCP connection is one command. The client sends one line of JSON
{token, argv, cwd, env, fresh, stdin}, then frames: a byte of kind, a big-endian length of 32
bits, that many bytes.

  1. The last frame is EXIT with the code of the command itself. What the command left
     running lives on, and nobody waits for it.
  2. When the client is gone, the command's process group is killed.
  3. Output before EXIT is complete: what the command wrote before it ended.
  4. A frame of length 0 to STDIN is the end of the input.
"""

import contextlib
import ctypes
import fcntl
import hmac
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

STDIN, STDOUT, STDERR, EXIT = range(4)
HEAD = struct.Struct("!BI")
PORT = 1  # inside the lab host
CHUNK = 65536
KVM_CREATE_VM = 0xAE01


def pack(kind, data):
    return HEAD.pack(kind, len(data)) + data


def unpack(buffer):
    """Takes the whole frames from the front of buffer (a bytearray)."""
    while len(buffer) >= HEAD.size:
        kind, size = HEAD.unpack_from(buffer)
        if len(buffer) < HEAD.size + size:
            return
        data = bytes(buffer[HEAD.size:HEAD.size + size])
        del buffer[:HEAD.size + size]
        yield kind, data


# ---- the client ----

class Gone(Exception):
    """The lab host does not answer any more."""


def execute(port, request, output, stdin=None):
    """Runs a command and returns its exit code, or raises Gone. output(kind, data) gets
    STDOUT and STDERR. stdin is a file descriptor or None."""
    try:
        conn = socket.create_connection(("127.0.0.1", port))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.sendall(json.dumps({**request, "stdin": stdin is not None}).encode() + b"\n")
    except OSError:
        raise Gone from None
    with conn:
        if stdin is not None:
            threading.Thread(target=_send_stdin, args=(conn, stdin), daemon=True).start()
        buffer = bytearray()
        while data := _receive(conn):
            buffer += data
            for kind, payload in unpack(buffer):
                if kind == EXIT:
                    return int(payload)
                output(kind, payload)
    raise Gone


def _receive(conn):
    try:
        return conn.recv(CHUNK)
    except OSError:
        return b""


def _send_stdin(conn, stdin):
    try:
        while data := os.read(stdin, CHUNK):
            conn.sendall(pack(STDIN, data))
        conn.sendall(pack(STDIN, b""))
    except OSError:
        pass  # the command has ended: nobody wants the rest


# ---- the server ----

def serve(netns, token_file):
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, open(netns) as control:
        if libc.setns(control.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")
        listener = socket.create_server(("", PORT), backlog=64)
        libc.setns(home.fileno(), 0)
    with open(token_file) as file:
        token = file.read()
    print("listening", flush=True)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=_serve_one, args=(conn, token), daemon=True).start()


def _serve_one(conn, token):
    with conn:
        try:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line, rest = _first_line(conn)
            request = json.loads(line)
            if not hmac.compare_digest(request.pop("token"), token):
                return
            conn.sendall(pack(EXIT, b"%d" % _run(conn, request, bytearray(rest))))
        except (OSError, ValueError, KeyError):
            pass  # the client has gone, or was none of ours


def _first_line(conn):
    data = b""
    while b"\n" not in data:
        more = conn.recv(CHUNK)
        if not more or len(data) > 1 << 20:
            raise ValueError
        data += more
    line, _, rest = data.partition(b"\n")
    return line, rest


def _run(conn, request, buffer):
    if request["fresh"]:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
    cwd = request["cwd"] if os.path.isdir(request["cwd"]) else "/"
    try:
        child = subprocess.Popen(
            request["argv"], cwd=cwd, env={**os.environ, **request["env"]},
            stdin=subprocess.PIPE if request["stdin"] else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True)
    except OSError as error:
        conn.sendall(pack(STDERR, f"lab: {request['argv'][0]}: {error.strerror}\n".encode()))
        return 127 if isinstance(error, FileNotFoundError) else 126
    with child.stdout, child.stderr:
        try:
            _relay(conn, child, buffer)
        except OSError:
            _kill(child)
            raise
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _relay(conn, child, buffer):
    """Moves bytes until the child has ended and its output is drained. While the child
    does not read its input we do not read the client, but still see it hang up."""
    kinds = {child.stdout.fileno(): STDOUT, child.stderr.fileno(): STDERR}
    for fd in kinds:
        os.set_blocking(fd, False)
    pidfd = os.pidfd_open(child.pid)
    poll = select.poll()
    for fd in (*kinds, pidfd):
        poll.register(fd, select.POLLIN)
    try:
        while True:
            wanted = _feed(child, buffer)
            poll.register(conn, select.POLLRDHUP | (0 if wanted else select.POLLIN))
            if wanted:
                poll.register(child.stdin, select.POLLOUT)
            ready = dict(poll.poll())
            if wanted:
                poll.unregister(child.stdin)
            if ready.get(conn.fileno(), 0) & ~select.POLLIN:
                raise ConnectionError
            if conn.fileno() in ready:
                data = conn.recv(CHUNK)
                if not data:
                    raise ConnectionError
                buffer += data
            ended = pidfd in ready
            for fd in [fd for fd in kinds if ended or fd in ready]:
                if not _pump(conn, fd, kinds[fd], ended):
                    poll.unregister(fd)
                    del kinds[fd]
            if ended:
                child.wait()
                return
    finally:
        os.close(pidfd)
        if child.stdin:
            child.stdin.close()


def _feed(child, buffer):
    """Writes the STDIN frames in buffer to the child. True: the child's pipe is full."""
    while len(buffer) >= HEAD.size:
        kind, size = HEAD.unpack_from(buffer)
        if kind != STDIN or not child.stdin or child.stdin.closed:
            del buffer[:]
            return False
        if size == 0:
            child.stdin.close()
            return False
        os.set_blocking(child.stdin.fileno(), False)
        data = bytes(buffer[HEAD.size:HEAD.size + size])
        if not data:
            return False
        try:
            done = os.write(child.stdin.fileno(), data)
        except BlockingIOError:
            return True
        except BrokenPipeError:
            child.stdin.close()
            continue
        del buffer[HEAD.size:HEAD.size + done]
        if done == size:
            del buffer[:HEAD.size]
        else:
            HEAD.pack_into(buffer, 0, STDIN, size - done)
    return False


def _pump(conn, fd, kind, to_the_end):
    """Sends what the child has written. False: the end of this output."""
    while True:
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return True
        if not data:
            return False
        conn.sendall(pack(kind, data))
        if not to_the_end:
            return True


def _kill(child):
    for number, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 0)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    child.wait()


def keep_kvm_in_use():
    """Holds an empty KVM machine for as long as the host lives. The kernel patches its own code (a static key in the
    scheduler) when the first machine comes and when the last one goes, and now and then an emulated processor goes on to
    run what stood there for an instant, a breakpoint, for ever: the host hangs."""
    with contextlib.suppress(OSError):
        kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
        return kvm, fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
    return None


if __name__ == "__main__":
    held = keep_kvm_in_use()
    serve(sys.argv[1], sys.argv[2])
