#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""check_arrows.py - the arrows of dependency between folders, read from the #include lines.

  transport   its own headers, the system's; verbs headers only in path_verbs*.c and .h
  qemu-glue, mpi-coord, bench   transport's public headers <watari/...> only; nothing of each other's
                                (except what INTERNAL lists: the plan is pure, and is measured alone)
  Open MPI's own headers        only in mpi-coord/compat.h, which btl_* include
and every C file, script and build file carries its SPDX line.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("transport", "qemu-glue", "mpi-coord", "bench")
OPEN_MPI = re.compile(r"(opal|ompi|orte)[/_]")
VERBS = re.compile(r"infiniband/|rdma/")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
INTERNAL = {("bench/wt_planner.c", "../transport/plan.h")}
SPDX = "SPDX-License-Identifier: BSD-3-Clause"


def files():
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                            check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def include_problem(path, bracket, name):
    folder = path.relative_to(ROOT).parts[0]
    if VERBS.match(name) and not path.name.startswith("path_verbs"):
        return "verbs headers belong to path_verbs*"
    if OPEN_MPI.match(name) and str(path.relative_to(ROOT)) != "mpi-coord/compat.h":
        return "Open MPI's headers belong to mpi-coord/compat.h"
    if path.parent.name == "mpi-coord" and name == "compat.h" and not path.name.startswith("btl_"):
        return "only btl_* know Open MPI"
    if bracket == "<" or (str(path.relative_to(ROOT)), name) in INTERNAL:
        return None
    target = (path.parent / name).resolve()
    if not target.is_relative_to(ROOT / folder):
        return f"leaves {folder}/"
    return None if target.exists() else "does not exist beside it"


def main():
    problems, checked = [], 0
    for path in files():
        relative = path.relative_to(ROOT)
        if path.suffix in (".c", ".h", ".py", ".S", ".cmake") or path.name == "CMakeLists.txt" or \
                relative.parts[0] == "scripts":
            if SPDX not in path.read_text(errors="replace")[:400]:
                problems.append(f"{relative}: no SPDX line")
        if relative.parts[0] not in FOLDERS or path.suffix not in (".c", ".h"):
            continue
        checked += 1
        for bracket, name in INCLUDE.findall(path.read_text()):
            if problem := include_problem(path, bracket, name):
                problems.append(f"{relative}: #include {name}: {problem}")
    print("\n".join(problems) or f"{checked} files keep the arrows")
    return 1 if problems or not checked else 0


sys.exit(main())
