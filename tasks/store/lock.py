"""One writer for the embedded store, and words for whoever comes second."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from leadline.tasks.compute import processes
from leadline.tasks.errors import StoreError, StoreLockedError

LOCK = "writer.lock"
HOLDER = "writer.json"


class WriterLock:
    """The lock on a folder, held until :meth:`release` or the end of the process.

    Raises
    ------
    StoreLockedError
        If another process, or another store in this one, holds it.
    StoreError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER
        self._lock = FileLock(str(folder / LOCK), thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._holder.write_text(json.dumps(_this_holder()))
        except Timeout:
            raise StoreLockedError(_in_words(folder)) from None
        except OSError as error:
            self._lock.release()
            raise StoreError(
                f"the store in {folder} cannot be opened for writing: {error}; "
                "name a folder on a local disk that you may write to"
            ) from error

    def release(self) -> None:
        """Let the next writer in."""
        self._holder.unlink(missing_ok=True)
        self._lock.release()


def refuse_where_held(folder: Path) -> None:
    """Raise StoreLockedError if another process holds the lock on a folder; take nothing."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return  # there is no store yet, or whoever opens it will say what is wrong
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreLockedError(_in_words(folder)) from None
    finally:
        os.close(lock)


def _in_words(folder: Path) -> str:
    return (
        f"the store in {folder} is held for writing by {_who(folder)}; wait for it or end it. "
        "`leadline status` reads beside it, and MongoDB (LEADLINE_MONGODB_URI) lets many "
        "campaigns write at once"
    )


def _who(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text())
        words = "process {pid} on {host} since {since} ({command})".format(**holder)
        asleep = holder["host"] == processes.host() and processes.is_stopped(int(holder["pid"]))
    except (OSError, ValueError, KeyError):
        return "another process"
    return words + (f", which is asleep: `kill -CONT {holder['pid']}` wakes it" if asleep else "")


def _this_holder() -> dict[str, str | int]:
    return {
        "host": processes.host(),
        "pid": os.getpid(),
        "command": " ".join(sys.argv),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
