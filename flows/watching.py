"""Who watches a run: the terminal it was started from, or Prefect's log alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from leadline.flows.interrupt import Interrupts
from leadline.flows.log_display import log_display
from leadline.flows.progress import Progress
from leadline.flows.summary import CampaignSummary


class Display(Protocol):
    """Where a run tells what happens."""

    def show(self, snapshot: Progress) -> None:
        """Show how far the campaign has come."""

    def opened(self, line: str) -> None:
        """Tell that a round begins."""

    def note(self, line: str) -> None:
        """Tell one thing that happened."""


SUMMARY: ContextVar[CampaignSummary | None] = ContextVar("leadline summary", default=None)
"""What the last run in this context came to."""
ERROR: ContextVar[Exception | None] = ContextVar("leadline error", default=None)
"""What ended the last run in this context before it came to anything."""
DISPLAY: ContextVar[Display | None] = ContextVar("leadline display", default=None)
"""The display of the command line; None where a deployment or Python runs the flow."""


class Watcher:
    """What a run tells, and what it is told: to finish what runs, or to stop at once."""

    def __init__(self, *displays: Display) -> None:
        self._displays = displays
        self._at_once = False
        self._rests = ""
        self.cancelled = ""
        """Who cancelled this run, after the word cancelled; '' where nobody did."""
        self.interrupts = Interrupts(self.note, self.stop)

    def stop(self) -> None:
        """Have everything stop at once."""
        self._at_once = True

    def cancel(self, words: str) -> None:
        """Have everything stop at once, because a person cancelled this run."""
        self.cancelled = self.cancelled or words
        self.stop()

    def rest(self, words: str) -> None:
        """Have what runs finish, and nothing more start, because a person asked for it."""
        self._rests = words

    @property
    def stop_requested(self) -> bool:
        """True if this run shall start nothing more."""
        return self.interrupts.requested or self._at_once or bool(self._rests)

    @property
    def stop_now(self) -> bool:
        """True if what runs shall end, too."""
        return self._at_once

    @property
    def why_stopped(self) -> str:
        """Who stopped this run, in words."""
        return self.cancelled or self._rests or "stopped by hand"

    def opened(self, words: str) -> None:
        """Tell that a round begins."""
        for display in self._displays:
            display.opened(words)

    def note(self, words: str) -> None:
        """Tell one thing that happened."""
        for display in self._displays:
            display.note(words)

    def ended(self, summary: CampaignSummary) -> None:
        """Keep what the run came to, whatever Prefect makes of its end."""
        SUMMARY.set(summary)

    def show(self, snapshot: Progress) -> None:
        """Show how far the campaign has come."""
        for display in self._displays:
            display.show(snapshot)


@contextmanager
def watcher() -> Iterator[Watcher]:
    """Watch with the display that is set, if one is, and with Prefect's log."""
    display = DISPLAY.get()
    watch = Watcher(*([display] if display else []), log_display())
    SUMMARY.set(None)
    ERROR.set(None)
    with watch.interrupts:
        try:
            yield watch
        except Exception as error:
            ERROR.set(error)
            raise
