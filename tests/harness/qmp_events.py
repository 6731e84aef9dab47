# SPDX-License-Identifier: BSD-3-Clause
"""qmp_events.py - what a QEMU says by itself, with its own times: all QEMUs of a machine use one clock."""

import json
import socket
import threading
import time

from .hosts import Failure


class Events:
    """Hears the events of a QMP socket, which nobody else may use, until close."""

    def __init__(self, path, timeout_s=60):
        self.heard = []
        self.change = threading.Condition()
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(timeout_s)
        self.connection.connect(path)
        self.connection.settimeout(None)
        self.lines = self.connection.makefile("rw")
        self.lines.write(json.dumps({"execute": "qmp_capabilities"}) + "\n")
        self.lines.flush()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            for line in self.lines:
                said = json.loads(line)
                if "event" in said:
                    with self.change:
                        self.heard.append(said)
                        self.change.notify_all()
        except (OSError, ValueError):
            pass

    def time_of(self, event, status=None):
        """When it came last (seconds since 1970), or None."""
        for said in reversed(list(self.heard)):
            if said["event"] == event and (status is None or said["data"]["status"] == status):
                return said["timestamp"]["seconds"] + said["timestamp"]["microseconds"] / 1e6
        return None

    def wait(self, event, status=None, timeout_s=120, unless=lambda: None):
        """time_of, as soon as it has come. unless: asked now and then; what it answers is why it never will."""
        deadline = time.monotonic() + timeout_s
        with self.change:
            while (came := self.time_of(event, status)) is None:
                if (why := unless()) or time.monotonic() > deadline:
                    raise Failure(f"no {event} {status or ''} of QEMU: {why or f'not within {timeout_s:.0f} s'}")
                self.change.wait(0.2)
        return came

    def close(self):
        self.connection.shutdown(socket.SHUT_RDWR)
        self.reader.join(5)
        self.connection.close()
