#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""agent_ask.py SOCKET HOOK TEXT - gives a hook of a guest a message, through the guest's agent, and prints what it says. Needs nothing
of the harness, so that it runs in lab hosts.
"""

import json
import random
import socket
import sys


def ask(path, hook, text):
    """(whether all was well, the hook's words or the reason)"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(150)
        client.connect(path)
        number = random.randrange(1, 1 << 53)  # an agent that is asked twice under one number answers only once more
        request = {"id": number, "do": "message", "name": hook, "timeout_ms": 120000, "data": text + "\n"}
        client.sendall(b"\n" + json.dumps(request).encode() + b"\n")
        with client.makefile("r") as lines:
            for line in lines:
                answer = json.loads(line) if line.strip() else {}
                if answer.get("id") == number:
                    return answer["ok"], answer.get("output" if answer["ok"] else "error", "")
    return False, "QEMU has closed the socket"


if __name__ == "__main__":
    well, said = ask(*sys.argv[1:4])
    print(said, end="")
    sys.exit(0 if well else 1)
