# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Disk images: the boot volume, and the disks and files that tests/guests/root checks.

Everything is written by mtools and by hand, so that no root is needed.
"""

import hashlib
import os
import random
import shutil
import struct
import subprocess

SECTOR = 512
MIB = 1 << 20
PARTITION_START = MIB  # the first partition, as partitioning tools align it
IMAGE_DATE = "1704067200"  # 2024-01-01, where the counting rig's clock starts
TYPE_EFI_SYSTEM = 0xEF
TYPE_LINUX = 0x83


class ImageError(Exception):
    """A file that cannot be read, or a tool that failed."""


def write_mbr(disk, size, kind):
    """Give an open disk image of SIZE bytes one partition that reaches to its end."""
    start, count = PARTITION_START // SECTOR, (size - PARTITION_START) // SECTOR
    chs = b"\xfe\xff\xff"  # beyond what CHS can say: use the LBA fields
    entry = struct.pack("<B3sB3sII", 0x80, chs, kind, chs, start, count)
    disk.seek(0)
    disk.write(bytes(440) + b"CRBL\0\0" + entry + bytes(48) + b"\x55\xaa")


def mtools(*command, data=None):
    # A fixed date, and a fixed serial number below: the same files make the same image.
    env = dict(os.environ, MTOOLS_SKIP_CHECK="1", SOURCE_DATE_EPOCH=IMAGE_DATE, TZ="UTC")
    result = subprocess.run(command, env=env, input=data, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        raise ImageError(f"{command[0]}: {result.stdout.decode(errors='replace').strip()}")


class BootVolume:
    """A disk with one FAT file system, from which the firmware boots."""

    def __init__(self, spare=16):
        self.files = {}
        self.spare = spare  # MiB

    def add(self, name, source):
        """Put a host's file (a path) or bytes at NAME, written with forward slashes."""
        name = name.replace("\\", "/").strip("/")
        if not isinstance(source, bytes) and not os.path.isfile(source):
            raise ImageError(f"{source}: no such file")
        self.files[name] = source

    def _size(self):
        total = sum(len(s) if isinstance(s, bytes) else os.path.getsize(s)
                    for s in self.files.values())
        return max(64, total // MIB + self.spare) * MIB

    @staticmethod
    def extract(disk, name, path):
        """Copy the file NAME out of a boot disk."""
        mtools("mcopy", "-n", "-i", f"{disk}@@{PARTITION_START}", f"::{name}", str(path))

    def write(self, path):
        size = self._size()
        with open(path, "wb") as disk:
            disk.truncate(size)
            write_mbr(disk, size, TYPE_EFI_SYSTEM)
        volume = f"{path}@@{PARTITION_START}"
        sectors = (size - PARTITION_START) // SECTOR
        mtools("mformat", "-i", volume, "-T", str(sectors), "-h", "16", "-s", "63",
               "-N", "c0abe100", "-v", "CORBEL", "::")
        folders = {f"{'/'.join(name.split('/')[:depth])}" for name in self.files
                   for depth in range(1, name.count("/") + 1)}
        if folders:
            mtools("mmd", "-i", volume, *(f"::{folder}" for folder in sorted(folders)))
        for name, source in self.files.items():
            if isinstance(source, bytes):
                mtools("mcopy", "-i", volume, "-", f"::{name}", data=source)
            else:
                mtools("mcopy", "-i", volume, str(source), f"::{name}")


def pattern(seed):
    """A MiB of bytes that repeats nowhere, the same each time for the same seed."""
    return random.Random(seed).randbytes(MIB)


def write_test_disk(path, seed=1, size=16 * MIB):
    """A disk as tests/guests/root checks it: a partition with a pattern and its MD5 sum."""
    data = pattern(seed)
    with open(path, "wb") as disk:
        disk.truncate(size)
        write_mbr(disk, size, TYPE_LINUX)
        disk.seek(PARTITION_START)
        disk.write(data + hashlib.md5(data).hexdigest().encode())


def write_network_files(folder, seed=2):
    """What the user-mode network's TFTP server offers to tests/guests/root."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    data = pattern(seed)[:256 << 10]
    for name, content in (("data", data), ("data.md5", hashlib.md5(data).hexdigest().encode())):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
