# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The rig tests, one row each. Probes (tests/guest/*.c), unit tests and fuzz targets are found by
tests/run itself."""

from .jobs import PROBE_PASSED, Rig

LINUX = "console=ttyS0 no_timer_check panic=-1"


def linux_child(kernel, vps, lps, end="poweroff"):
    """Debian's KERNEL in a child, unmodified; it checks itself and ends the machine."""
    return Rig(
        name=f"linux/{kernel}-{vps}vp-{lps}lp-{end}",
        args=f"--child {{guest:{kernel}}} --initrd {{initrd:check}} --vps {vps} --lps {lps} "
             f"--cmdline '{LINUX} corbel.cpus={vps} corbel.end={end}'",
        tap=True, timeout=300)


def linux_root(name, lps, net, options, **more):
    """Debian's generic kernel as the root, with disks on AHCI and virtio and a network card.
    OPTIONS: the kernel's own (how interrupts come) and those of tests/guests/root."""
    return Rig(
        name=f"root/generic-6.12-{name}",
        args=f"--next {{guest:generic-6.12}} --lps {lps} --file {{initrd:root}}:initrd.img "
             f"--disk {{disk:1}} --disk virtio:{{disk:2}} --net {net} --next-options "
             f"'initrd=\\initrd.img {LINUX} corbel.cpus={lps} corbel.disks=2 corbel.net=1 "
             f"corbel.clocksource=hyperv_clocksource_tsc_page {options}'",
        tap=True, timeout=400, **more)


TWO_CHILDREN = """\
next = \\root.efi
log = e9

[root]
console = com3
exit = poweroff

[vm one]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} corbel.cpus=2
vps = 2
memory = 384
console = com3

[vm two]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} corbel.cpus=1
vps = 1
memory = 384
console = com4
""".format(linux=LINUX)

HOSTILE = """\
next = \\root.efi
log = e9

[root]
console = com3
exit = poweroff

[vm hostile]
kernel = \\hostile.elf
vps = 1
memory = 64
console = com3

[vm alive]
kernel = \\alive.elf
cmdline = rounds=30
vps = 1
memory = 64
console = com4
"""

TESTS = [
    linux_child("cloud-6.12", vps=2, lps=2),
    linux_child("cloud-6.12", vps=2, lps=2, end="reboot"),
    *(linux_child("cloud-6.12", vps, lps) for vps in (1, 4) for lps in (1, 2, 4)),
    linux_child("cloud-7.2", vps=2, lps=2),
    Rig(name="linux/two-children",
        args="--file {guest:cloud-6.12}:kernel.img --file {initrd:check}:initrd.img "
             "--extra-console {dir}/com4",
        conf=TWO_CHILDREN, tap=True, file_tap=("com4",), timeout=400),
    Rig(name="linux/shell",
        args="--child {guest:cloud-6.12} --initrd {initrd:shell} --vps 2",
        dialogue=(("^processors:", "echo $((6 * 7)) answers; poweroff -f\n"),),
        want=("Hypervisor detected: Microsoft Hyper-V",
              "^clocksource: hyperv_clocksource_tsc_page$", "^processors:  2$",
              "^42 answers$"),
        timeout=300),
    Rig(name="isolation/hostile-neighbour",
        args="--file {build}/guest/hostile.elf --file {build}/guest/alive.elf "
             "--extra-console {dir}/com4",
        conf=HOSTILE, status=PROBE_PASSED, tap=True, file_tap=("com4",), timeout=300),
    # Level-triggered lines through the I/O APIC only; one processor.
    linux_root("1lp-intx", 1, "e1000", "pci=nomsi corbel.chip=.*IO-APIC corbel.load=5 "
               "corbel.end=reboot"),
    # Everything through the 8259s, as ExtINT.
    linux_root("2lp-8259", 2, "e1000", "noapic corbel.chip=XT-PIC corbel.load=8 "
               "corbel.hotplug=1 corbel.nmi=1"),
    # The APIC page instead of MSRs; MSI-X.
    linux_root("2lp-xapic", 2, "e1000e", "nox2apic corbel.chip=PCI-MSI.* corbel.load=8 "
               "corbel.hotplug=1 corbel.nmi=1"),
    linux_root("4lp-all", 4, "virtio",
               "corbel.load=20 corbel.clock=1 corbel.hotplug=1 corbel.nmi=1 corbel.secrets=1 "
               "corbel.end=reboot",
               log_want=(r"root VP \d+: access to 0x[0-9a-f]+ refused",)),
]
