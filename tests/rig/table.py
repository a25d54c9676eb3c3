# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The rig tests, one row each. Probes (tests/guest/*.c), unit tests and fuzz targets are found by
tests/run itself."""

from .jobs import PROBE_PASSED, STATUS_ROOT_FAILURE, Rig

LINUX = "console=ttyS0 no_timer_check panic=-1"


def linux_child(kernel, vps, lps, end="poweroff"):
    """Debian's KERNEL in a child, unmodified; it checks itself and ends the machine."""
    return Rig(
        name=f"linux/{kernel}-{vps}vp-{lps}lp-{end}",
        args=f"--child {{guest:{kernel}}} --initrd {{initrd:check}} --vps {vps} --lps {lps} "
             f"--cmdline '{LINUX} corbel.cpus={vps} corbel.end={end}'",
        tap=True, timeout=300)


def linux_root(lps, net, end):
    """Debian's generic kernel as the root, with disks on AHCI and virtio and a network card."""
    return Rig(
        name=f"root/generic-6.12-{lps}lp-{net}-{end}",
        args=f"--next {{guest:generic-6.12}} --lps {lps} --file {{initrd:root}}:initrd.img "
             f"--disk {{disk:1}} --disk virtio:{{disk:2}} --net {net} --next-options "
             f"'initrd=\\initrd.img {LINUX} corbel.cpus={lps} corbel.disks=2 corbel.net=1 "
             f"corbel.end={end}'",
        tap=True, timeout=400)


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

NEXT = "next = \\next.efi\nlog = e9\n"


def refused(name, message, conf="", args=""):
    """Corbel does not launch, says why in one line, and the machine boots on without it."""
    return Rig(name=f"refusal/{name}", args=f"--next {{build}}/guest/bare.efi --lps 2 {args}",
               conf=NEXT + conf, status=PROBE_PASSED, tap=True,
               log_want=(rf"^corbel: not launched: {message}$",),
               log_reject=(r"^(?:\[[^\]]*\] ?)?PANIC", "corbel: launched"))


MISSING_FILE = """\
next = \\root.efi
log = e9

[root]
console = com3
exit = poweroff

[vm x]
kernel = \\absent.img
"""


def no_child(name, message, args, conf=""):
    """root.efi cannot start its VM, and says why."""
    return Rig(name=f"refusal/{name}", args=args, conf=conf, status=STATUS_ROOT_FAILURE,
               log_want=(rf"^rig: root failure: {message}$",))


REFUSALS = [
    refused("no-svm", "processor 0: no SVM", args="--cpu=-svm"),
    refused("no-npt", "processor 0: SVM without nested paging", args="--cpu=-npt"),
    refused("bad-value", r"corbel\.conf:3: memory: .+", conf="memory = lots\n"),
    refused("unknown-key", r"corbel\.conf:4: colour: .+", conf="# a comment\ncolour = red\n"),
    refused("unknown-section", r"corbel\.conf:3: .+", conf="[vmm x]\n"),
    refused("disabled", "disabled by the configuration", conf="enable = no\n"),
    refused("little-memory", "not enough memory: .+", conf="memory = 100000\n"),
    refused("first-lp-fails", "processor 0: fault injected by fail-lp", conf="fail-lp = 0\n"),
    refused("second-lp-fails", "processor 1: fault injected by fail-lp", conf="fail-lp = 1\n"),
    refused("last-lp-fails", "processor 3: fault injected by fail-lp", conf="fail-lp = 3\n",
            args="--lps 4"),
    Rig(name="refusal/twice",
        args="--next {build}/guest/escape.efi --file {build}/corbel.efi:again.efi",
        conf="next = \\again.efi\nnext-options = again next=\\next.efi log=e9\nlog = e9\n",
        status=PROBE_PASSED, tap=True,
        log_want=("^corbel: launched on 2 processors$",
                  "^corbel: not launched: already launched$")),
    no_child("truncated-image", r"vm child: .+: the image is shorter than its headers say", "--child {head:9000:guest/smp.elf}"),
    no_child("empty-image", r"vm child: .+", "--child {head:0:guest/smp.elf}"),
    no_child("image-too-large", r"vm child: .+: the kernel does not fit into guest memory",
             "--child {guest:cloud-6.12} --child-memory 16"),
    no_child("missing-file", r"vm x: .+absent\\.img.+", "", conf=MISSING_FILE),
]

TESTS = [
    *REFUSALS,
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
    linux_root(lps=2, net="e1000", end="poweroff"),
    linux_root(lps=4, net="virtio", end="reboot"),
]
