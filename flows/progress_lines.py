"""Progress in plain lines, for a file, a batch job or CI: no colour, no control codes."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Self, TextIO

from leadline.tasks.report.formatting import counted

if TYPE_CHECKING:
    from leadline.flows.progress import Progress

EVERY_S = 10.0
"""Between lines while a round lasts."""
ROUNDS_EVERY_S = 1.0
"""Between lines where rounds themselves are shorter than that."""
LATEST = 12
"""Formulas of finds named in a line."""


class Lines:
    """One line when a round starts or ends, and one every ten seconds between.

    Parameters
    ----------
    stream
        Where to write. If nobody reads any more, the campaign goes on in silence.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._seen: Progress | None = None
        self._written: Progress | None = None
        self._last = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._seen and self._seen != self._written:
            self._write(self._seen)

    def show(self, snapshot: Progress) -> None:
        """Write a line if there is reason to."""
        wait = ROUNDS_EVERY_S if _turns(self._seen, snapshot) else EVERY_S
        self._seen = snapshot
        if time.monotonic() - self._last >= wait:
            self._write(snapshot)

    def opened(self, line: str) -> None:
        """Write that a round begins: until its first answer comes there may be nothing else."""
        self._last = time.monotonic()
        self.note(line)

    def note(self, line: str) -> None:
        """Write a line at once."""
        with suppress(OSError, ValueError):
            text = f"{datetime.now():%H:%M:%S} {line}\n"
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()

    def _write(self, snapshot: Progress) -> None:
        self._written, self._last = snapshot, time.monotonic()
        self.note(sentence(snapshot))


def sentence(snapshot: Progress) -> str:
    """Return all that matters about a campaign in one line."""
    spent = f"{snapshot.spent:,} of " if snapshot.limit else ""
    spent += counted(snapshot.limit or snapshot.spent, "calculation")
    counts = ", ".join(f"{number:,} {state}" for state, number in snapshot.counts)
    parts = [
        f"{snapshot.campaign}, round {snapshot.round}",
        snapshot.message,
        f"{spent} ({counts}) in a pool of {snapshot.pool:,}",
        snapshot.review_words,
        _found(snapshot.found),
        snapshot.left_words,
        f"best {snapshot.best}" if snapshot.best else "",
        snapshot.time_words,
    ]
    return "; ".join(filter(None, parts))


def _found(names: tuple[str, ...]) -> str:
    if not names:
        return "found none yet"
    left_out = "... " if len(names) > LATEST else ""
    return f"found {len(names)}: {left_out}{' '.join(names[-LATEST:])}"


def _turns(before: Progress | None, now: Progress) -> bool:
    """Whether a round starts, ends or comes to wait for a person between two moments."""
    if before is None or before.round != now.round:
        return True
    return any(
        (there > 0) != (then > 0)
        for then, there in ((before.running, now.running), (before.review, now.review))
    )
