"""Processes as the operating system knows them: who is alive, and how one is ended.

A process is named by host, boot, pid namespace, pid and start time: a pid alone
is given again. The worker imports this module: standard library and psutil alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

MARK = "LEADLINE_ATTEMPT"
"""Environment variable that an engine passes on to all it starts: calculation/attempt."""
_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


@cache
def host() -> str:
    """Return the name of this host."""
    return socket.gethostname()


@cache
def boot_id() -> str:
    """Return what tells this boot, and this pid namespace, from every other."""
    if not _LINUX:
        return f"{psutil.boot_time():.0f}"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"


def start_time(pid: int) -> float | None:
    """Return when a process started, or None if there is none or it is a zombie.

    Clock ticks since boot on Linux, which no change of the clock moves; seconds
    elsewhere. Only to be compared with another value of this function.
    """
    if not _LINUX:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
        return None
    with suppress(OSError):
        # The name of the program may hold spaces and brackets: count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else float(fields[19])
    return None


def is_stopped(pid: int) -> bool:
    """Return whether a process sleeps until a signal wakes it, as after Ctrl-Z or SIGSTOP."""
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    return False


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however it dies."""
    if _LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that none gets away."""
    if _LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def marked(session: int, mark: str) -> list[psutil.Process]:
    """Return the processes that belong to an attempt, whoever their parent is now.

    Parameters
    ----------
    session
        Session that the attempt's guardian led.
    mark
        Value of ``LEADLINE_ATTEMPT`` that its engine passed on.
    """
    others = (process for process in psutil.process_iter() if process.pid != os.getpid())
    return [process for process in others if _belongs(process, session, mark)]


def marks() -> set[str]:
    """Return the marks of all attempts that have a process on this host, as far as we may see."""
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.environ().get(MARK, ""))
    return found - {""}


def kill(processes: list[psutil.Process]) -> None:
    """Kill processes at once."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def end_descendants(grace: float) -> None:
    """End every descendant of this process: asked first, killed after ``grace`` seconds.

    Returns only when none is left, so what they started meanwhile ends as well.
    """
    if grace:
        _send(signal.SIGTERM)
        _wait_until(time.monotonic() + grace)
    while _reap():
        _send(signal.SIGKILL)
        _wait_until(time.monotonic() + 0.02)


def _wait_until(deadline: float) -> None:
    while _reap() and time.monotonic() < deadline:
        time.sleep(0.005)


def _send(number: signal.Signals) -> None:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            process.send_signal(number)


def _reap() -> bool:
    """Collect ended children; True while any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _belongs(process: psutil.Process, session: int, mark: str) -> bool:
    with suppress(psutil.Error, OSError):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getsid(process.pid) == session or process.environ().get(MARK) == mark
    return False


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
