#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""test_faults_lab.py CASE... - the campaign of tests/faults over verbs, inside of a lab host with soft-RoCE and KVM.

  sample  some points
  verbs   each call of libibverbs and librdmacm fails in each way; results are kept in faults/ of the build, so it is resumed
  device  the port goes down, the device goes away, at each step
  daemon  the same in a daemon, which gives back its queue pairs and what it has pinned
"""

import os
import shutil
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [TESTS, os.path.join(TESTS, "faults")]

from harness.cases import expect, main  # noqa: E402
from harness.hosts import lab  # noqa: E402
from harness.migration import BUILD  # noqa: E402

from campaign import kept  # noqa: E402

CAMPAIGN = os.path.join(TESTS, "faults", "campaign.py")


def copy(source, target):
    if os.path.exists(source):
        shutil.copyfile(source, target)


def campaign(scenario, *options):
    results = kept(os.path.join(BUILD, "faults"), scenario, "1/1")
    with lab(1) as (host,):
        env = {"WATARI_BUILD": BUILD, "WATARI_ACCEL": "kvm", "WATARI_RDMA_ADDRESS": host.address}
        there = os.path.join(host.out_dir, f"{scenario}.jsonl")
        copy(results, there)
        process = host.start(["/usr/bin/python3", CAMPAIGN, scenario, "--out", there, *options], "campaign", env=env, verbose=True)
        try:
            code = process.wait(4800)
        finally:
            copy(there, results)
        print("\n".join(process.lines[-20:]), flush=True)
        expect(code == 0, f"exit code {code}: see above")


def whole(scenario):
    campaign(scenario, "--for", os.environ.get("WATARI_FAULT_SECONDS", "4500"))


def case_sample(image):
    campaign("verbs", "--sample", "6")


def case_verbs(image):
    whole("verbs")


def case_device(image):
    whole("verbs-device")


def case_daemon(image):
    whole("daemon-verbs")


if __name__ == "__main__":
    sys.exit(main(globals(), __doc__, in_lab=True, image=lambda: None))
