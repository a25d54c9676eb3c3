# SPDX-License-Identifier: BSD-2-Clause-Patent
"""A Debian system on a synthetic disk: what it is told to do, and what must be on its disk
afterwards, as qemu-img and e2fsck see it."""

import re
import subprocess

from .jobs import BootVolume  # whose module knows where riglib is

def churn(rounds):
    """Packages come and go, files are copied; a number is kept once it has been printed."""
    return (f"cd /root; n=0; while [ $n -lt {rounds} ] && dpkg -i hello*.deb >/dev/null && "
            "dpkg -P hello >/dev/null; do n=$((n+1)); cp -r /usr/share/doc new; rm -rf old; "
            "mv new old; echo $n >number.new; sync number.new; mv number.new number; "
            "sync /root; echo kept $n; done; echo chur''ned\n")


def login(*lines):
    """The dialogue of a login, and of what follows it: (what to wait for, text)."""
    return (("login: $", "root\n"), *lines)


def _disk_of(result):
    disk, raw = result.folder / "after.vhdx", result.folder / "after.img"
    BootVolume.extract(result.folder / "volume", "debian.vhdx", disk)
    subprocess.run(["qemu-img", "convert", "-q", "-O", "raw", disk, raw], check=True)
    (result.folder / "volume").unlink()
    disk.unlink()
    return raw


def _fsck(raw, *options):
    done = subprocess.run(["e2fsck", *options, raw], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"e2fsck {' '.join(options)}: {done.stdout[-300:]}"


def clean(result):
    """After an orderly shutdown there is nothing to replay and nothing wrong."""
    raw = _disk_of(result)
    state = subprocess.run(["dumpe2fs", "-h", raw], capture_output=True, text=True, check=True)
    fault = _fsck(raw, "-fn")
    if "needs_recovery" in state.stdout:
        fault = "the journal was not emptied"
    raw.unlink()
    return fault


def kept(result):
    """After a kill the journal makes it whole, and what was synchronized is there."""
    raw = _disk_of(result)
    subprocess.run(["e2fsck", "-p", raw], stdout=subprocess.DEVNULL, check=False)
    fault = _fsck(raw, "-fn")
    read = subprocess.run(["debugfs", "-R", "cat /root/number", raw], capture_output=True,
                          text=True, check=True)
    promised = max(map(int, re.findall(r"^kept (\d+)\s*$", result.out, re.M)), default=0)
    found = int(read.stdout or 0)
    if not fault and not promised <= found <= promised + 1:
        fault = f"the disk has number {found}, promised was {promised}"
    raw.unlink()
    return fault
