#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_multi.py CASE... - one puller with several servers, each a process of its own, on this machine."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.multi import pull  # noqa: E402


def case_servers(host, image):
    """Three servers of the same memory: it comes right, each page once or a little more, and from each of them."""
    found = pull(256, host, [host] * 3)
    expect(found["bytes"] == 256 << 20, f"not all came: {found}")
    expect(len(found["server_bytes"]) == 3 and all(found["server_bytes"]), f"one was not used: {found}")
    expect(found["bytes"] <= sum(found["server_bytes"]) < 2 * found["bytes"], f"too much was pulled: {found}")
    print(f"  {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
