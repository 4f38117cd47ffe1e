"""How many commits an embedded store has had, counted beside its file.

The file counts them too. A write-ahead log that was cut or removed, or an older
copy put back, leaves a file that is whole and lacks commits: the two counts tell.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

COUNT = "store.commits"
_DIGITS = 20


class CommitCount:
    """The count in ``store.commits`` of a folder: never ahead of what was committed.

    It is written after its commit and not synced, so it may lag behind; where it
    cannot be written or read, nothing is missed and nothing fails.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / COUNT
        self._file: int | None = None

    def read(self) -> int:
        """Return the commits that were counted; 0 where there is no count."""
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def write(self, number: int) -> None:
        """Count a commit, in place and in one write: a killed process leaves no half of it."""
        with suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.pwrite(self._file, b"%0*d\n" % (_DIGITS, number), 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
