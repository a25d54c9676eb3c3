# SPDX-License-Identifier: BSD-2-Clause-Patent
"""What the runs of the bench share: its rows, its output, the configuration of Corbel's run."""

import hashlib
import os
import pathlib
import re

TREE = pathlib.Path(__file__).resolve().parents[2]
BENCH = TREE / "tests" / "bench"
BUILD = pathlib.Path(os.environ.get("B", TREE / "build"))
BUILD = BUILD if BUILD.is_absolute() else TREE / BUILD
IMAGE = BUILD / "bench" / "bench.elf"
PEERS = BENCH / "peers.json"
MEMORY = 256  # MiB of the guest
VMMS = {"kvm": "kvmrun", "xen": "xenvmm"}
PEER_NAMES = tuple(VMMS)

# name, what it is
ROWS = {
    "cpuid": "CPUID of a hypervisor leaf",
    "hypercall": "null hypercall, operands in registers",
    "hypercall-memory": "null hypercall, operands in memory",
    "rdmsr": "RDMSR of a synthetic register",
    "wrmsr": "WRMSR of a synthetic register",
    "cr3": "MOV to CR3",
    "cr8": "MOV to CR8",
    "pause-100": "100 times PAUSE and a loop",
    "ipi-self": "IPI to itself, with its EOI",
    "ipi-running": "IPI to a running VP, until its handler",
    "ipi-halted": "IPI to a halted VP, until its handler",
    "eoi": "EOI by register",
    "eoi-assist": "EOI without exit where possible",
    "timer-arm": "timer: arming",
    "timer-cost": "timer: all it takes of the processor",
    "timer-late": "timer: lateness, VP running",
    "halt-wake": "timer: lateness, VP halted",
    "flush-1": "TLB flush of 1 other VP",
    "flush-3": "TLB flush of 3 other VPs",
    "flush-page-3": "the same of 1 page",
    "flush-64-3": "the same of 64 pages",
    "cluster-1": "cluster IPI to 1 VP, until its handler",
    "cluster-3": "cluster IPI to 3 VPs, until the last",
    "signal-event": "SignalEvent to a VP of another partition",
    "signal-event-taken": "the same, until its handler",
    "post-message": "PostMessage to a VP of another partition",
    "post-message-taken": "the same, until its handler",
    "vp-switch": "from one VP to another on the same LP",
    "port-unowned": "port that nobody has",
    "port-vmm": "port answered by the VMM",
    "mmio-vmm": "MMIO answered by the VMM",
    "inject": "port write to the VMM's interrupt",
    "touch-4k": "first touch of a 4 KiB page",
    "touch-2m": "first touch of a 2 MiB page",
}

# No costs: a ratio says nothing.
LATENESS = ("timer-late", "halt-wake")

# How many times KVM's figure is to be Corbel's at least; 1 where nothing is said.
WANTED = {**dict.fromkeys(("cpuid", "hypercall", "rdmsr", "wrmsr"), 20),
          **dict.fromkeys(("eoi", "ipi-self", "ipi-running", "ipi-halted"), 10),
          **dict.fromkeys(("touch-4k", "touch-2m", "port-unowned", "port-vmm", "mmio-vmm", "inject",
                           "timer-arm", "timer-cost"), 4)}

# What the console of a domain puts before a line, under Xen.
PREFIX = r"^(?:\(d\d+\) )?"
RESULT = re.compile(PREFIX + r"bench (\S+) (-?\d+) (-?\d+) (-?\d+)\s*$", re.M)
GAP = re.compile(PREFIX + r"gap (\S+) (.+?)\s*$", re.M)
FAILED = re.compile(PREFIX + r"(not ok .*|Bail out!.*?)\s*$", re.M)
PLAN = re.compile(PREFIX + r"1\.\.\d+\s*$", re.M)


class BenchError(Exception):
    """A run that has no figures."""


def parse(text):
    """(figures, gaps) of a run: {row: [min, median, max]} and {row: reason}."""
    failed = FAILED.search(text)
    if failed or not PLAN.search(text):
        raise BenchError(failed[1] if failed else "the guest did not get to its end")
    figures = {m[1]: [int(value) for value in m.groups()[1:]] for m in RESULT.finditer(text)}
    return figures, {m[1]: m[2] for m in GAP.finditer(text)}


def configuration(lps, lazy, cmdline=""):
    """Text of corbel.conf for the bench guest on as many LPs as VPs."""
    text = (BENCH / "bench.conf").read_text()
    for key, value in (("vps", lps), ("lazy", lazy), ("memory", MEMORY)):
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.M)
    return text + (f"cmdline = {cmdline}\n" if cmdline else "")


def sources_key(peer):
    """Of the programs that a peer's figures depend on."""
    digest = hashlib.sha256()
    lib, folder = TREE / "tests" / "guest" / "lib", BENCH / "peers"
    programs = sorted((BENCH / "guest").glob("*.[ch]"))
    for path in programs + [folder / "vmm.h", folder / f"{VMMS[peer]}.c", lib / "entry.S",
                            lib / "trap.c", lib / "vectors.S"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
