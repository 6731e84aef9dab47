# SPDX-License-Identifier: BSD-3-Clause
"""qmp_wait.py SOCKET [SECONDS] - waits until the migration of a QEMU has ended, and prints how.

Prints `waits` as soon as nothing can be missed, and then the state in which the migration ended: completed, failed or
cancelled. QEMU must have its capability `events` on. It sleeps while it waits, so a host that is measured is left alone.
Exit code 0; 2 when QEMU cannot be reached or the time is over.
"""

import json
import socket
import sys

ENDS = ("completed", "failed", "cancelled")


def wait(path, timeout_s):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        lines = connection.makefile("rw")
        json.loads(lines.readline())
        lines.write(json.dumps({"execute": "qmp_capabilities"}) + "\n")
        lines.flush()
        while "return" not in json.loads(lines.readline()):
            pass
        print("waits", flush=True)
        while True:
            event = json.loads(lines.readline())
            if event.get("event") == "MIGRATION" and event["data"]["status"] in ENDS:
                return event["data"]["status"]


def main():
    try:
        print(wait(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 600), flush=True)
    except (OSError, ValueError) as error:
        print(error, flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
