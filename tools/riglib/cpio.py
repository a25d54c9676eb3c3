# SPDX-License-Identifier: BSD-2-Clause-Patent
"""cpio archives (newc) as Linux unpacks them; written here, so that device nodes need no root."""

import stat

MAGIC = b"070701"


class Archive:
    """An archive in memory; names are relative to the root, without a leading slash."""

    def __init__(self):
        self.out = bytearray()
        self.inode = 0
        self.folders = set()

    def folder(self, name):
        """Add a folder and those above it, once."""
        if not name or name in self.folders:
            return
        self.folder(name.rpartition("/")[0])
        self.folders.add(name)
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name, data, mode=0o644):
        self.folder(name.rpartition("/")[0])
        self._entry(name, stat.S_IFREG | mode, data)

    def device(self, name, major, minor):
        """Add a character device."""
        self.folder(name.rpartition("/")[0])
        self._entry(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def finish(self):
        self._entry("TRAILER!!!", 0, b"")
        return bytes(self.out)

    def _entry(self, name, mode, data, device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        self.out += MAGIC + b"".join(b"%08X" % field for field in fields) + encoded
        self._pad()
        self.out += data
        self._pad()

    def _pad(self):
        self.out += bytes(-len(self.out) % 4)
