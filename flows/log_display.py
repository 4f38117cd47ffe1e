"""Progress in Prefect's log, for runs that no terminal watches: a lab book's lines."""

from __future__ import annotations

import logging
import time

from prefect.logging import get_run_logger

from leadline.flows.progress import Progress

LINE_EVERY = 30.0
"""Seconds between two lines of progress within a round."""


class LogDisplay:
    """Says what a display would show, a line at a time."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger
        self._round, self._since = -1, 0.0

    def show(self, snapshot: Progress) -> None:
        """Log a new round, and now and then how it goes."""
        now = time.monotonic()
        if snapshot.round == self._round and now - self._since < LINE_EVERY:
            return
        self._round, self._since = snapshot.round, now
        counts = ", ".join(f"{number} {word}" for word, number in snapshot.counts)
        self._logger.info(
            "round %d: %s; %d found; %s", snapshot.round, counts, len(snapshot.found),
            snapshot.left_words,
        )  # fmt: skip

    def note(self, line: str) -> None:
        """Log one thing that happened."""
        self._logger.info("%s", line)


def log_display() -> LogDisplay:
    """Return a display that logs to the flow run it is opened in."""
    return LogDisplay(get_run_logger())
