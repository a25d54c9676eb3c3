# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The other hypervisors' side of the bench: their systems, as an initramfs and a boot volume each, on
the machine that Corbel is counted on."""

import importlib.machinery
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(BENCH))
sys.path.insert(0, str(BENCH.parents[1] / "tools"))
from benchlib import BUILD, IMAGE, MEMORY, TREE, BenchError, parse  # noqa: E402
from riglib import guests_dir, image, machine, watch  # noqa: E402
from riglib.cpio import Archive  # noqa: E402

KERNEL = guests_dir() / "generic-6.12"
XEN = guests_dir().parent / "xen"
XEN_BIN = "usr/lib/xen-4.20/bin"
OUT = BUILD / "bench" / "peers"
CMDLINE = "nokaslr tsc=reliable no_timer_check panic=-1 quiet"
END = "bench: end of the run"
INIT_HEAD = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for m in $(cat /modules/load); do insmod /modules/$m; done
"""
INIT_TAIL = f"""
echo "{END}"
poweroff -f
"""


def _script(path):
    """A program of tools/ without a suffix, as a module."""
    loader = importlib.machinery.SourceFileLoader(path.name, str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(path.name, loader))
    loader.exec_module(module)
    return module


class Initramfs:
    """busybox, modules and a script; a program of ours and the bench guest."""

    def __init__(self, own, modules):
        self.archive = Archive()
        busybox = (guests_dir() / "busybox").read_bytes()
        self.archive.file("bin/busybox", busybox, 0o755)
        if own:
            self.archive.file(f"bin/{own}", (BUILD / "bench" / own).read_bytes(), 0o755)
            self.archive.file("bench.elf", IMAGE.read_bytes())
        self.archive.device("dev/console", 5, 1)
        wanted = _script(TREE / "tools" / "initramfs").Modules(guests_dir() / "modules-6.12")
        for name in modules:
            wanted.want(name)
        for name, data in wanted.order.items():
            self.archive.file(f"modules/{name}.ko", data)
        self.archive.file("modules/load", "".join(f"{m}.ko\n" for m in wanted.order).encode())
        self.libraries = set()

    def dynamic(self, tree, path):
        """A dynamically linked program of a tree, with its libraries."""
        self.archive.file(path, (tree / path).read_bytes(), 0o755)
        self._needed(tree, tree / path)

    def library(self, tree, name):
        if name in self.libraries:
            return
        self.libraries.add(name)
        found = next(iter(sorted(tree.rglob(name))), None)
        if not found:
            raise BenchError(f"{tree} has no {name}")
        found = found.resolve()
        folder = "lib64" if name.startswith("ld-") else "lib/x86_64-linux-gnu"
        self.archive.file(f"{folder}/{name}", found.read_bytes(), 0o755)
        self._needed(tree, found)

    def _needed(self, tree, path):
        out = subprocess.run(["readelf", "-d", path], capture_output=True, text=True,
                             check=True).stdout
        for name in re.findall(r"NEEDED.*\[(.+)\]", out):
            self.library(tree, name)

    def write(self, path, script):
        self.archive.file("init", (INIT_HEAD + script + INIT_TAIL).encode(), 0o755)
        path.write_bytes(self.archive.finish())


# As tools/rig has it: with exact counting the firmware's disk driver may give up on a busy host before
# anything has run. Only that is tried again.
STARTS = 4
START = 90  # seconds


def _follow(command, log, out, timeout, banner):
    """Run an emulator, its console to a file; False when the banner did not come in time."""
    begin = time.monotonic()
    with open(out, "wb") as console:
        process = subprocess.Popen(command, pass_fds=[log.write_fd], stdin=subprocess.DEVNULL,
                                   stdout=console, stderr=subprocess.STDOUT)
    log.started()
    try:
        while process.poll() is None:
            passed = time.monotonic() - begin
            if passed > timeout:
                raise BenchError(f"no end within {timeout} s")
            if banner and passed > START and banner not in out.read_bytes():
                return False
            time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    return True


