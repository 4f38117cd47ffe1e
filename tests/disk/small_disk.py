"""A disk of its own for one test, so small that it can be filled."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

KB = 1024


class SmallDisk:
    """A mounted tmpfs, and a file on it that takes what room there is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @property
    def room(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Take all room but ``leave`` bytes, though others may be taking some of it meanwhile."""
        with self._filler.open("ab") as file:
            while (wanted := self.room - leave) > 0:
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), wanted)

    def clear(self) -> None:
        """Give the room back."""
        self._filler.unlink()


@contextmanager
def mounted(path: Path, size: int) -> Iterator[SmallDisk]:
    """Mount a disk of ``size`` bytes for as long as the context lasts."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root, where mounting is allowed, can make a disk that is full")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
