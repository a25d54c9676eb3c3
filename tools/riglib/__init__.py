# SPDX-License-Identifier: BSD-2-Clause-Patent
"""What tools/rig, tools/initramfs and tests/run share."""

import os
import pathlib

TREE = pathlib.Path(__file__).resolve().parents[2]
TOOLS = TREE / "tools"


def build_dir():
    """The build folder: $B as make passes it, relative to the tree, or build/."""
    return TREE / os.environ.get("B", "build")


def cache_dir():
    """Where tools/setup keeps what it fetches and builds."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "corbel"


def guests_dir():
    """The guests that Debian built."""
    return cache_dir() / "guests"
