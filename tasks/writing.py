"""Files that are there whole or not at all, and what a disk refuses in plain words.

What is written has a temporary name that ends in ``.part``. A killed process may
leave such a file: it harms nobody, and goes with the next writing a day later.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile

from leadline.tasks.errors import WriteError

PART = ".part"
LEFT_OVER = 86_400.0
"""Age in seconds from which a temporary file is one that a killed process left."""
ROOM = 1_048_576
"""Bytes that the smallest calculation is to find free."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary file beside ``path``; sync what is written to it, and rename it.

    Raises
    ------
    WriteError
        If the disk or the folder does not take it; an earlier file stays as it is.
    """
    with explained_writing(path):
        temporary = temporary_beside(path)
        try:
            yield temporary
            put_in_place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def explained_writing(path: Path) -> Iterator[None]:
    """Turn what the disk says while ``path`` is written into an error for people."""
    try:
        yield
    except OSError as error:
        full = error.errno in _NO_ROOM
        advice = "free some space" if full else "check the folder, its owner and its mode"
        raise WriteError(f"{path} cannot be written: {error}; {advice}, and run again") from error


def temporary_beside(path: Path) -> Path:
    """Make an empty file of a name that nobody else has, in the folder of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_left_over(path.parent)
    with NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=PART, delete=False
    ) as file:
        return Path(file.name)


def put_in_place(temporary: Path, path: Path) -> None:
    """Sync a finished file to the disk, then give it its name in one step."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def remove_left_over(folder: Path, pattern: str = f"*{PART}") -> None:
    """Remove the temporary files and folders of processes that were killed a day ago."""
    for path in folder.glob(pattern):
        with suppress(OSError):  # another process may remove it first, or has just renamed it
            if time.time() - path.stat().st_mtime > LEFT_OVER:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_room(folder: Path) -> None:
    """Make sure that a folder takes a megabyte more.

    Raises
    ------
    WriteError
        If its disk is full, or it may not be written to.
    """
    with explained_writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM)
