# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The Linux of tests/bench/throughput under KVM, with virtio devices by Debian's QEMU: a disk in a
file of the host's memory, so that nothing is waited for, and a network adapter on a bridge without
other ports, by vhost."""

import l1
from benchlib import MEMORY, BenchError
from riglib import build_dir, cache_dir, guests_dir, image

QEMU = cache_dir() / "rig"
PROGRAM = "usr/bin/qemu-system-x86_64"
FIRMWARE = ("seabios/bios-256k.bin", "qemu/linuxboot_dma.bin", "qemu/kvmvapic.bin")
DISK_SEED = 1
# The processor's own time is asked for as Hv#1 has it; the guest sees KVM.
CPU = "host,hv-vpindex,hv-time,hv-runtime,hv-frequencies,-svm"
GUEST_CMDLINE = "console=ttyS0 no_timer_check panic=-1 nokaslr quiet"

SCRIPT = f"""
mkdir -p /dev/net
mknod /dev/net/tun c 10 200 2>/dev/null
brctl addbr br0
ifconfig br0 up
mount -t tmpfs -o size=100m none /tmp
cp /disk.img /tmp/disk.img
{{program}} -L /firmware -nodefaults -no-user-config -display none -M q35 -accel kvm -cpu {CPU} -smp 1 \\
    -m {MEMORY} -serial stdio -kernel /guest/kernel -initrd /guest/initrd -append "{GUEST_CMDLINE}" \\
    -object iothread,id=io -drive if=none,id=disk,format=raw,file=/tmp/disk.img \\
    -device virtio-blk-pci,drive=disk,iothread=io,romfile= \\
    -netdev tap,id=net,ifname=tap0,script=/up,downscript=no,vhost=on \\
    -device virtio-net-pci,netdev=net,romfile= -no-reboot </dev/null
"""
UP = b"""#!/bin/busybox sh
brctl addif br0 "$1"
ifconfig "$1" 0.0.0.0 up
"""


def run(initrd):
    """The console's text of a run of that initial RAM disk."""
    if not (QEMU / PROGRAM).exists():
        raise BenchError("there is no tree of QEMU's: tools/setup has not needed one")

    def describe(work):
        system = l1.Initramfs(None, ("kvm_amd", "tun", "bridge", "vhost_net"))
        system.dynamic(QEMU, PROGRAM)
        for name in FIRMWARE:
            system.archive.file(f"firmware/{name.rpartition('/')[2]}",
                                (QEMU / "usr/share" / name).read_bytes())
        system.archive.file("up", UP, 0o755)
        system.archive.file("guest/kernel", (guests_dir() / "cloud-6.12").read_bytes())
        system.archive.file("guest/initrd", initrd.read_bytes())
        image.write_test_disk(work / "disk.img", DISK_SEED)
        system.archive.file("disk.img", (work / "disk.img").read_bytes())
        system.write(work / "initrd", SCRIPT.replace("{program}", f"/{PROGRAM}"))
        return None, (l1.KERNEL, work / "initrd", f"console=ttyS0 {l1.CMDLINE}")
    return l1.boot("virtio", 1, describe, [], 1500)
