# SPDX-License-Identifier: BSD-3-Clause
"""qmp_call.py SOCKET COMMAND [ARGUMENTS-JSON] - one QMP command; prints the return value as JSON.

Exit code 1 when QEMU answers with an error (its text is printed), 2 when it cannot be reached.
"""

import json
import socket
import sys


def call(path, command, arguments=None, timeout_s=20):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(path)
        lines = connection.makefile("rw")
        json.loads(lines.readline())
        for request in ({"execute": "qmp_capabilities"},
                        {"execute": command, "arguments": arguments or {}}):
            lines.write(json.dumps(request) + "\n")
            lines.flush()
            while True:
                reply = json.loads(lines.readline())
                if "return" in reply or "error" in reply:
                    break
        return reply


def main():
    try:
        reply = call(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else None)
    except (OSError, ValueError) as error:
        print(error)
        return 2
    if "error" in reply:
        print(reply["error"]["desc"])
        return 1
    print(json.dumps(reply["return"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
