# SPDX-License-Identifier: BSD-2-Clause-Patent
"""A Debian system on a synthetic disk: what it is told to do, and what must be on its disk
afterwards, as qemu-img and e2fsck see it."""

import random
import re
import subprocess

from .jobs import BootVolume  # whose module knows where riglib is

# As lsvmbus calls what root.efi offers; DEBIAN in table.py has a disk and an adapter.
DEVICE_NAMES = ("Operating system shutdown", "Time Synchronization", "Heartbeat", "Data Exchange",
                "Backup (volume checkpoint)", "Guest services", "Synthetic keyboard",
                "Dynamic Memory", "Synthetic SCSI Controller", "Synthetic network adapter")
DEVICES = "lsvmbus; echo na''med\n"

# Comes and goes as it should, when the disk is told of it: what is on the disk afterwards is less.
TRIM_MIB = 96
TRIM = (f"head -c {TRIM_MIB}M /dev/urandom >big; sync; rm big; sync; fstrim -v /; sync; "
        "echo trim''med\n")
# In which a kill comes after the second round.
MOMENTS = 12


def doomed():
    """Churn, and `now` at a random moment of it."""
    second = random.randrange(MOMENTS * 10) / 10
    return (f"(while [ ! -e number ] || [ \"$(cat number)\" -lt 2 ]; do sleep 0.5; done; sleep {second}; "
            f"echo no''w) & {churn(1000)}")


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


def fsck(raw, *options):
    done = subprocess.run(["e2fsck", *options, raw], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"e2fsck {' '.join(options)}: {done.stdout[-300:]}"


def _data(raw):
    """Bytes of an image that are not zeros: qemu-img leaves the others out of the file."""
    return raw.stat().st_blocks * 512


def _untrimmed(result, raw):
    """What was deleted and trimmed has left the image; only the image says so."""
    before = result.folder / "before.img"
    subprocess.run(["qemu-img", "convert", "-q", "-O", "raw", result.folder / "debian.vhdx", before],
                   check=True)
    more = (_data(raw) - _data(before)) >> 20
    before.unlink()
    return f"there are {more} MiB more on the disk after trimming" if more > TRIM_MIB / 2 else ""


def clean(result):
    """After an orderly shutdown there is nothing to replay and nothing wrong."""
    raw = _disk_of(result)
    trim = _untrimmed(result, raw)
    state = subprocess.run(["dumpe2fs", "-h", raw], capture_output=True, text=True, check=True)
    fault = fsck(raw, "-fn")
    if "needs_recovery" in state.stdout:
        fault = "the journal was not emptied"
    raw.unlink()
    return fault or trim


def kept(result):
    """After a kill the journal makes it whole, and what was synchronized is there."""
    raw = _disk_of(result)
    subprocess.run(["e2fsck", "-p", raw], stdout=subprocess.DEVNULL, check=False)
    fault = fsck(raw, "-fn")
    read = subprocess.run(["debugfs", "-R", "cat /root/number", raw], capture_output=True,
                          text=True, check=True)
    promised = max(map(int, re.findall(r"^kept (\d+)\s*$", result.out, re.M)), default=0)
    found = int(read.stdout or 0)
    if not fault and not promised <= found <= promised + 1:
        fault = f"the disk has number {found}, promised was {promised}"
    raw.unlink()
    return fault
