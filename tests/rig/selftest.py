#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Tests of what judges the tests: TAP, the markers in the log, and the images.

    tests/rig/selftest.py
"""

import hashlib
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from rig import tap  # noqa: E402
from rig.jobs import Probe, Result, Rig, RootProbe  # noqa: E402
from riglib import conf, cpio, image, watch  # noqa: E402


class Tap(unittest.TestCase):
    def test_passes(self):
        self.assertEqual(tap.fault("noise\nok 1 - a\n# note\nok 2\n1..2\n"), "")
        self.assertEqual(tap.fault("1..1\n[    0.1] vm child: ok 1 - a\n"), "")

    def test_fails(self):
        for text, why in (("", "no plan"), ("ok 1\n", "no plan"), ("1..0\n", "0 tests"),
                          ("1..2\nok 1\n", "1 tests of 2"),
                          ("ok 1\nnot ok 2 - b\n1..2", "not ok 2"),
                          ("ok 2\n1..1\n", "test 2 came as number 1"),
                          ("ok 1\nok 1\n1..2\n", "test 1 came as number 2"),
                          ("1..1\nok 1\n1..1\n", "more than one plan"),
                          ("ok 1\nBail out! disk\n1..1\n", "bailed out: disk"),
                          ("ok 1 - a\n1..1 of\n", "no plan")):
            with self.subTest(text=text):
                self.assertIn(why, tap.fault(text))
                self.assertNotEqual(tap.fault(text), "")


class Markers(unittest.TestCase):
    def verdict(self, line):
        try:
            watch.judge(line)
        except watch.Verdict as verdict:
            return verdict.status
        return None

    def test_verdicts(self):
        for line, status in ((b"rig: exit 0", 1), (b"rig: exit 3", 7), (b"rig: exit 0x10", 33),
                             (b"[    1.000200] rig: exit 127", 255), (b"rig: off", 0),
                             (b"[1.5 lp1] rig: reset", 0), (b"rig: root failure: no file", 72),
                             (b"rig: exit ?", 72), (b"PANIC: lost", 70),
                             (b"[    3.1] PANIC at x", 70)):
            with self.subTest(line=line):
                self.assertEqual(self.verdict(line), status)

    def test_other_lines(self):
        for line in (b"", b"no PANIC here", b"a rig: exit 1", b"rig: offline", b"rig: hello",
                     b"vm: rig: off"):
            with self.subTest(line=line):
                self.assertIsNone(self.verdict(line))

    def test_run(self):
        def run(script, timeout=10):
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "log"
                log = watch.Log(path)
                command = ["sh", "-c", script.format(log=f"/dev/fd/{log.write_fd}")]
                try:
                    result = watch.run(command, log, subprocess.DEVNULL, timeout)
                finally:
                    log.close()
                return *result[:2], path.read_bytes()

        self.assertEqual(run("printf 'x\\nrig: exit 2\\n' >{log}; exec sleep 60"),
                         (False, 5, b"x\nrig: exit 2\n"))
        self.assertEqual(run("printf 'PANIC\\n' >{log}; printf tail >{log}"),
                         (False, 70, b"PANIC\ntail"))
        self.assertEqual(run("printf 'rig: off' >{log}"), (False, 0, b"rig: off"))
        self.assertEqual(run("exec sleep 60", timeout=0.2)[:2], (False, 124))
        self.assertEqual(run("exit 9")[:2], (True, 9))
        self.assertEqual(run("kill -ABRT $$")[:2], (False, 72))

    def test_terminal(self):
        end, fd = pty.openpty()
        terminal = watch.Terminal(fd)
        self.assertFalse(terminal.is_gone())
        os.close(end)
        self.assertTrue(terminal.is_gone())
        os.close(fd)
        end, fd = os.pipe()
        self.assertFalse(watch.Terminal(end).is_gone())
        os.close(fd)
        self.assertFalse(watch.Terminal(end).is_gone())
        os.close(end)


class Verdicts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name)

    def fault(self, test, status, out, **files):
        for name, text in files.items():
            (self.path / name).write_text(text)
        return test.fault(Result(status, out, self.path))

    def test_rig(self):
        test = Rig("x", "", want=("^a$",), reject=("b",), log_want=("c",), file_tap=("com4",))
        good = {"log": "c\n", "com4": "ok 1\n1..1\n"}
        self.assertEqual(self.fault(test, 0, "x\na\n", **good), "")
        self.assertIn("status 1", self.fault(test, 1, "a", **good))
        self.assertIn("lacks '^a$'", self.fault(test, 0, "aa", **good))
        self.assertIn("has 'b'", self.fault(test, 0, "a\nb", **good))
        self.assertIn("log lacks 'c'", self.fault(test, 0, "a", **{**good, "log": ""}))
        self.assertIn("PANIC", self.fault(test, 0, "a", **{**good, "log": "c\n[1] PANIC x"}))
        self.assertIn("no plan", self.fault(test, 0, "a", **{**good, "com4": "ok 1\n"}))

    def test_probe(self):
        source = self.path / "boo.c"
        source.write_text("// x\n// rig: --vps 4\n// timeout: 33\n")
        (test,) = Probe.of(source)
        self.assertEqual((test.name, test.timeout), ("probe/boo", 33))
        self.assertTrue(test.args.endswith("boo.elf --vps 4"))
        self.assertEqual(self.fault(test, 1, "ok 1\n1..1\n"), "")
        self.assertEqual(self.fault(test, 1, "", log="ok 1\n1..1\n"), "")
        self.assertIn("status 3", self.fault(test, 3, "ok 1\n1..1\n"))
        self.assertIn("not ok", self.fault(test, 1, "not ok 1\n1..1\n", log="ok 1\n1..1\n"))

    def test_probes(self):
        source = self.path / "boo.c"
        source.write_text("// rig: --vps 4\n// rig: --vps 2 --lps 1\n// ends: 0\n")
        tests = list(Probe.of(source))
        self.assertEqual([test.name for test in tests],
                         ["probe/boo-vps-4", "probe/boo-vps-2-lps-1"])
        self.assertEqual(self.fault(tests[0], 0, "no plan"), "")
        self.assertIn("status 1", self.fault(tests[0], 1, ""))
        source.write_text("")
        (test,) = RootProbe.of(source)
        self.assertEqual(test.name, "root-probe/boo")
        self.assertTrue(test.args.startswith("--next ") and "boo.efi" in test.args)


class Images(unittest.TestCase):
    def test_conf(self):
        text = conf.vm_section("a", None, "x=1 y", 2, 64)
        self.assertEqual(text, "[vm a]\nkernel = \\child.img\ncmdline = x=1 y\nvps = 2\n"
                               "memory = 64\n")

    def test_boot_volume(self):
        with tempfile.TemporaryDirectory() as folder:
            disk, out = os.path.join(folder, "disk"), os.path.join(folder, "out")
            volume = image.BootVolume()
            volume.add("EFI/BOOT/a long name.conf", b"text\n")
            volume.add("\\big.img", bytes(30 << 20))
            with self.assertRaises(image.ImageError):
                volume.add("x", os.path.join(folder, "absent"))
            volume.write(disk)
            image.mtools("mcopy", "-i", f"{disk}@@{image.PARTITION_START}",
                         "::EFI/BOOT/a long name.conf", out)
            with open(out, "rb") as file:
                self.assertEqual(file.read(), b"text\n")
            with open(disk, "rb") as file:
                mbr = file.read(512)
            kind, start, count = mbr[450], *struct.unpack_from("<II", mbr, 454)
            self.assertEqual((kind, mbr[510:]), (0xEF, b"\x55\xaa"))
            self.assertEqual((start + count) * 512, os.path.getsize(disk))

    def test_test_disk(self):
        with tempfile.TemporaryDirectory() as folder:
            disk = os.path.join(folder, "disk")
            image.write_test_disk(disk, 7)
            with open(disk, "rb") as file:
                file.seek(image.PARTITION_START)
                data, total = file.read(1 << 20), file.read(32)
            self.assertEqual(hashlib.md5(data).hexdigest().encode(), total)

    def test_cpio(self):
        archive = cpio.Archive()
        archive.file("a/b", b"12345", 0o755)
        archive.device("dev/console", 5, 1)
        listing = subprocess.run(["cpio", "-itv", "--quiet"], input=archive.finish(), check=True,
                                 stdout=subprocess.PIPE).stdout.decode().splitlines()
        self.assertEqual([(line.split()[0], line.split()[-1]) for line in listing],
                         [("drwxr-xr-x", "a"), ("-rwxr-xr-x", "a/b"), ("drwxr-xr-x", "dev"),
                          ("crw-------", "dev/console")])


if __name__ == "__main__":
    unittest.main()
