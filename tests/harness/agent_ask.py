#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""agent_ask.py SOCKET HOOK TEXT - gives a hook of a guest a message, through the guest's agent, and prints what it says. Needs nothing
of the harness, so that it runs in lab hosts.
"""

import json
import random
import socket
import sys

REPEAT_S, PATIENCE = 5, 30


def answers(client):
    """Lines as they come; None when none has for REPEAT_S."""
    have = b""
    while True:
        try:
            got = client.recv(65536)
        except TimeoutError:
            yield None
            continue
        if not got:
            return
        *lines, have = (have + got).split(b"\n")
        yield from (json.loads(line) for line in lines if line.strip())


def ask(path, hook, text):
    """(whether all was well, the hook's words or the reason). Asks again, as watari does: QEMU may lose what is written while
    the guest's end is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(REPEAT_S)
        client.connect(path)
        number = random.randrange(1, 1 << 53)  # an agent that is asked twice under one number answers only once more
        request = {"id": number, "do": "message", "name": hook, "timeout_ms": 120000, "data": text + "\n"}
        line, silent = b"\n" + json.dumps(request).encode() + b"\n", 0
        client.sendall(line)
        for answer in answers(client):
            if answer is None:
                silent += 1
                if silent == PATIENCE:
                    return False, f"the agent says nothing for {REPEAT_S * PATIENCE} s"
                client.sendall(line)
            elif answer.get("id") == number:
                return answer["ok"], answer.get("output" if answer["ok"] else "error", "")
    return False, "QEMU has closed the socket"


if __name__ == "__main__":
    well, said = ask(*sys.argv[1:4])
    print(said, end="")
    sys.exit(0 if well else 1)
