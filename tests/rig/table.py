# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The rig tests, one row each. Probes (tests/guest/*.c), unit tests and fuzz targets are found by
tests/run itself."""

import dataclasses
import os
import re

from . import cores, debian
from .jobs import PROBE_PASSED, Rig, on_rig

# How long the mixed load lasts; LOAD_SECONDS=600 tests/run linux/load is the long run.
LOAD_SECONDS = int(os.environ.get("LOAD_SECONDS", "20"))
LINUX = "console=ttyS0 no_timer_check panic=-1"


def linux_child(kernel, vps, lps, end="poweroff"):
    """Debian's KERNEL in a child, unmodified; it checks itself and ends the machine."""
    return Rig(
        name=f"linux/{kernel}-{vps}vp-{lps}lp-{end}",
        args=f"--child {{guest:{kernel}}} --initrd {{initrd:check}} --vps {vps} --lps {lps} "
             f"--cmdline '{LINUX} corbel.cpus={vps} corbel.end={end}'",
        tap=True, timeout=300)


ROOT_SCHEDULER = "scheduler = root\nlog = e9\nnext = \\root.efi\n\n[root]\nconsole = com3\nexit = poweroff\n"


def root_scheduled(kernel, vps, lps):
    """The same child where root.efi schedules it."""
    test = linux_child(kernel, vps, lps)
    return dataclasses.replace(test, name=test.name.replace("linux/", "root-scheduler/"),
                               conf=ROOT_SCHEDULER,
                               log_want=("scheduler type is 4: the root schedules$",
                                         f"^root: {lps} processors have run VMs$"))


def linux_load(kernel, seconds):
    """KERNEL with four VPs on two LPs under a mixed load for so long."""
    return Rig(
        name=f"linux/load-{kernel}", tap=True, timeout=120 + 2 * seconds,
        args=f"--child {{guest:{kernel}}} --initrd {{initrd:load}} --vps 4 --lps 2 "
             f"--cmdline '{LINUX} corbel.cpus=4 corbel.seconds={seconds}'")


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


# No ACPI tables there, so one processor, and interrupts by the 8259s; a disk on IDE.
INTEL_ROOT = Rig(
    name="intel/root/generic-6.12",
    args="--on intel --next {guest:generic-6.12} --lps 1 --memory 1024 "
         "--file {initrd:root}:initrd.img --disk {disk:1} --next-options "
         f"'initrd=\\initrd.img {LINUX} corbel.cpus=1 corbel.disks=1 corbel.end=port "
         "corbel.clocksource=hyperv_clocksource_tsc_page'",
    tap=True, status=PROBE_PASSED, timeout=240)


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
console = com4

[vm alive]
kernel = \\alive.elf
cmdline = rounds=0
vps = 1
memory = 64
console = com3
"""

# Three VMs on two cores of two threads, with a record of who ran where when.
SMT = """\
next = \\root.efi
log = e9
scheduler = {scheduler}
trace = yes

[root]
console = com3
exit = poweroff

[vm one]
kernel = \\smp.elf
vps = 4
memory = 64
console = com3

[vm two]
kernel = \\alive.elf
cmdline = rounds=15
vps = 1
threads = 1
memory = 64
console = com4

[vm three]
kernel = \\alive.elf
cmdline = rounds=15
vps = 2
memory = 64
console = none
"""


def smt(scheduler, after):
    """Three VMs under a scheduler on a machine with SMT; then the record is looked at."""
    return Rig(name=f"smt/three-children-{scheduler}", conf=SMT.format(scheduler=scheduler),
               status=PROBE_PASSED, tap=True, file_tap=("com4",), timeout=300, after=after,
               args="--lps 4 --threads 2 --memory 1024 --ram {dir}/ram "
                    "--file {build}/guest/smp.elf --file {build}/guest/alive.elf "
                    "--extra-console {dir}/com4")


ROOT_CONF = """\
next = \\root.efi

[root]
console = com3
exit = poweroff

[vm one]
{keys}
"""


VMBUS = """\
next = \\root.efi
log = e9

