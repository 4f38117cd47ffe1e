"""What a run tells, in Prefect's log; results and rounds stand there by the lab book."""

from __future__ import annotations

import logging

from prefect.logging import get_run_logger

from leadline.flows.progress import Progress


class LogDisplay:
    """Logs what a display would note."""

    def __init__(self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._logger = logger

    def show(self, snapshot: Progress) -> None:
        """Show nothing: the progress artifact does."""

    def opened(self, line: str) -> None:
        """Log nothing: the lab book opens the round with its picks."""

    def note(self, line: str) -> None:
        """Log one thing that happened."""
        self._logger.info("%s", line)


def log_display() -> LogDisplay:
    """Return a display that logs to the flow run it is opened in."""
    return LogDisplay(get_run_logger())
