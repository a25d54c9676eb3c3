# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Bochs as a rig: Intel's VMX and, with another processor model, a second opinion on AMD's SVM."""

import contextlib
import os
import pathlib
import shutil
import socket
import sys
import threading

from . import cache_dir
from .machine import CONSOLE_CHILD, Machine, MachineError, Qemu

CONFIG = """\
display_library: {display}
cpu: model={model}, count={processors}, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none, time0=1704067200
memory: guest={memory}, host={memory}
romimage: file={firmware}, address=0xffc00000, options=none
vgaromimage: file={vga}
pci: enabled=1, chipset=i440fx
plugin_ctrl: speaker=0
port_e9_hack: enabled=1
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
{consoles}
{disks}
"""
# Debian's has no `nogui`; what its `term` shows goes to a terminal of its own.
DISPLAY, OTHER_DISPLAY = "nogui", "term"
ATA_PORTS = ((0x1F0, 0x3F0, 14), (0x170, 0x370, 15))
PLACES = [(channel, unit) for channel in range(len(ATA_PORTS)) for unit in ("master", "slave")]
QUIET = 0.2  # seconds without a byte, after which nothing more is expected


class Console(threading.Thread):
    """Carries bytes between our stdin and stdout and a serial port, which connects by TCP."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "%s:%d" % self.listener.getsockname()
        self.ended = threading.Event()
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            port, _ = self.listener.accept()
            threading.Thread(target=self._type, args=(port,), daemon=True).start()
            port.settimeout(QUIET)
            while True:
                try:
                    data = port.recv(1 << 16)
                except TimeoutError:
                    if self.ended.is_set():
                        return
                    continue
                if not data:
                    return
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()

    @staticmethod
    def _type(port):
        with contextlib.suppress(OSError):
            while data := os.read(0, 1024):
                port.sendall(data)

    def finish(self):
        """What was sent before the machine stopped has been written when this returns."""
        self.ended.set()
        self.listener.close()
        self.join(2)


class Bochs:
    """A machine of one processor model, without ACPI tables."""

    def __init__(self, name, model, packages=False):
        """With PACKAGES each processor is in a package of its own."""
        self.name, self.model, self.packages = name, model, packages
        self.console = None

    def _processors(self, machine):
        """Packages, cores, threads."""
        if self.packages and machine.threads == 1:
            return f"{machine.lps}:1:1"
        return f"1:{machine.lps // machine.threads}:{machine.threads}"

    TRIPLE_FAULT = b"exception with no resolution"

    def command(self, machine: Machine, log_fd):
        """The emulator's command line; its stdout, where port 0xe9 comes out, is LOG_FD."""
        for option in ("net", "gdb", "qmp", "kernel"):
            if getattr(machine, option):
                raise MachineError(f"the {self.name} rig has no --{option}")
        program = shutil.which(machine.bochs or cache_dir() / "bochs" / "bochs")
        if not program:
            raise MachineError("no Bochs here: run tools/setup")
        config = machine.work / "bochsrc"
        config.write_text(CONFIG.format(
            display=OTHER_DISPLAY if machine.bochs else DISPLAY,
            model=machine.cpu_flags or self.model, processors=self._processors(machine),
            memory=machine.memory, firmware=self._firmware(machine), vga=self._vga(),
            consoles=self._consoles(machine), log=machine.beside_log(".resets"), disks=self._disks(machine)))
        return ["sh", "-c", f'TERM=xterm exec "$0" "$@" </dev/null >&{log_fd}',
                program, "-q", "-f", str(config), *(self._go_on(machine) if machine.bochs else ())]

    @staticmethod
    def _go_on(machine):
        """Debian's stops in its debugger, before anything has run."""
        commands = machine.work / "debugger"
        commands.write_text("c\n")
        return "-rc", str(commands)

    @staticmethod
    def complains(line):
        """It comments on all that it does."""
        return ">>PANIC<<" in line

    def finish(self):
        if self.console:
            self.console.finish()

    @staticmethod
    def _firmware(machine):
        """Variables lie below the code, the end of which is at 4 GiB."""
        image = machine.work / "ovmf.fd"
        image.write_bytes(b"".join(pathlib.Path(Qemu.ovmf(half)).read_bytes()
                                   for half in ("vars", "code")))
        return image

    @staticmethod
    def _vga():
        firmware = pathlib.Path(Qemu.ovmf("code"))
        return firmware.parents[1] / "seabios" / "vgabios-stdvga.bin"

    def _consoles(self, machine):
        self.console = Console()
        terminal = f"mode=socket-client, dev={self.console.address}"
        lines = []
        if machine.console == CONSOLE_CHILD:
            lines += [f"com1: enabled=1, mode=file, dev={machine.beside_log('.com1')}",
                      f"com3: enabled=1, {terminal}"]
        else:
            lines += [f"com1: enabled=1, {terminal}"]
        if machine.extra_console:
            lines += [f"com4: enabled=1, mode=file, dev={machine.extra_console}"]
        return "\n".join(lines)

    @staticmethod
    def _disks(machine):
        disks = [machine.boot_disk, *machine.disks]
        if len(disks) > len(PLACES) or any(":" in str(disk) for disk in disks):
            raise MachineError("this rig has four ATA disks and no others")
        lines = []
        for (channel, unit), disk in zip(PLACES, disks):
            pathlib.Path(f"{disk}.lock").unlink(missing_ok=True)  # of a start that was given up
            if unit == "master":
                one, two, irq = ATA_PORTS[channel]
                lines += [f"ata{channel}: enabled=1, ioaddr1={one:#x}, ioaddr2={two:#x}, irq={irq}"]
            lines += [f"ata{channel}-{unit}: type=disk, path={disk}, mode=flat"]
        return "\n".join(lines)