[root]
console = com3
exit = poweroff

[vm one]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} corbel.cpus=2 corbel.disks=2{one}
vps = 2
memory = 384
console = com3
disk = \\disk1.img
disk2 = \\disk2.vhdx
{net}"""

VMBUS_PAIR = VMBUS + """
[vm two]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} corbel.cpus=1{two}
vps = 1
memory = 256
console = com4
{net}"""

NET_ONE = " corbel.net=10.0.0.1 corbel.peer=10.0.0.2 corbel.serve=1"
NET_TWO = " corbel.net=10.0.0.2 corbel.peer=10.0.0.1"
# Another of the machine's disks, by the firmware's name for it; the boot volume is on the first.
AHCI_DISK = "device:PciRoot(0x0)/Pci(0x1F,0x2)/Sata({},0xFFFF,0x0)"
VMBUS_FILES = ("--file {guest:cloud-6.12}:kernel.img --file {initrd:vmbus}:initrd.img "
               "--file {disk:1}:disk1.img --file {vhdx:2}:disk2.vhdx")

ADMIN = VMBUS.replace("memory = 384\n", "memory = 384\nmemory-max = 512\n").replace(
    "disk2 = \\disk2.vhdx\n", "cd = \\cpusig\n")
# What an administrator types, and after what of the guest's or the root's.
ADMIN_DIALOGUE = (
    ("^ready: keys", "\x1d:keys 1\r"),
    ("^keys: that is all", "\x1dv"),
    ("^  OSName = (?s:.*)^keys: that is all", "\x1d:set greeting hello there\r"),
    ("^ready: copy", "\x1d:copy \\cpusig /tmp/in\r"),
    ("^ready: freeze", "\x1d:freeze\r"),
    ("^freeze: frozen", "\x1d:thaw\r"),
    ("^ready: socket", "\x1d:send 5000 hello guest\r"),
    ("^ready: disks", "\x1d:add-disk 1 \\disk2.img\r"),
    ("^ready: removal", "\x1d:remove-disk 1\r"),
    ("^ready: growth", "\x1d:grow-disk 0 24\r"),
    ("^ready: memory", "\x1d:memory 304\r"),
    ("^ready: more memory", "\x1d:memory 384\r"),
    ("^ready: most memory", "\x1d:memory 512\r"),
    ("^ready: keyboard", "\x1dl\x1dc"),
)

# What the first VM gives up is more than the machine has left: the second cannot grow without it.
MEMORY = """\
next = \\root.efi
log = e9

[root]
console = com3
exit = poweroff

[vm one]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} corbel.role=giver
memory = 512
console = com3

[vm two]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} corbel.role=taker
memory = 256
memory-max = 384
console = com3
""".format(linux=LINUX)
MEMORY_DIALOGUE = (
    ("^ready: less", "\x1dl\x1dn"),
    ("^ready: more", "\x1d:memory 384\r"),
    ("^memory: there is not so much", "\x1dn\x1d:memory 256\r"),
    ("^memory: 256 MiB", "\x1dl\x1dn\x1d:memory 384\r"),
    ("^memory: 384 MiB", "\x1dn\x1d:memory 512\r"),
    ("^memory: the machine does not have so much any more", "\x1dn"),
    ("^two: done(?s:.*)^still less", "\x1d:memory 512\r"),
)

# The first VM is reset when the second has what it gave up: it stays off till that is there again.
RESTART = MEMORY.replace("exit = poweroff", "exit = last").replace("=giver", "=returner").replace(
    "=taker", "=neighbour").replace("memory = 512\n", "memory = 512\ndisk = \\disk1.img\nnet = switch0\n")
RESTART_DIALOGUE = (
    ("^ready: less", "\x1d:memory 304\r"),
    ("^memory: 304 MiB", "\x1dn"),
    ("^ready: more", "\x1d:memory 384\r"),
    ("^two: has more", "\x1dn\x1dr"),
    ("^vm one: stays off: the machine lacks [0-9]+ of 512 MiB", "on\n"),
    ("^vm one: stays off(?s:.*)^up: neighbour", "\x1dn\x1dr"),
    ("^vm one: stays off(?s:.*)^up: neighbour(?s:.*)^up: returner", "\x1dnoff\n"),
    ("^two: goes off(?s:.*)^up: returner", "again\n"),
)

PROCESSORS = """\
next = \\root.efi
log = e9
rootproc = 1

