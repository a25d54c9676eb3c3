# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The emulated machine: what it is made of, and how each emulator is told."""

import dataclasses
import pathlib
import shutil
import subprocess

from . import TOOLS
from . import image

CONSOLE_ROOT = "root"    # stdio is COM1, the root operating system's console
CONSOLE_CHILD = "child"  # stdio is COM3, which root.efi gives to the first child


class MachineError(Exception):
    """The machine cannot be built or started."""


@dataclasses.dataclass
class Machine:
    """What a run needs; the same for every emulator."""
    work: pathlib.Path               # folder for what lives as long as the run
    boot_disk: pathlib.Path | None   # None: only with `kernel`
    log: pathlib.Path                # port 0xe9 goes here, other logs beside it
    console: str = CONSOLE_CHILD
    lps: int = 2
    threads: int = 1                 # of a core
    memory: int = 2048               # MiB
    count: bool = False
    disks: list = dataclasses.field(default_factory=list)
    net: str | None = None           # QEMU's name of the network card
    extra_console: pathlib.Path | None = None
    cpu_flags: str | None = None     # more of QEMU's CPU flags
    gdb: str | None = None
    qmp: str | None = None           # path of a socket
    ram: pathlib.Path | None = None  # file that holds the machine's memory
    bochs: str | None = None         # another Bochs than ours
    kernel: tuple | None = None      # Linux without a loader: paths of image and initrd, command line

    def beside_log(self, suffix):
        return self.log.with_name(self.log.name + suffix)


class Qemu:
    """AMD's rig: SVM and nested paging by QEMU's translator."""

    name = "amd"
    # MWAIT with hints and RDTSCP are wrong beneath an intercept there.
    CPU = "EPYC,-monitor,-rdtscp,+x2apic"
    COM3, COM4 = (0x3E8, 10), (0x2E8, 11)  # lines of their own, COM1 and COM2 have 4 and 3
    NIC_MODELS = ("e1000", "e1000e", "virtio-net-pci")
    CLOCK_START = "2024-01-01T00:00:00"
    TRIPLE_FAULT = b"Triple fault"

    def command(self, machine, log_fd):
        """The emulator's command line; it writes port 0xe9 to the inherited LOG_FD."""
        args = [str(TOOLS / "qemu"), "-nodefaults", "-display", "none", "-no-reboot",
                "-machine", "q35", "-cpu", ",".join(filter(None, (self.CPU, machine.cpu_flags))),
                "-smp", f"{machine.lps},cores={machine.lps // machine.threads},"
                        f"threads={machine.threads}",
                "-m", f"{machine.memory}M",
                "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                "-d", "cpu_reset", "-D", str(machine.beside_log(".resets"))]
        if machine.ram:
            args += ["-object", f"memory-backend-file,id=ram,share=on,size={machine.memory}M,"
                                f"mem-path={machine.ram}", "-machine", "memory-backend=ram"]
        args += self._clock(machine)
        args += self._firmware(machine)
        args += self._disks(machine)
        if machine.kernel:
            for option, value in zip(("-kernel", "-initrd", "-append"), machine.kernel):
                args += [option, str(value)]
        args += self._consoles(machine, log_fd)
        if machine.net:
            args += self._network(machine)
        if machine.gdb:
            args += ["-gdb", machine.gdb]
        if machine.qmp:
            args += ["-qmp", f"unix:{machine.qmp},server=on,wait=off"]
        return args

    def _clock(self, machine):
        if not machine.count:
            return ["-accel", "tcg,thread=multi"]
        return ["-accel", "tcg", "-icount", "shift=0,sleep=off",
                "-rtc", f"base={self.CLOCK_START},clock=vm"]

    def _firmware(self, machine):
        code, settings = (self.ovmf(half) for half in ("code", "vars"))
        copy = machine.work / "vars.fd"
        shutil.copyfile(settings, copy)
        return ["-drive", f"if=pflash,format=raw,readonly=on,file={code}",
                "-drive", f"if=pflash,format=raw,file={copy}"]

    @staticmethod
    def ovmf(half):
        result = subprocess.run([TOOLS / "qemu", "--ovmf", half], text=True, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if result.returncode != 0:
            raise MachineError(result.stderr.strip())
        return result.stdout.strip()

    def _disks(self, machine):
        args = []
        if machine.boot_disk:
            args += ["-drive", f"if=none,id=boot,format=raw,file={machine.boot_disk}",
                     "-device", "ide-hd,drive=boot,bus=ide.0,bootindex=0"]
        port = 1
        for number, disk in enumerate(machine.disks):
            kind, _, path = disk.rpartition(":")
            device = f"ide-hd,bus=ide.{port}"
            if kind == "virtio":
                device = "virtio-blk-pci"
            else:
                port += 1
            args += ["-drive", f"if=none,id=disk{number},format=raw,file={path}",
                     "-device", f"{device},drive=disk{number}"]
        return args

    def _consoles(self, machine, log_fd):
        args = ["-chardev", f"file,id=log,path=/dev/fd/{log_fd}",
                "-device", "isa-debugcon,iobase=0xe9,chardev=log",
                "-chardev", "stdio,id=stdio,signal=off"]
        com1 = "stdio"
        if machine.console == CONSOLE_CHILD:
            args += ["-chardev", f"file,id=com1,path={machine.beside_log('.com1')}"]
            args += self._serial(*self.COM3, "stdio")
            com1 = "com1"
        args += self._serial(0x3F8, 4, com1)
        if machine.extra_console:
            args += ["-chardev", f"file,id=com4,path={machine.extra_console}"]
            args += self._serial(*self.COM4, "com4")
        return args

    @staticmethod
    def _serial(port, irq, chardev):
        return ["-device", f"isa-serial,iobase={port:#x},irq={irq},chardev={chardev}"]

    @staticmethod
    def _network(machine):
        files = machine.work / "tftp"
        image.write_network_files(files)
        return ["-netdev", f"user,id=net,tftp={files}", "-device", f"{machine.net},netdev=net"]

    @staticmethod
    def complains(line):
        """Not a feature that the translator leaves out."""
        return ": warning: " not in line

    def finish(self):
        """After the run."""
