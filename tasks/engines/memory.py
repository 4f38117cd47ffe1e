"""How much memory a calculation takes: its own process and all that it starts."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import psutil

from leadline.tasks.beside import beside

FIRST_LOOK, SLOWER, LONGEST = 0.2, 1.5, 10.0
"""Seconds between two looks: short at first, for short calculations, then ever longer."""
STATUS = Path("/proc/self/status")
KIBIBYTE = 1 if sys.platform == "darwin" else 1024
"""Where Linux tells of this process, and the unit of ``ru_maxrss``."""


class MemoryWatch:
    """Looks at the resident memory of this process and its descendants now and then.

    A page that processes share counts in each of them. Between two looks the peak
    of any single process is still seen, by the kernel's own count. While it goes on the peak
    stands in ``file``, for those who find nothing else.
    """

    def __init__(self, file: Path) -> None:
        self.peak = 0
        """Bytes, known when the watch ends."""
        self._file = file

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watch while the block runs."""
        try:
            with beside("memory-watch", self._look):
                yield
        finally:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
            children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIBIBYTE
            self.peak = max(self.peak, own_peak(), children)

    def _look(self, over: Event) -> None:
        pause, me = FIRST_LOOK, psutil.Process()
        while not over.wait(pause):
            pause = min(SLOWER * pause, LONGEST)
            now = _resident(me)
            if now > self.peak:
                self.peak = now
                with suppress(OSError):
                    self._file.write_text(str(now), encoding="utf-8")


def own_peak() -> int:
    """Return the largest resident memory of this process so far, bytes.

    On Linux not by ``ru_maxrss``, which begins with that of the process that started it.
    """
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text("ascii"), re.MULTILINE):
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIBIBYTE


def _resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its descendants; what ends meanwhile has none."""
    total = 0
    with suppress(psutil.Error, OSError):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error, OSError):
                total += each.memory_info().rss
    return total