[root]
console = com3
exit = poweroff

[vm one]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux}
vps = 2
memory = 384
console = com3
""".format(linux=LINUX)
GROUP_2 = "00000000-0000-0000-0000-000000000002"
# The examples of the CpuGroups tool, and what else there is to be set.
PROCESSORS_DIALOGUE = (
    ("^~ # ", "\x1d:cpugroups GetCpuTopology\r"),
    (r"^ *0 .* 0\n *1 .* -1\n(?:.*\n)?.*\n *3 .* -1\n", "\x1d:cpugroups CreateGroup 2 1,3\r\x1d"
     f":cpugroups SetGroupProperty /GroupId:{GROUP_2} /CpuCap:32768\r\x1d:cpugroups GetGroups\r"),
    (f"^{GROUP_2}  32768 1, 3$",
     "\x1d:cpugroups SetVmGroup one 2\r\x1d:cpugroups GetGroupVms /GroupId:2\r"),
    (f"^{GROUP_2}    one ", "\x1d:cpugroups DeleteGroup 2\r"),
    ("^Failed with error 0xc0350070$", "\x1d:cpugroups SetVmGroup /VmName:one 0\r\x1d:cpugroups "
     "DeleteGroup 2\r\x1d:cpugroups GetVmGroup one\r\x1d:cpugroups GetGroups 2\r"),
    (r"^   one [0-9a-f-]+ [0-]+$", "\x1d:weight 200\r\x1d:cap 50\r\x1d:reserve 60\r"),
    ("^Failed with error 0xc0350(?!070)", "\x1d:reserve 25\r"),
    ("^vm one: the reserve is set$", "poweroff -f\n"),
)

DEBIAN = """\
next = \\root.efi
log = e9

[root]
console = com3
exit = poweroff

[vm one]
kernel = \\kernel.img
initrd = \\initrd.img
cmdline = {linux} quiet
vps = 2
memory = 512
console = com3
disk = \\debian.vhdx
net = switch0
""".format(linux=LINUX)


DEBIAN_PROMPT = "root@debian:~# "


def files(kernel, text=VMBUS_FILES):
    """The files of a row for another kernel: that, and an initial RAM disk with its drivers."""
    if kernel == "6.12":
        return text
    return re.sub(r"\{initrd:(\w+)\}", r"{initrd:\g<1>72}", text.replace("cloud-6.12", f"cloud-{kernel}"))


def suffix(kernel):
    return "" if kernel == "6.12" else f"-{kernel}"


def debian_system(name, dialogue, after, log_want, want=(), reject=(), kernel="6.12"):
    """A whole Debian on a VHDX disk, to its login and to an end; then its disk is looked at."""
    return Rig(name=f"debian/{name}{suffix(kernel)}", conf=DEBIAN,
               dialogue=debian.login(*dialogue), after=after, want=want, reject=reject, log_want=(log_want,), timeout=300,
               args=files(kernel, "--file {guest:cloud-6.12}:kernel.img --file {initrd:debian}:initrd.img "
                          "--file {debian}:debian.vhdx --spare 200 --keep-volume {dir}/volume"))


def debian_shutdown(kernel):
    """It names its devices, churns and trims its disk, and obeys the shutdown service."""
    return debian_system(
        "shutdown", ((DEBIAN_PROMPT, debian.DEVICES), ("^named", debian.churn(2)),
                     ("^churned", debian.TRIM), ("^trimmed", "\x1ds")),
        debian.clean, "^root: vm one: power-off$", kernel=kernel, reject=(r"^VMBUS ID +\d+: Unknown",),
        want=("^kept 2", *(rf"^VMBUS ID +\d+: \[?{re.escape(name)}\]?$" for name in debian.DEVICE_NAMES)))


def services(kernel):
    """Heartbeats are counted, the clock is right, and the guest obeys the shutdown service."""
    return Rig(
        name=f"vmbus/services{suffix(kernel)}", tap=True, waits=True, timeout=300, args=files(kernel),
        conf=VMBUS.format(linux=LINUX, one=" corbel.time=30 corbel.wait=shutdown", net=""),
        dialogue=(("^waiting", "\x1dl"), ("^  heartbeat OK", "\x1ds")),
        want=(r"^  heartbeat OK \([1-9]", r"^  disk 0: raw, 16 MiB", r"^  disk 1: VHDX, "),
        log_want=("^root: vm one: shuts down", "^root: vm one: power-off$"))


def network(kernel):
    """Two children on one switch: pings, and a file by TCP, with the adapter's help and without."""
    return Rig(
        name=f"vmbus/network{suffix(kernel)}", tap=True, file_tap=("com4",), timeout=400,
        conf=VMBUS_PAIR.format(linux=LINUX, one=NET_ONE, two=NET_TWO, net="net = switch0\n"),
        args=files(kernel) + " --extra-console {dir}/com4")


