"""How an engine's program ended: what its exit code means, and the lines that tell a person."""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from leadline.tasks.calculation import Failure, FailureKind

PHRASES = (
    ("No space left on device", FailureKind.REMOTE, "disk-full"),
    ("Disk quota exceeded", FailureKind.REMOTE, "disk-full"),
    ("error while loading shared libraries", FailureKind.CONFIGURATION, "binary-broken"),
    ("not enough slots available", FailureKind.CONFIGURATION, "launcher"),
    ("an attempt to run as root", FailureKind.CONFIGURATION, "launcher"),
    ("built with SLURM's PMI support", FailureKind.CONFIGURATION, "launcher"),
)
"""What the system and MPI say of any program: words, whose fault, reason."""
ENDED_FROM_OUTSIDE = frozenset(
    {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU}
)
FIRST, LAST = 4, 2
"""Lines of a program's errors that a message quotes, from their start and their end."""
ROOM = 8_000_000
"""Characters of one file that are looked at, half at each end: a run gone wild writes many more."""


def by_error(error: BaseException, engine: str) -> Failure | None:
    """Return the failure of a program that could not be started, or None if it could."""
    if not isinstance(error, FileNotFoundError | PermissionError) or not error.filename:
        return None
    words = f"cannot run {error.filename}: {error.strerror}; set engines.{engine}.command in the "
    return Failure(FailureKind.CONFIGURATION, "binary-missing", f"{words}machine profile")


def by_exit(program: str, code: int, output: str, errors: str) -> Failure:
    """Say why ``program`` ended with ``code`` where what it printed has no better reason."""
    said = gist(errors) or tail(output)
    if _telling(errors) and _telling(output):
        said += f"; its output ends: {tail(output)}"
    if code in (126, 127):
        return Failure(FailureKind.CONFIGURATION, "binary-missing", f"exit {code}: {said}")
    ended_by = signal_of(code)
    if ended_by is None:
        return Failure(FailureKind.REMOTE, "engine-exit", f"exit {code}: {said}")
    if ended_by is signal.SIGXFSZ:
        words = f"{program} was ended by SIGXFSZ: a file grew past the limit of this account"
        return Failure(FailureKind.REMOTE, "disk-full", words)
    if ended_by in ENDED_FROM_OUTSIDE:
        words = f"{program} was ended by {ended_by.name}"
        return Failure(FailureKind.REMOTE, "engine-killed", words)
    words = f"{program} crashed by {ended_by.name}: {said}"
    return Failure(FailureKind.PHYSICS, "engine-crashed", words)


def signal_of(code: int) -> signal.Signals | None:
    """Return the signal that an exit code stands for, of the program or of its shell."""
    number = -code if code < 0 else code - 128
    known = {each.value for each in signal.Signals}
    return signal.Signals(number) if number in known else None


def line_with(phrase: str, text: str) -> str:
    """Return the first line of ``text`` that holds ``phrase``, fit to be shown."""
    return next(plain(line) for line in text.splitlines() if phrase in line)


def gist(text: str) -> str:
    """Return the first and last lines of ``text`` that say something in one; '' if none does.

    A launcher says first why it starts nothing, an interpreter last what it failed by.
    """
    said = _telling(text)
    shown = [*said[:FIRST], "...", *said[-LAST:]] if len(said) > FIRST + LAST else said
    return " / ".join(shown)


def tail(text: str, lines: int = 3) -> str:
    """Return the last lines of ``text`` that say something in one, fit to be shown."""
    return " / ".join(_telling(text)[-lines:]) or "(no output)"


def _telling(text: str) -> list[str]:
    """Return the lines with a word or a number in them: no blank ones, and no rules of dashes."""
    return [plain(line) for line in text.splitlines() if any(map(str.isalnum, line))]


def plain(line: str) -> str:
    """Return a line that a terminal can show: what is no text is left out, and it ends."""
    words = "".join(c if c.isprintable() and c != "\ufffd" else " " for c in line)
    return " ".join(words.split())[:300]


def text_of(path: Path) -> str:
    """Return the text of a file, its two ends where it is long, or nothing if it is not there."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(ROOM // 2)
        left = path.stat().st_size - len(start)
        file.seek(max(left - ROOM // 2, 0), os.SEEK_CUR)
        return (start + file.read(ROOM // 2)).decode(errors="replace")


def last_numbers(patterns: Mapping[str, str], text: str) -> dict[str, float]:
    """Return the last number that each pattern captures in ``text``; stars are none."""
    found = {name: re.findall(pattern, text, re.M) for name, pattern in patterns.items()}
    numbers = {name: number_in(matches[-1]) for name, matches in found.items() if matches}
    return {name: number for name, number in numbers.items() if number is not None}


def number_in(text: str) -> float | None:
    """Return a finite number, or None: Fortran prints stars for what its field cannot hold."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
