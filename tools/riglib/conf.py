# SPDX-License-Identifier: BSD-2-Clause-Patent
"""corbel.conf as the launcher generates it: plain `key = value` lines and [sections]."""


def section(name, keys):
    """Text of a section (of the global keys when NAME is empty); keys without a value are left
    out."""
    lines = [f"[{name}]"] if name else []
    lines += [f"{key} = {value}" for key, value in keys.items() if value is not None]
    return "\n".join(lines) + "\n"


def globals_for(next_image, next_options=None):
    return section("", {"next": next_image, "next-options": next_options, "log": "e9"})


def root_section():
    return section("root", {"console": "com3", "exit": "poweroff"})


def vm_section(name, initrd, cmdline, vps, memory):
    return section(f"vm {name}", {
        "kernel": "\\child.img",
        "initrd": "\\initrd.img" if initrd else None,
        "cmdline": cmdline or None,
        "vps": vps,
        "memory": memory,
    })
