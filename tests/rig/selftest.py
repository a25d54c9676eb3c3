#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Tests of what judges the tests: TAP, the markers in the log, and the images.

    tests/rig/selftest.py
"""

import hashlib
import importlib.machinery
import importlib.util
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
from rig import tap  # noqa: E402
from rig.jobs import Probe, Result, Rig, RootProbe, on_rig  # noqa: E402
from riglib import conf, cpio, image, watch  # noqa: E402
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
import benchlib  # noqa: E402
import budgets  # noqa: E402


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

    def test_clock(self):
        """A process that others keep from running has more time, but not for ever."""
        with unittest.mock.patch("riglib.watch.waited", return_value=7.0):
            clock = watch.Clock(10, os.getpid())
            self.assertAlmostEqual(clock.left(), 17, delta=1)
        with unittest.mock.patch("riglib.watch.waited", return_value=1e6):
            self.assertAlmostEqual(clock.left(), 10 * watch.STRETCH, delta=1)
        self.assertEqual(watch.Clock(0, os.getpid()).left(), float("inf"))

    def test_waited(self):
        """Two that share a processor: each waits about as long as the other runs."""
        one = min(os.sched_getaffinity(0))
        pair = [subprocess.Popen(["sh", "-c", "while :; do :; done"],
                                 preexec_fn=lambda: os.sched_setaffinity(0, {one}))
                for _ in range(2)]
        time.sleep(0.5)
        seconds = [watch.waited(process.pid) for process in pair]
        for process in pair:
            process.kill()
            process.wait()
        self.assertGreater(sum(seconds), 0.2)
        self.assertEqual(watch.waited(pair[0].pid), 0)

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
        source.write_text("// log: a\n// log on intel: b\n")
        (test,) = Probe.of(source)
        self.assertEqual([test.log_want, on_rig("intel", test).log_want, on_rig("ryzen", test).log_want],
                         [("a",), ("a", "b"), ("a",)])
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


class Bench(unittest.TestCase):
    GOOD = "ok 1 - x\nbench cpuid 1 2 3\n(d1) bench late -4 -3 9\r\n(d1) gap wrmsr none here\n1..1\n"

    def test_parse(self):
        figures, gaps = benchlib.parse(self.GOOD)
        self.assertEqual(figures, {"cpuid": [1, 2, 3], "late": [-4, -3, 9]})
        self.assertEqual(gaps, {"wrmsr": "none here"})

    def test_parse_fails(self):
        for text in (self.GOOD.replace("1..1", ""), "not ok 1\n" + self.GOOD,
                     "(d1) Bail out! no\n" + self.GOOD, ""):
            with self.subTest(text=text), self.assertRaises(benchlib.BenchError):
                benchlib.parse(text)

    def test_configuration(self):
        text = benchlib.configuration(4, "2m", "only=x")
        for line in ("vps = 4", "lazy = 2m", "memory = 256", "cmdline = only=x"):
            self.assertEqual(text.split("\n").count(line), 1, line)

    def test_budgets(self):
        text = "# note\ncompiler gcc 12\na 100\nb 1000  # why\nc 2\n"
        made_by, rows = budgets.read(text)
        self.assertEqual((made_by, rows), ("gcc 12", {"a": (100, ""), "b": (1000, "why"),
                                                      "c": (2, "")}))
        self.assertEqual(budgets.exceeded(rows, {"a": [0, 103, 0], "b": [0, 900, 0], "c": [0, 2, 0]}),
                         [])
        bad = budgets.exceeded(rows, {"a": [0, 104, 0], "b": [0, 1031, 0], "d": [1, 1, 1]})
        self.assertEqual([text.split(":")[0] for text in bad], ["a", "b", "c", "d"])

    def test_intel_may_not_be_dearer(self):
        figures = {"cpuid": [0, 100, 0], "hypercall": [0, 200, 0], "intel/cpuid": [0, 110, 0],
                   "intel/hypercall": [0, 221, 0]}
        self.assertEqual([text.split(":")[0] for text in budgets.dearer_on_intel(figures)],
                         ["intel/hypercall"])

    def test_raises(self):
        old = "compiler gcc 12\na 100\nb 100  # why\nc 100\n"
        for new, found in (("a 101", ["a"]), ("a 101  # slower disk", []), ("b 101  # why", ["b"]),
                           ("b 101  # more", []), ("b 99  # why", []), ("c 100\nnew 5", [])):
            with self.subTest(new=new):
                self.assertEqual(budgets.raised(old, "compiler gcc 12\n" + new + "\n"), found)
        self.assertEqual(budgets.raised(old, "compiler gcc 13\na 200\n"), [])


class Coverage(unittest.TestCase):
    SOURCE = """
