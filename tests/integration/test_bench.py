#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_bench.py CASE... - the benchmarks wt_*: each over tcp on loopback, and what they say when they cannot."""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.cases import expect, main  # noqa: E402
from harness.migration import install_key  # noqa: E402
from harness.multi import pull  # noqa: E402
from harness.wire import both, port_of, program, watari_wire  # noqa: E402

TCP = ("--fabric", "tcp")
LATENCIES = ("t_min_us", "t_typical_us", "t_99_us", "t_99_9_us", "t_max_us")


def check_bandwidth(found, size, iterations, paths):
    expect((found["test"], found["fabric"], found["bytes"]) == ("wt_read_bw", "tcp", size), f"another test: {found}")
    expect((found["iterations"], found["paths"]) == (iterations, paths), f"not all was read: {found}")
    expect(1 <= found["tx_depth"] <= 128, f"no depth of a path: {found}")
    rate = found["iterations"] * size / found["seconds"] / (1 << 20)
    expect(abs(rate - found["bw_average_mib_s"]) <= 0.001 * rate, f"bytes and seconds give {rate} MiB/s: {found}")
    expect(found["bw_peak_mib_s"] >= 0.9 * found["bw_average_mib_s"] and found["cpu_seconds"] >= 0, f"no peak: {found}")


def check_latency(found, size, iterations):
    expect((found["bytes"], found["iterations"]) == (size, iterations), f"another test: {found}")
    values = [found[name] for name in LATENCIES]
    expect(values == sorted(values) and values[0] > 0, f"latencies out of order: {found}")
    expect(values[0] <= found["t_avg_us"] <= values[-1] and found["t_stdev_us"] >= 0, f"no average: {found}")


def case_read(host, image):
    for more, size, iterations, paths in (
            (("-s", "65536", "-n", "200"), 65536, 200, 1),
            (("-s", "4096", "-n", "500", "-q", "3", "-e", "--scattered", "--memory", "8M", "--check"), 4096, 1500, 3),
            (("-s", "1M", "-n", "20", "-t", "4", "-Q", "2", "--spin", "50"), 1 << 20, 20, 1)):
        check_bandwidth(watari_wire("wt_read_bw", host, host, [*TCP, *more])[-1], size, iterations, paths)
    every = watari_wire("wt_read_bw", host, host, [*TCP, "-a", "-n", "20"])
    expect([found["bytes"] for found in every] == [2 << i for i in range(20)], f"not every size: {every}")
    found = watari_wire("wt_read_bw", host, host, [*TCP, "-D", "1"])[-1]
    expect(1 <= found["seconds"] < 10 and found["iterations"] > 20, f"-D 1: {found}")
    check_latency(watari_wire("wt_read_lat", host, host, [*TCP, "-s", "4096", "-n", "300"])[-1], 4096, 300)
    check_latency(watari_wire("wt_read_lat", host, host, [*TCP, "-n", "300", "-e"])[-1], 2, 300)


def case_send(host, image):
    check_latency(watari_wire("wt_send_lat", host, host, ["-s", "512", "-n", "300"])[-1], 512, 300)
    key = install_key([host])[0]
    waiting = host.start([program("wt_send_lat"), "-p", "0", "--json", "--psk", key], "waits")
    calling = host.start([program("wt_send_lat"), "-p", port_of(waiting), "--psk", key, "-n", "100", host.address], "calls")
    text = both(waiting, calling, 60)
    expect("t_typical[usec]" in text[1] and text[2].split()[:2] == ["2", "100"], f"no table: {text}")


def case_multi(host, image):
    found = pull(32, host, [host] * 2)
    expect(found["bytes"] == 32 << 20 and len(found["server_bytes"]) == 2 and found["seconds"] > 0, f"not all came: {found}")


def move(host, *options):
    """A guest of 24 MiB; what the end that has it says."""
    waiting = host.start([program("wt_vm_bw"), "-p", "0", "--json", *TCP, "-s", "24M"], "waits")
    calling = host.start([program("wt_vm_bw"), "-p", port_of(waiting), "--json", *TCP, "-s", "24M", *options, host.address], "calls")
    return json.loads(both(waiting, calling, 60)[-1])


def case_vm(host, image):
    found = move(host)
    expect((found["bytes"], found["moved_bytes"], found["passes"]) == (24 << 20, 24 << 20, 1), f"a guest that does not write: {found}")
    for _ in range(5):  # on a busy machine it may be through before the writer had its turn
        found = move(host, "--dirty", "200000", "--downtime-limit", "0", "--passes", "5")
        expect(found["passes"] <= 5 and 0 < found["downtime_ms"] < 1000 * found["seconds"], f"a guest that writes: {found}")
        if found["moved_bytes"] > found["bytes"]:
            break
    expect(found["moved_bytes"] > found["bytes"], f"no page was moved twice: {found}")
    waiting = host.start([program("wt_vm_bw"), "-p", "0", "--json", *TCP, "-s", "24M", "--blocks", "2"], "waits")
    sentence(host, [program("wt_vm_bw"), *TCP, "-p", port_of(waiting), "-s", "24M", "127.0.0.1"], 1, "disagree about -s or --blocks")
    waiting.kill()


def case_table(host, image):
    """What a person of perftest's sees."""
    waiting = host.start([program("wt_read_bw"), "-p", "0", "--json"], "waits")
    calling = host.start([program("wt_read_bw"), "-p", port_of(waiting), *TCP, "-F", "-R", "-n", "100", "--report_gbits", host.address],
                         "calls")
    text = both(waiting, calling, 60)
    expect(text[1].split() == "#bytes #iterations BW peak[Gb/sec] BW average[Gb/sec] MsgRate[Mpps]".split(), f"another head: {text}")
    expect(text[2].split()[:2] == ["65536", "100"] and len(text[2].split()) == 5, f"another line: {text}")


def sentence(host, argv, code, text):
    """One sentence, and the exit code."""
    found, said = host.call(argv)
    expect(found == code, f"{argv}: exit code {found}: {said}")
    expect(len(said.splitlines()) == 1 and said.startswith(f"{os.path.basename(argv[0])}: ") and text in said, f"{argv}: {said}")


def case_refused(host, image):
    read, lat, multi = program("wt_read_bw"), program("wt_read_lat"), program("wt_multi_bw")
    sentence(host, [read, "-s", "0"], 2, "-s takes 1 to 1")
    sentence(host, [read, *TCP, "-p", "1", "127.0.0.1"], 1, "nobody answers at 127.0.0.1 port 1")
    sentence(host, [read, *TCP, "no.such.host.invalid"], 1, "cannot resolve no.such.host.invalid")
    sentence(host, [lat, *TCP, "-d", "nonsense", "127.0.0.1"], 1, "no network interface nonsense")
    sentence(host, [multi, *TCP, "--psk", "/nonexistent", "-s", "4096"], 1, "/nonexistent")
    waiting = host.start([read, "-p", "0", "--json", "-d", "nonsense"], "waits")
    sentence(host, [read, *TCP, "-p", port_of(waiting), "127.0.0.1"], 1, "127.0.0.1 refuses: there is no network interface nonsense")
    expect(waiting.wait(20) == 1, f"the other end: {waiting.tail()}")
    waiting = host.start([program("wt_send_lat"), "-p", "0", "--json"], "waits")
    sentence(host, [read, *TCP, "-p", port_of(waiting), "127.0.0.1"], 1, "is not the other end of this test")
    waiting.kill()
    code, text = host.call([read, "-h"])
    expect(code == 0 and "--report_gbits" in text and "--servers" not in text, f"no help: {text}")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__))
