# SPDX-License-Identifier: BSD-2-Clause-Patent
"""The kinds of tests that tests/run knows; each is data, and knows its command and its verdict."""

import dataclasses
import pathlib
import re
import shlex
import subprocess
import sys
import tarfile

TREE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tools"))
from riglib import build_dir, cache_dir, guests_dir  # noqa: E402
from riglib.image import BootVolume, write_test_disk  # noqa: E402,F401
from riglib.watch import STRETCH  # noqa: E402

from . import tap  # noqa: E402

PROBE_PASSED = 1  # exit value 0, as (value << 1) | 1
# A test's time-out is what it may take on an idle machine; a slow or busy one gets as many times that
# long. Nothing else distinguishes it from a test that hangs, and only that is what time-outs end.
PATIENCE = 5
# So many times Check's own time-out of a test case, which is 4 seconds by the clock: cases of one second
# have taken 46 beside ten busy processes.
CASE_PATIENCE = 60
RUNNER_GRACE = 60  # seconds beyond the test's own time-out, until the runner kills it
ANSI = re.compile(r"\x1b\[[0-9;=?]*[A-Za-z]")


@dataclasses.dataclass
class Result:
    """How a command ended."""
    status: int | None  # None: the runner's own time-out
    out: str            # stdout and stderr
    folder: pathlib.Path

    def file(self, name):
        """A text file that the test wrote, as it can be read."""
        path = self.folder / name
        text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        return ANSI.sub("", text).replace("\r", "")


def no_fault(_result):
    return ""


@dataclasses.dataclass
class Unit:
    """A unit test's binary: passes with status 0."""
    name: str
    binary: pathlib.Path
    timeout: float = 300

    def limit(self):
        """Seconds after which the runner ends it."""
        return self.timeout * PATIENCE + RUNNER_GRACE

    def needs(self):
        return [self.binary]

    def command(self, _folder):
        return ["env", f"CK_TIMEOUT_MULTIPLIER={CASE_PATIENCE}", str(self.binary)]

    def fault(self, result):
        return f"status {result.status}" if result.status else ""


def kept_corpus(name):
    """The inputs of a fuzz target that are kept in the tree (tests/fuzz/keep)."""
    return TREE / "tests" / "fuzz" / "corpus" / f"{name}.tar.xz"


def unpack_corpus(name, folder):
    """Put them into a folder."""
    if kept_corpus(name).exists():
        with tarfile.open(kept_corpus(name)) as archive:
            archive.extractall(folder)


@dataclasses.dataclass
class Fuzz(Unit):
    """A bounded run of a fuzz target: from the inputs that are kept, and what earlier runs found."""
    seconds: int = 10

    def command(self, folder):
        corpus = build_dir() / "fuzz" / "corpus" / self.binary.name
        corpus.mkdir(parents=True, exist_ok=True)
        unpack_corpus(self.binary.name.removeprefix("fuzz_"), corpus)
        return [str(self.binary), f"-max_total_time={self.seconds}", "-verbosity=0",
                f"-artifact_prefix={folder}/", str(corpus)]