#define CODE HVCALL_ONE
static const struct rule rules[] = {{HVCALL_TWO, 1},
                                    {HVCALL_THREE, 2}};
static bool helper(uint32_t code)
{
    return rules[code].status == HVCALL_FOUR;
}

static void test_some(void)
{
    tap_ok(helper(CODE), "a sentence");
}

static void unused(void)
{
    HVCALL_FIVE;
}
START_TEST(named)
{
    struct x y = {.a = HVCALL_SIX};
}
END_TEST
"""

    @classmethod
    def setUpClass(cls):
        path = pathlib.Path(__file__).resolve().parents[2] / "tools" / "abi-coverage"
        loader = importlib.machinery.SourceFileLoader("abi_coverage", str(path))
        cls.tool = importlib.util.module_from_spec(
            importlib.util.spec_from_loader(loader.name, loader))
        loader.exec_module(cls.tool)

    def test_what_a_test_reaches(self):
        by_name = {}
        for definition in self.tool.definitions(self.SOURCE):
            by_name.setdefault(definition.name, []).append(definition)
        self.assertEqual([name for name, group in by_name.items() if group[0].test],
                         ["test_some", "named"])
        words = self.tool.reach(by_name["test_some"][0], by_name)
        self.assertEqual({word for word in words if word.startswith("HVCALL")},
                         {"HVCALL_ONE", "HVCALL_TWO", "HVCALL_THREE", "HVCALL_FOUR"})
        self.assertLess(words["HVCALL_FOUR"], words["HVCALL_TWO"])
        self.assertIn("HVCALL_SIX", self.tool.reach(by_name["named"][0], by_name))

    def test_what_has_no_test_is_said(self):
        text, untested = self.tool.page({})
        rows = [row for part in self.tool.PARTS for row in part[2]()]
        self.assertEqual(len(untested), sum(row.wants_test for row in rows))
        self.assertGreater(sum(row.done for row in rows), 300)
        self.assertIn("| 005c | POST_MESSAGE |", text)

    def test_a_refusal_is_no_test_of_what_is_done(self):
        found = {"HVCALL_POST_MESSAGE": [(0, "probe/x: test_refusals")],
                 "HVCALL_SIGNAL_EVENT": [(0, "probe/x: test_refusals"), (2, "probe/x: test_signal")]}
        text, untested = self.tool.page(found)
        self.assertIn("Hypercalls: POST_MESSAGE is done, and tests only refuse it", untested)
        self.assertIn("| 005d | SIGNAL_EVENT | done | probe/x: test_signal |", text)
        self.assertNotIn("SIGNAL_EVENT is", "".join(untested))

    def test_strings_name_nothing(self):
        source = "static void test_it(void)\n{\n    tap_ok(true, \"HVCALL_ONE %u\", HVCALL_TWO);\n}\n"
        definition = next(self.tool.definitions(source))
        self.assertIn("HVCALL_TWO", definition.words)
        self.assertNotIn("HVCALL_ONE", definition.words)


if __name__ == "__main__":
    unittest.main()
