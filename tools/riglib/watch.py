# SPDX-License-Identifier: BSD-2-Clause-Patent
"""Run an emulator, follow the log that it writes, and turn what happens into an exit status."""

import contextlib
import ctypes
import os
import pathlib
import re
import select
import signal
import subprocess
import time

STATUS_OK = 0
STATUS_USAGE = 2  # also: the machine could not be built
STATUS_PANIC = 70
STATUS_ROOT_FAILURE = 72
STATUS_TIMEOUT = 124
STATUS_HANGUP = 128 + signal.SIGHUP

PANIC_TAIL = 2.0  # seconds of log that follow a panic
STOP_GRACE = 3.0  # seconds that the emulator has to end by itself
STRETCH = 4       # times the time-out, whatever the host is busy with
PR_SET_PDEATHSIG = 1

# What the hypervisor and root.efi write to port 0xe9, a line each, after an optional time stamp.
MARKER = re.compile(rb"^(?:\[[^\]]*\] ?)?(?:(PANIC)|rig: (exit|off|reset|root failure)\b:? ?(.*))")


class Verdict(Exception):
    """The log says how the run ends."""

    def __init__(self, status, reason="", tail=0.0):
        super().__init__(reason)
        self.status, self.reason, self.tail = status, reason, tail


def exit_status(value):
    """What isa-debug-exit makes of a value that a guest writes to port 0xf4."""
    return (value << 1 | 1) & 0xFF


def judge(line):
    """Raise the verdict that a line of the log holds, if it holds one."""
    match = MARKER.match(line)
    if not match:
        return
    panic, word, rest = match.groups()
    rest = rest.decode(errors="replace").strip() if rest else ""
    if panic:
        raise Verdict(STATUS_PANIC, line.decode(errors="replace"), PANIC_TAIL)
    if word == b"root failure":
        raise Verdict(STATUS_ROOT_FAILURE, f"root failure: {rest}")
    if word == b"exit":
        try:
            raise Verdict(exit_status(int(rest, 0)))
        except ValueError:
            raise Verdict(STATUS_ROOT_FAILURE, f"unreadable exit value: {rest}") from None
    raise Verdict(STATUS_OK)


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Log:
    """The reading end of the emulator's log: splits it into lines and keeps a copy in a file."""

    def __init__(self, path):
        self.read_fd, self.write_fd = os.pipe()
        self.copy = open(path, "wb", buffering=0)
        self.rest = b""
        self.open = True

    def started(self):
        """The emulator has its own copy of the writing end."""
        os.close(self.write_fd)

    def read(self, seconds):
        """Lines that came within SECONDS; none at the end of the log or when nothing came."""
        if not self.open:
            time.sleep(min(seconds, 0.05))
            return []
        if not select.select([self.read_fd], [], [], max(seconds, 0))[0]:
            return []
        data = os.read(self.read_fd, 1 << 16)
        self.open = bool(data)
        self.copy.write(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if not data and self.rest:
            lines, self.rest = [self.rest], b""
        return [line.rstrip(b"\r") for line in lines]

    def wait(self, clock, process):
        """Whether there is something to read, or PROCESS has ended, before the CLOCK's time is up."""
        while clock.left() > 0:
            if select.select([self.read_fd], [], [], 0.5)[0] or process.poll() is not None:
                return True
        return False

    def close(self):
        os.close(self.read_fd)
        self.copy.close()


def _stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Terminal:
    """The terminal on a descriptor, if there is one. Only the leader of its session is told of a
    hang-up by a signal, and that may be the `make` that runs us, which waits for us."""

    def __init__(self, fd=0):
        self.fd = fd
        self.was_there = os.isatty(fd)

    def is_gone(self):
        return self.was_there and not os.isatty(self.fd)


def waited(pid):
    """Seconds that a thread of this process has been ready to run while others had the host's processors;
    of the thread that waited longest."""
    longest = 0
    for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, IndexError):
            longest = max(longest, int(stat.read_text().split()[1]))
    return longest / 1e9


class Clock:
    """A time-out. It is for machines that hang, so the time that the emulator waits for a processor of a
    busy host does not count, up to STRETCH times the time-out."""

    def __init__(self, timeout, pid):
        self.timeout, self.pid, self.start = timeout, pid, time.monotonic()

    def left(self):
        if not self.timeout:
            return float("inf")
        gone = time.monotonic() - self.start
        return min(self.timeout * STRETCH - gone, self.timeout - gone + waited(self.pid))


def _follow(process, log, timeout):
    """Read the log until it holds a verdict, the emulator ends (None), time is up or the terminal
    is gone."""
    terminal, clock = Terminal(), Clock(timeout, process.pid)
    while True:
        left = min(0.5, clock.left())
        if left <= 0:
            raise Verdict(STATUS_TIMEOUT, "time-out")
        if terminal.is_gone():
            raise Verdict(STATUS_HANGUP, "the terminal is gone")
        for line in log.read(left):
            judge(line)
        if not log.open and process.poll() is not None:
            return


def _drain(log, seconds):
    end = time.monotonic() + seconds
    while log.open and time.monotonic() < end:
        log.read(end - time.monotonic())


NOT_STARTED = "nothing in the log"


def run(command, log, errors, timeout, start=None):
    """Run COMMAND, which writes LOG. Returns (ended, status, reason): ENDED when the emulator ended
    by itself, with that status; otherwise the log or the clock decided, for that reason. TIMEOUT
    in seconds, 0 for none; ERRORS is the file for the emulator's own messages. With START, a machine
    that has logged nothing after as many seconds ends with the reason NOT_STARTED."""
    process = subprocess.Popen(command, stderr=errors, pass_fds=[log.write_fd],
                               preexec_fn=_die_with_parent)
    log.started()
    try:
        if start and not log.wait(Clock(start, process.pid), process):
            return False, STATUS_TIMEOUT, NOT_STARTED
        _follow(process, log, timeout)
    except Verdict as verdict:
        _drain(log, verdict.tail)
        return False, verdict.status, verdict.reason
    finally:
        _stop(process)
    if process.returncode < 0:
        reason = f"the emulator died of signal {-process.returncode}"
        return False, STATUS_ROOT_FAILURE, reason
    return True, process.returncode, ""


def triple_fault(resets, words):
    """Did the machine reset because a processor had a fault that nobody could take? The emulator
    says so in these WORDS."""
    try:
        with open(resets, "rb") as file:
            return words in file.read()
    except FileNotFoundError:
        return False