@dataclasses.dataclass
class Rig:
    """A boot of the real image by tools/rig.

    `args` is tools/rig's command line. In it, and in `conf`:
    {guest:NAME}   a kernel from tools/setup's cache     {initrd:NAME}  an image of tools/initramfs
    {cut:NAME}     the first half of a kernel, as a copy that broke off leaves it
    {disk:N}       a fresh test disk with seed N         {vhdx:N}       the same in a VHDX image
    {debian}       a Debian root file system in a VHDX image
    {build} {dir}  build folder, test's folder
    """
    name: str
    args: str
    timeout: float = 120
    status: int = 0
    tap: bool = False            # stdout is TAP and every test passes
    conf: str = ""               # text for --conf
    want: tuple = ()             # regular expressions that stdout must match, each
    reject: tuple = ()           # and must not match
    log_want: tuple = ()         # the same for the log of port 0xe9
    log_on: dict = dataclasses.field(default_factory=dict)  # more of that by rig that is Bochs
    log_reject: tuple = (r"^(?:\[[^\]]*\] ?)?PANIC",)
    file_tap: tuple = ()         # files in the test's folder that hold TAP of their own
    dialogue: tuple = ()         # (regular expression, text to type when it is seen), ...
    dialogue_file: str = "out"   # where it is looked for: stdout, or another file of the test's
    waits: bool = False          # most of the time: it runs beside the tests that need no emulator
    after: object = None         # function of the Result: what else is wrong, or ""

    def _fill(self, text, folder):
        def value(match):
            kind, _, name = match.group(1).partition(":")
            return {
                "guest": lambda: guests_dir() / name,
                "cut": lambda: self._cut(folder, name),
                "initrd": lambda: build_dir() / "initrd" / f"{name}.img",
                "disk": lambda: self._disk(folder, name),
                "vhdx": lambda: self._vhdx(folder, name),
                "debian": lambda: self._debian(folder),
                "build": build_dir,
                "dir": lambda: folder,
            }[kind]().as_posix()

        return re.sub(r"\{((?:guest|cut|initrd|disk|vhdx|debian|build|dir)(?::[\w.-]+)?)\}", value, text)

    @staticmethod
    def _cut(folder, name):
        path = folder / f"{name}.cut"
        data = (guests_dir() / name).read_bytes()
        path.write_bytes(data[:len(data) // 2])
        return path

    @classmethod
    def _vhdx(cls, folder, name):
        path = folder / f"disk{name}.vhdx"
        subprocess.run(["qemu-img", "convert", "-q", "-O", "vhdx", "-o", "subformat=dynamic",
                        cls._disk(folder, name), path], check=True)
        return path

    @staticmethod
    def _debian(folder):
        path = folder / "debian.vhdx"
        # Blocks as small as may be: one is free again when all of it has been trimmed at once, and the
        # file system's groups have 8 MiB.
        subprocess.run(["qemu-img", "convert", "-q", "-O", "vhdx", "-o",
                        "subformat=dynamic,block_size=1M", cache_dir() / "debian" / "debian.img", path], check=True)
        return path

    @staticmethod
    def _disk(folder, name):
        path = folder / f"disk{name}.img"
        write_test_disk(path, int(name))
        return path

    def initrds(self):
        """Names of the initramfs images that the test needs."""
        return re.findall(r"\{initrd:(\w+)\}", self.args)

    def limit(self):
        """The rig knows better: see riglib.watch.Clock."""
        return self.timeout * PATIENCE * STRETCH + RUNNER_GRACE

    def needs(self):
        return [build_dir() / "corbel.efi", build_dir() / "root.efi"]

    def command(self, folder):
        args = shlex.split(self._fill(self.args, folder))
        if self.conf:
            (folder / "corbel.conf").write_text(self._fill(self.conf, folder))
            args += ["--conf", str(folder / "corbel.conf")]
        return [str(TREE / "tools" / "rig"), "--log", str(folder / "log"),
                "--timeout", str(self.timeout * PATIENCE), *args]

    def tap_text(self, result):
        return result.out

    def fault(self, result):
        if result.status != self.status:
            return f"status {result.status}, want {self.status}"
        log = result.file("log")
        for patterns, text, wanted, where in (
                (self.want, result.out, True, "the output"),
                (self.reject, result.out, False, "the output"),
                (self.log_want, log, True, "the log"),
                (self.log_reject, log, False, "the log")):
            for pattern in patterns:
                if bool(re.search(pattern, text, re.MULTILINE)) != wanted:
                    return f"{where} {'lacks' if wanted else 'has'} {pattern!r}"
        taps = [result.file(name) for name in self.file_tap]
        if self.tap:
            taps.append(self.tap_text(result))
        return next(filter(None, map(tap.fault, taps)), "") or (self.after or no_fault)(result)


@dataclasses.dataclass
class Probe(Rig):
    """A bare-metal guest in a child: TAP on its COM1, or on its port 0xe9, which comes in the log.

    Comments of its source may say more; each `rig` line is a test of its own:
        // rig: --vps 4 --lps 2     options of tools/rig
        // timeout: 240             seconds
        // log: root: .*            a line that the log has to have
        // log on intel: exit .*    the same of the test on another rig
        // ends: 0                  a probe that does not end by TAP: the status that passes
        // conf: rootproc = 1       another line of corbel.conf, where the probe is the root
        // rig: --lps 4 | scheduler = core     the same of one of the tests
    """
    source: pathlib.Path = None
    tap: bool = True
    status: int = PROBE_PASSED

    IMAGE, SUFFIX = "--child", "elf"

    @classmethod
    def of(cls, source):
        """The tests that SOURCE asks for."""
        text = source.read_text()

        def comments(word):
            return re.findall(rf"^// {word}: (.+)$", text, re.MULTILINE)

        image = shlex.quote(str(build_dir() / "guest" / f"{source.stem}.{cls.SUFFIX}"))
        runs = comments("rig") or [""]
        timeout, ends = comments("timeout"), comments("ends")
        for run in runs:
            options, _, conf = run.partition(" | ")
            name = f"{cls.prefix()}/{source.stem}"
            if len(runs) > 1:
                name += "-" + "-".join(re.findall(r"\w+", run))
            yield cls(name=name, args=f"{cls.IMAGE} {image} {options}", source=source,
                      conf=cls.conf + "".join(line + "\n" for line in [*comments("conf"), conf] if line),
                      timeout=float(timeout[0]) if timeout else cls.timeout,
                      status=int(ends[0]) if ends else PROBE_PASSED, tap=not ends,
                      log_want=tuple(comments("log")),
                      log_on={rig: tuple(comments(f"log on {rig}")) for rig in ON_RIGS})

    @classmethod
    def prefix(cls):
        return "probe"

    def needs(self):
        return super().needs() + [build_dir() / "guest" / f"{self.source.stem}.{self.SUFFIX}"]

    def tap_text(self, result):
        return result.out if tap.has_plan(result.out) else result.file("log")


BOCHS_PATIENCE = 3  # Bochs interprets what QEMU translates

# Which probes run on which rig beside the first. The newer Intel model runs all; the older one, and AMD
# as Bochs has it, those that look at the processor most (a run of all takes as long as on Intel's).
ON_RIGS = {
    "intel": r".*",
    "intel-old": r"probe/(cpu|mode|apic|apicv-vps-2-lps-2|apic_timer|mmu-vps-2-lps-2|state-vps-4-lps-2|"
                 r"vps-vps-2-lps-2|smp-vps-4-lps-2|timers-vps-2-lps-2)|"
                 r"root-probe/(pic-lps-2|dirty-lps-2|intercept-lps-2|registers|shootdown-lps-1|slices)",
    "ryzen": r"probe/(cpu|mode|msr|apic|apic_timer|hypercall|mmu-vps-2-lps-2|state-vps-4-lps-2|"
             r"overlay-vps-2-lps-2|vps-vps-2-lps-2|smp-vps-4-lps-2|timers-vps-2-lps-2)|"
             r"root-probe/(pic-lps-2|dirty-lps-2|intercept-lps-2|registers|cycles|features|tsc_scale|"
             r"shootdown-lps-2)",
}


def on_rig(rig, test):
    """The same test on one of the rigs that are Bochs."""
    return dataclasses.replace(test, name=f"{rig}/{test.name}", args=f"--on {rig} {test.args}",
                               log_want=test.log_want + test.log_on.get(rig, ()),
                               timeout=test.timeout * BOCHS_PATIENCE)


@dataclasses.dataclass
class RootProbe(Probe):
    """An EFI application that runs as the root, which may create partitions."""
    conf: str = "next = \\next.efi\nlog = e9\nmanagement = yes\n"

    IMAGE, SUFFIX = "--next", "efi"

    @classmethod
    def prefix(cls):
        return "root-probe"
