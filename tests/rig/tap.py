# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Judge TAP output that is mixed with other lines."""

import re

# The hypervisor and the root put a time stamp or a name before lines that they pass on.
PREFIX = r"^(?:\[[^\]]*\] ?)?(?:[\w. -]+: )?"
TEST = re.compile(PREFIX + r"(not )?ok (\d+)\b(.*)$")
PLAN = re.compile(PREFIX + r"1\.\.(\d+)\s*$")
BAIL_OUT = re.compile(PREFIX + r"Bail out!(.*)$")


def has_plan(text):
    """Is there TAP in TEXT at all?"""
    return any(map(PLAN.match, text.splitlines()))


def fault(text):
    """What is wrong with the TAP in TEXT, or an empty string when every test passed."""
    count, plan = 0, None
    for line in text.splitlines():
        if match := BAIL_OUT.match(line):
            return f"bailed out:{match.group(1)}"
        if match := PLAN.match(line):
            if plan is not None:
                return "more than one plan"
            plan = int(match.group(1))
        elif match := TEST.match(line):
            count += 1
            if match.group(1):
                return f"not ok {match.group(2)}{match.group(3)}"
            if int(match.group(2)) != count:
                return f"test {match.group(2)} came as number {count}"
    if plan is None:
        return f"no plan after {count} tests"
    if plan != count or count == 0:
        return f"{count} tests of {plan}"
    return ""