def boot(name, lps, describe, extra, timeout, banner=None):
    """Run a system; `describe(work)` writes its files and gives (boot volume, kernel) of it. The
    console's text."""
    OUT.mkdir(parents=True, exist_ok=True)
    out = OUT / f"{name}.out"
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        work = pathlib.Path(folder)
        volume, kernel = describe(work)
        box = machine.Machine(work=work, boot_disk=volume, kernel=kernel, log=OUT / f"{name}.log",
                              lps=lps, count=True, console=machine.CONSOLE_ROOT)
        for _attempt in range(STARTS):
            log = watch.Log(box.log)
            try:
                command = machine.Qemu().command(box, log.write_fd) + extra
                if _follow(command, log, out, timeout, banner):
                    return out.read_text(errors="replace")
            finally:
                log.close()
    raise BenchError("the firmware did not start it")


def kvm(lps, cmdline=""):
    """Figures and gaps under KVM, a machine of as many LPs as VPs."""
    def describe(work):
        system = Initramfs("kvmrun", ("kvm_amd",))
        system.write(work / "initrd", f"""
echo always >/sys/kernel/mm/transparent_hugepage/enabled
echo always >/sys/kernel/mm/transparent_hugepage/defrag
kvmrun /bench.elf {lps} {MEMORY} "cpus={lps} {cmdline}"
""")
        return None, (KERNEL, work / "initrd", f"console=ttyS0 {CMDLINE}")
    return parse(boot(f"kvm-{lps}", lps, describe, [], 600))


# A PVH dom0 wants an IOMMU; x2APIC on the machine's own APICs aborts the emulator when it counts
# ("Bad icount read").
IOMMU = ["-device", "amd-iommu,intremap=on,xtsup=on,dma-remap=on"]
XEN_OPTIONS = ("com1=115200,8n1 console=com1 dom0=pvh dom0_mem=1024M dom0_max_vcpus=1 "
               "dom0_vcpus_pin=1 guest_loglvl=all x2apic=0")


def xen(lps, cmdline=""):
    """Figures and gaps in a PVH domain of Xen's; on one LP its memory is populated on demand."""
    def describe(work):
        system = Initramfs("xenvmm", ("xenfs", "xen_privcmd", "xen_evtchn", "xen_gntdev",
                                      "xen_gntalloc"))
        for name in ("xl", "xenstored", "xenconsoled", "xen-init-dom0", "libxl-save-helper"):
            system.dynamic(XEN, f"{XEN_BIN}/{name}")
        system.library(XEN, "libgcc_s.so.1")  # thread cancellation loads it
        memory = MEMORY // 2 if lps == 1 else MEMORY
        system.archive.file("bench.cfg", f"""type = "pvh"
name = "bench"
memory = {memory}
maxmem = {MEMORY}
vcpus = {lps}
cpus = {[str(cpu) for cpu in range(lps)]}
kernel = "/bench.elf"
cmdline = "{cmdline}"
tsc_mode = "native"
on_poweroff = "preserve"
on_crash = "preserve"
""".encode())
        system.write(work / "initrd", f"""
mkdir -p /dev/pts /run/xen /var/run/xen /var/lib/xen /var/lib/xenstored /var/log/xen /etc/xen
mount -t devpts devpts /dev/pts
mount -t xenfs xenfs /proc/xen
touch /etc/xen/xl.conf
export PATH=/{XEN_BIN}:$PATH
xenstored -N --disable-socket &
sleep 1
xen-init-dom0
xenconsoled -i &
xl create -p /bench.cfg
xenvmm 1 {lps} &
sleep 1
xl unpause bench
wait $!
""")
        volume = image.BootVolume()
        volume.add("EFI/BOOT/BOOTX64.EFI", XEN / "boot" / "xen-4.20-amd64.efi")
        volume.add("EFI/BOOT/BOOTX64.cfg", f"""[global]
default=xen
[xen]
options={XEN_OPTIONS}
kernel=vmlinuz console=hvc0 {CMDLINE}
ramdisk=initrd
""".encode())
        volume.add("EFI/BOOT/vmlinuz", KERNEL)
        volume.add("EFI/BOOT/initrd", work / "initrd")
        volume.write(work / "boot.img")
        return work / "boot.img", None
    return parse(boot(f"xen-{lps}", lps, describe, IOMMU, 900, b"(XEN)"))
