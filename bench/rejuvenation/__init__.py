# SPDX-License-Identifier: BSD-3-Clause
"""What rejuvenation costs a cluster: model.py has the formulas, inputs.json the numbers, pages.py the tables and figures."""
