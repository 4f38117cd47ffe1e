"""A process stopped before each of its writes: what a kill there would leave on the disk."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SYSCALL, GET_REGISTER, SET_OPTIONS = 24, 3, 0x4200
SYSCALL_STOPS, DIE_WITH_TRACER = 1, 0x100000
SYSCALL_STOP = signal.SIGTRAP | 0x80
NUMBER_OF_CALL = 120
"""Place of ``orig_rax`` among the registers of x86-64."""
WRITES = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    86: "link",
    87: "unlink",
    257: "openat",
    258: "mkdirat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    285: "fallocate",
    316: "renameat2",
}
TRACED = """
import ctypes, os, runpy, signal, sys
script = runpy.run_path(sys.argv[1])
if ctypes.CDLL(None).ptrace(0, 0, None, None) == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    script[sys.argv[2]](*sys.argv[3:])
"""


@dataclass(frozen=True)
class Cut:
    """A copy of a folder as a kill would leave it, before a write of the process at work."""

    folder: Path
    before: str
    """Name of the system call that did not happen any more."""
    said: int
    """Lines that the process had printed."""


Cuts = Callable[..., Iterator[Cut]]


@pytest.fixture
def cuts(tmp_path: Path) -> Cuts:
    """Run ``function(folder)`` of a script; give each cut once, and what was said at the end."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("system calls are counted by their numbers on Linux, x86-64")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    copy = tmp_path / "cut"

    def run(script: str, function: str, folder: Path, said: Path) -> Iterator[Cut]:
        with said.open("w") as out, traced(script, function, folder, out.fileno()) as process:
            seen = b""
            for call in stops(process):
                kept = content(folder)
                if call in WRITES and kept != seen:
                    seen = kept
                    shutil.rmtree(copy, ignore_errors=True)
                    shutil.copytree(folder, copy)
                    yield Cut(copy, WRITES[call], said.read_text().count("\n"))

    def traced(script: str, function: str, folder: Path, out: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", TRACED, script, function, str(folder)]
        return subprocess.Popen(command, stdout=out)

    def stops(process: subprocess.Popen[bytes]) -> Iterator[int]:
        """Let a process run from system call to system call; give the number of each."""
        pid, entering, passed_on = process.pid, True, 0
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            process.returncode = os.waitstatus_to_exitcode(status)
            pytest.skip("this machine does not let a test trace its own children")
        libc.ptrace(SET_OPTIONS, pid, None, SYSCALL_STOPS | DIE_WITH_TRACER)
        try:
            while True:
                libc.ptrace(SYSCALL, pid, None, passed_on)
                _, status = os.waitpid(pid, 0)
                if not os.WIFSTOPPED(status):
                    break
                passed_on = 0
                if os.WSTOPSIG(status) != SYSCALL_STOP:
                    passed_on = os.WSTOPSIG(status)
                    continue
                if entering:
                    yield libc.ptrace(GET_REGISTER, pid, NUMBER_OF_CALL, None)
                entering = not entering
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, "the process at work failed"
        finally:
            process.kill()

    return run


def content(folder: Path) -> bytes:
    """All that a process started afterwards can see: names and contents."""
    files = sorted(path for path in folder.rglob("*") if not path.name.endswith("-shm"))
    parts = [str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in files]
    return b"\0".join(parts)