# An access port and a trunk.
VLAN_PORTS = ("net = switch0\nvlan = 7\n", "net = switch0\nvlan = 9 trunk 5-7\n")


def vlan():
    """Two children on one switch in one VLAN, which the second has with tags."""
    conf = VMBUS_PAIR.format(linux=LINUX, one=" corbel.vlan=1 corbel.serve=1", two=" corbel.vlan=1",
                             net="{}").format(*VLAN_PORTS)
    return Rig(name="vmbus/vlan", tap=True, file_tap=("com4",), timeout=300, conf=conf,
               args=VMBUS_FILES + " --extra-console {dir}/com4")


def administration(kernel):
    """What an administrator does with a running VM, from the root's console."""
    return Rig(
        name=f"vmbus/administration{suffix(kernel)}", tap=True, waits=True, timeout=300,
        conf=ADMIN.format(linux=LINUX, one="", net=""), dialogue=ADMIN_DIALOGUE,
        args=files(kernel, "--file {guest:cloud-6.12}:kernel.img --file {initrd:admin}:initrd.img "
                   "--file {disk:1}:disk1.img --file {disk:2}:disk2.img --file {build}/initrd/cpusig"),
        want=("^  answer = 42$", "^copy: done$", "^you said hello guest$",
              "^send: the connection has ended$", "^memory: 304 MiB$", "^memory: 384 MiB$",
              "^memory: 512 MiB$", r"^  sockets 0 open, 1 connections so far, 1 refused$",
              r"^  memory 512 MiB \(0 ballooned, 0 returned, 128 added\)"),
        log_want=("^root: vm one: reset$",))


def has_file_system(result):
    """The one that tests/guests/vmbus has made on the machine's disk is there, and whole."""
    partition = result.folder / "partition"
    partition.write_bytes((result.folder / "disk3.img").read_bytes()[1 << 20:])
    return debian.fsck(partition, "-fn")


SHARED_CONSOLE = TWO_CHILDREN.replace("console = com4", "console = com3").replace(
    "initrd = \\initrd.img", "initrd = \\shell.img", 1)


def root_refuses(name, keys, says, files=""):
    """The built-in root cannot start a VM: one line says why, and the run ends at once."""
    return Rig(name=f"root-efi/{name}", args=files, conf=ROOT_CONF.format(keys=keys), status=72,
               log_want=(f"^root: {says}$", f"^rig: root failure: {says}$"), timeout=60)


def lazy_child(pages):
    """RAM that is mapped when it is first touched."""
    keys = (f"kernel = \\kernel.img\ninitrd = \\initrd.img\ncmdline = {LINUX} corbel.cpus=2\n"
            f"vps = 2\nmemory = 384\nlazy = {pages}")
    return Rig(name=f"root-efi/lazy-{pages}", conf=ROOT_CONF.format(keys=keys), tap=True,
               args="--file {guest:cloud-6.12}:kernel.img --file {initrd:check}:initrd.img",
               timeout=300)


