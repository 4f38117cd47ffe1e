"""How much memory a calculation takes: its own process and all that it starts."""

from __future__ import annotations

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
KIBIBYTE = 1 if sys.platform == "darwin" else 1024
"""Unit of ``ru_maxrss``."""


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
            for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
                self.peak = max(self.peak, resource.getrusage(whose).ru_maxrss * KIBIBYTE)

    def _look(self, over: Event) -> None:
        pause, me = FIRST_LOOK, psutil.Process()
        while not over.wait(pause):
            pause = min(SLOWER * pause, LONGEST)
            now = _resident(me)
            if now > self.peak:
                self.peak = now
                with suppress(OSError):
                    self._file.write_text(str(now), encoding="utf-8")


def _resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its descendants; what ends meanwhile has none."""
    total = 0
    with suppress(psutil.Error, OSError):
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error, OSError):
                total += each.memory_info().rss
    return total
