"""How far one run of a campaign may go."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median

MARGIN = 1.5
"""A calculation is taken to need this many times the median of the finished ones."""


@dataclass
class RunLimits:
    """Limits of one run; the campaign's own rules stand in its spec.

    Parameters
    ----------
    calculations
        Calculations that this run may start, or None.
    hours
        Wall time after which this run shall have ended, or None.
    detaches
        Whether what was started goes on after this run, as batch jobs do.
    """

    calculations: int | None = None
    hours: float | None = None
    detaches: bool = False
    started: int = 0
    begun: float = field(default_factory=time.monotonic)
    durations: list[float] = field(default_factory=list)

    def room(self) -> int | None:
        """Return how many calculations this run may still start; None without a limit."""
        if self.hours is not None and self._left() < self._expected():
            return 0
        return None if self.calculations is None else max(self.calculations - self.started, 0)

    def reached(self) -> str:
        """Return why this run starts nothing more, in words, or an empty string."""
        if self.calculations is not None and self.started >= self.calculations:
            return f"this run's {self.calculations} calculations are done"
        if self.hours is not None and self._left() < self._expected():
            return f"another calculation would not end within this run's {self.hours:g} hours"
        return ""

    @property
    def over(self) -> bool:
        """True once this run's hours are over."""
        return self.hours is not None and self._left() <= 0

    def _left(self) -> float:
        return (self.hours or 0.0) * 3600 - (time.monotonic() - self.begun)

    def _expected(self) -> float:
        if self.detaches or not self.durations:
            return 0.0
        return MARGIN * median(self.durations)