def escape(name, text, want, log_want):
    """Ctrl-] and a key on the console of a shell."""
    return Rig(name=f"root-efi/escape-{name}",
               args="--child {guest:cloud-6.12} --initrd {initrd:shell} --vps 2",
               dialogue=(("^~ # ", text),), want=want, log_want=log_want, timeout=300)


NEXT = "next = \\next.efi\nlog = e9\n"


def refused(name, message, conf="", args=""):
    """Corbel does not launch, says why in one line, and the machine boots on without it."""
    return Rig(name=f"refusal/{name}", args=f"--next {{build}}/guest/bare.efi --lps 2 {args}",
               conf=NEXT + conf, status=PROBE_PASSED, tap=True,
               log_want=(rf"^corbel: not launched: {message}$",),
               log_reject=(r"^(?:\[[^\]]*\] ?)?PANIC", "corbel: launched"))


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
]

TESTS = [
    *REFUSALS,
    linux_child("cloud-6.12", vps=2, lps=2),
    linux_child("cloud-6.12", vps=2, lps=2, end="reboot"),
    *(linux_child("cloud-6.12", vps, lps) for vps in (1, 4) for lps in (1, 2, 4)),
    linux_child("cloud-7.2", vps=2, lps=2),
    *(linux_load(kernel, LOAD_SECONDS) for kernel in ("cloud-6.12", "cloud-7.2")),
    *(on_rig("intel", linux_child("cloud-6.12", vps, vps)) for vps in (1, 2)),
    on_rig("intel-old", linux_child("cloud-6.12", 2, 2)),
    INTEL_ROOT,
    *(root_scheduled("cloud-6.12", vps, lps) for vps, lps in ((1, 1), (2, 2), (4, 2), (4, 4))),
    on_rig("intel", root_scheduled("cloud-6.12", 2, 2)),
    Rig(name="root-scheduler/two-children",
        args="--file {guest:cloud-6.12}:kernel.img --file {initrd:check}:initrd.img "
             "--extra-console {dir}/com4",
        conf="scheduler = root\n" + TWO_CHILDREN, tap=True, file_tap=("com4",), timeout=400),
    Rig(name="linux/two-children",
        args="--file {guest:cloud-6.12}:kernel.img --file {initrd:check}:initrd.img "
             "--extra-console {dir}/com4",
        conf=TWO_CHILDREN, tap=True, file_tap=("com4",), timeout=400),
    Rig(name="linux/shell",
        args="--child {guest:cloud-6.12} --initrd {initrd:shell} --vps 2",
        dialogue=(("^~ # ", "echo $((6 * 8\x7f7)) answers; poweroff -f\n"),),
        want=("Hypervisor detected: Microsoft Hyper-V",
              "^clocksource: hyperv_clocksource_tsc_page$", "^processors:  2$",
              "^42 answers$"),
        timeout=300),
    smt("core", cores.never_shared),
    smt("classic", cores.shared),
    Rig(name="smt/linux",
        args="--child {guest:cloud-6.12} --initrd {initrd:check} --vps 4 --lps 4 --threads 2 "
             f"--cmdline '{LINUX} corbel.cpus=4 corbel.end=poweroff'",
        tap=True, timeout=400, log_want=("scheduler type is 3: core",)),
    root_refuses("no-file", "kernel = \\nothing.img", r"vm one: \\nothing\.img: no such file"),
    root_refuses("no-kernel", "memory = 64", "vm one: no kernel is configured"),
    root_refuses("not-a-kernel", "kernel = \\EFI\\BOOT\\corbel.conf",
                 r"vm one: \\EFI\\BOOT\\corbel\.conf: .*"),
    root_refuses("truncated", "kernel = \\kernel.img", r"vm one: \\kernel\.img: .*",
                 "--file {cut:cloud-6.12}:kernel.img"),
    root_refuses("larger-than-memory", "kernel = \\kernel.img\nmemory = 8",
                 r"vm one: \\kernel\.img: .*", "--file {guest:cloud-6.12}:kernel.img"),
    root_refuses("more-than-the-machine", "kernel = \\kernel.img\nmemory = 4096",
                 "vm one: memory: the machine lacks .*", "--file {guest:cloud-6.12}:kernel.img"),
    root_refuses("boot-device", "kernel = \\kernel.img\nmemory = 128\ndisk = " + AHCI_DISK.format("0x0"),
                 r"vm one: device:.*: the boot volume is there",
                 "--file {guest:cloud-6.12}:kernel.img"),
    root_refuses("no-device", "kernel = \\kernel.img\nmemory = 128\ndisk = " + AHCI_DISK.format("0x3"),
                 r"vm one: device:.*: no such device", "--file {guest:cloud-6.12}:kernel.img"),
    root_refuses("bad-vlan", "kernel = \\kernel.img\nmemory = 128\nnet = switch0\nvlan = 4095",
                 "vm one: vlan: neither .*: 4095", "--file {guest:cloud-6.12}:kernel.img"),
    root_refuses("vlan-of-nothing", "kernel = \\kernel.img\nmemory = 128\nvlan = 7",
                 "vm one: vlan: there is no switch .*", "--file {guest:cloud-6.12}:kernel.img"),
    *(lazy_child(pages) for pages in ("4k", "2m")),
    escape("power-off", "\x1do", want=("\\[.*\\] reboot: Power down$",),
           log_want=("^root: vm child: power-off$", "^rig: off$")),
    escape("kill", "\x1d?\x1dl\x1dk",
           want=("list the VMs", r"^vm child \(here\): partition", r"^  VP 1 "),
           log_want=("^root: vm child: killed$", "^rig: off$")),
    # The check of the second VM waits out of focus until the first, a shell, has been killed.
    Rig(name="root-efi/shared-console", conf=SHARED_CONSOLE, tap=True, timeout=400,
        args="--file {guest:cloud-6.12}:kernel.img --file {initrd:check}:initrd.img "
             "--file {initrd:shell}:shell.img",
        dialogue=(("^~ # ", "\x1dk"),), log_want=("^root: vm one: killed$",)),
    # The root on one of four processors; CPU groups and controls of a VM that runs.
    Rig(name="root-efi/processors", conf=PROCESSORS, timeout=300, dialogue=PROCESSORS_DIALOGUE,
        args="--file {guest:cloud-6.12}:kernel.img --file {initrd:shell}:initrd.img --lps 4",
        want=("^vm one: the weight is set$", "^vm one: the cap is set$"),
        log_want=("the root has 1 of 4 processors$", "^root: vm one: power-off$")),
    escape("reset", "\x1dr", want=(), log_want=("^root: vm child: reset$", "^rig: reset$")),
    # Debian's drivers find the synthetic devices; raw and VHDX disks keep what is written.
    Rig(name="vmbus/disks", conf=VMBUS.format(linux=LINUX, one="", net=""), tap=True, timeout=300,
        args=VMBUS_FILES),
    # A whole disk of the machine's.
    Rig(name="vmbus/device", tap=True, timeout=300, after=has_file_system,
        args=VMBUS_FILES + " --disk {disk:3}",
        conf=VMBUS.format(linux=LINUX, one="", net="").replace(
            "\\disk2.vhdx", AHCI_DISK.format("0x1"))),
    *(row for kernel in ("6.12", "7.2") for row in (services(kernel), network(kernel),
                                                    administration(kernel))),
    Rig(name="vmbus/memory", conf=MEMORY, tap=True, waits=True, timeout=300, dialogue=MEMORY_DIALOGUE,
        args=files("6.12", "--file {guest:cloud-6.12}:kernel.img --file {initrd:memory}:initrd.img "
                   "--memory 960"),
        want=(r"^  memory 256 MiB \(256 ballooned, 2[0-9]+ returned, 0 added\)",
              "^two: it holds what is written$")),
    Rig(name="vmbus/restart", conf=RESTART, tap=True, waits=True, timeout=300, dialogue=RESTART_DIALOGUE,
        args=files("6.12", "--file {guest:cloud-6.12}:kernel.img --file {initrd:restart}:initrd.img "
                   "--file {disk:1}:disk1.img --memory 960"),
        log_want=(r"^root: vm one: reset\nroot: vm one: stays off: ", r"^root: vm two: reset$",
                  r"^root: vm one: power-off$", "^rig: off$")),
    # Out by the machine's own network card: DHCP, pings, a file by TFTP.
    Rig(name="vmbus/uplink",
        conf=VMBUS.replace("[root]\n", "[root]\nuplink = outside\n").format(
            linux=LINUX, one=" corbel.uplink=1", net="net = outside\n"),
        tap=True, timeout=300, args=VMBUS_FILES + " --net virtio"),
    vlan(),
    # The newer kernel's drivers.
    Rig(name="vmbus/disks-7.2", conf=VMBUS.format(linux=LINUX, one="", net=""), tap=True,
        timeout=300, args=files("7.2")),
    # The whole of a Debian on a VHDX image: packages are installed, an orderly shutdown is asked for.
    *(debian_shutdown(kernel) for kernel in ("6.12", "7.2")),
    # Killed in the middle of that, it keeps what was synchronized.
    debian_system("kill", ((DEBIAN_PROMPT, debian.doomed()), ("^now", "\x1dk")), debian.kept,
                  "^root: vm one: killed$"),
    # The neighbour lives as long as the hostile VM does, and a little longer: till it is typed to.
    Rig(name="isolation/hostile-neighbour",
        args="--file {build}/guest/hostile.elf --file {build}/guest/alive.elf "
             "--extra-console {dir}/com4",
         conf=HOSTILE, status=PROBE_PASSED, tap=True, file_tap=("com4",), timeout=300,
         dialogue=(("^root: vm hostile: exit$", "q"),), dialogue_file="log",
         log_want=(r"^root: vm hostile: exit\n(?:.*\n)*root: vm alive: exit$",)),
    Rig(name="isolation/root-cr3", args="--next {build}/guest/cr3.efi --lps 2", conf=NEXT,
        reject=("^not ok",), log_want=("root VP 0: triple fault at .*; resetting the machine$",)),
    # Level-triggered lines through the I/O APIC only; one processor.
    linux_root("1lp-intx", 1, "e1000", "pci=nomsi corbel.chip=.*IO-APIC corbel.load=5 "
               "corbel.end=reboot"),
    # Everything through the 8259s, as ExtINT.
    linux_root("2lp-8259", 2, "e1000", "noapic corbel.chip=XT-PIC corbel.load=8 "
               "corbel.hotplug=1 corbel.nmi=1"),
    # The APIC page instead of MSRs; MSI-X.
    linux_root("2lp-xapic", 2, "e1000e", "nox2apic corbel.chip=PCI-MSI.* corbel.load=8 "
               "corbel.hotplug=1 corbel.nmi=1"),
    # Two of four processors are the root's: it finds no others.
    Rig(name="root/generic-6.12-minroot", tap=True, timeout=400,
        args="--next {guest:generic-6.12} --lps 4 --file {initrd:root}:initrd.img "
             "--disk {disk:1} --disk virtio:{disk:2} --net e1000",
        conf="next = \\next.efi\nlog = e9\nrootproc = 2\nnext-options = initrd=\\initrd.img "
             f"{LINUX} corbel.cpus=2 corbel.disks=2 corbel.net=1 corbel.load=5 corbel.nmi=1 "
             "corbel.clocksource=hyperv_clocksource_tsc_page\n",
        log_want=("the root has 2 of 4 processors$",)),
    linux_root("4lp-all", 4, "virtio",
               "corbel.load=20 corbel.clock=1 corbel.hotplug=1 corbel.nmi=1 corbel.secrets=1 "
               "corbel.end=reboot",
               log_want=(r"root VP \d+: access to 0x[0-9a-f]+ refused",)),
]
