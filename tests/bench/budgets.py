# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The budget file: `row figure  # reason` lines, and the compiler that they were measured with."""

import re
import subprocess

from benchlib import BENCH, INTEL, INTEL_MOST, ROWS, TREE

FILE = BENCH / "budgets"
SLACK = 0.03


def read(text):
    """(compiler, {row: (figure, reason)})"""
    made_by, rows = "", {}
    for line in text.splitlines():
        match = re.match(r"^(\S+)\s+(-?\d+)\s*(?:#\s*(.*))?$", line)
        if match:
            rows[match[1]] = (int(match[2]), (match[3] or "").strip())
        elif line.startswith("compiler "):
            made_by = line[len("compiler "):].strip()
    return made_by, rows


def write(figures, compiler):
    """Write the medians; comments and reasons stay."""
    old = FILE.read_text()
    _made_by, rows = read(old)
    lines = [line for line in old.splitlines() if line.startswith("#")] + [f"compiler {compiler}"]
    for row in [*ROWS, *(INTEL + row for row in ROWS)]:
        if row in figures:
            reason = rows.get(row, (0, ""))[1]
            lines.append(f"{row:<17} {figures[row][1]:>7}" + (f"  # {reason}" if reason else ""))
    FILE.write_text("\n".join(lines) + "\n")


def exceeded(rows, figures):
    """Complaints about medians more than SLACK above their budget, and about rows without either."""
    found = []
    for row, (budget, _reason) in rows.items():
        if row not in figures:
            found.append(f"{row}: not measured")
        elif figures[row][1] > budget + SLACK * abs(budget):
            found.append(f"{row}: {figures[row][1]} is more than 3 % above its budget of {budget}")
    return found + [f"{row}: it has no budget" for row in figures if row not in rows]


def dearer_on_intel(figures):
    """Complaints about rows of which Intel's path has to cost about what AMD's does."""
    return [f"{INTEL + row}: {figures[INTEL + row][1]} is more than {most:.2f} times AMD's "
            f"{figures[row][1]}" for row, most in INTEL_MOST.items()
            if figures[INTEL + row][1] > most * figures[row][1]]


def raised(before, after):
    """Rows that a new text of the file raises without a new reason."""
    (old_compiler, old), (new_compiler, new) = read(before), read(after)
    if old_compiler != new_compiler:
        return []
    return [row for row, (figure, reason) in new.items()
            if row in old and figure > old[row][0] and (not reason or reason == old[row][1])]


def _git(*command):
    out = subprocess.run(["git", "-C", TREE, *command], text=True, capture_output=True, check=False)
    return out.stdout if out.returncode == 0 else None


def raised_silently():
    """Rows that the last commit that changed the file raised without a new reason, or that the working
    tree does. Nothing where there is no history."""
    last = (_git("log", "-1", "--format=%H", "--", FILE) or "").strip()
    found = []
    for revision, after in ((f"{last}^", last and _git("show", f"{last}:tests/bench/budgets")),
                            ("HEAD", FILE.read_text())):
        before = _git("show", f"{revision}:tests/bench/budgets")
        if before and after:
            found += raised(before, after)
    return sorted(set(found))


def check(figures, compiler):
    """Complaints; prints which budgets can be lowered, and when they do not bind."""
    made_by, rows = read(FILE.read_text())
    complaints = [f"{row}: its budget was raised without a new reason" for row in raised_silently()]
    if made_by != compiler:
        print(f"The budgets are {made_by}'s; this is {compiler}'s build, and is not held to them.")
        return complaints + [f"{row}: not measured" for row in rows if row not in figures]
    for row, (budget, _reason) in rows.items():
        got = figures.get(row, (0, budget))[1]
        if got < budget - SLACK * abs(budget):
            print(f"{row}: {got} is below its budget of {budget}, which can be lowered")
    return complaints + dearer_on_intel(figures) + exceeded(rows, figures)
