# SPDX-License-Identifier: BSD-3-Clause
"""What tests, demo and benchmarks share: hosts, guests, migrations. Python's standard library only."""
