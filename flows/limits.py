"""How far one run of a campaign may go."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from leadline.tasks.errors import InputError
from leadline.tasks.report.formatting import counted


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
    outlook
        Says how many seconds the next calculation may take; 0 while nothing is known.
    """

    calculations: int | None = None
    hours: float | None = None
    detaches: bool = False
    started: int = 0
    begun: float = field(default_factory=time.monotonic)
    outlook: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        """Refuse a time in which nothing can be done.

        Raises
        ------
        InputError
            If the hours are none.
        """
        if self.hours is not None and not 0 < self.hours < math.inf:
            raise InputError(
                f"--hours: found {self.hours:g}; allowed: more than 0, e.g. 0.5 for half an hour. "
                "Without it a run takes the time that it needs"
            )

    def room(self) -> int | None:
        """Return how many calculations this run may still start; None without a limit."""
        if self.hours is not None and self._left() < self._expected():
            return 0
        return None if self.calculations is None else max(self.calculations - self.started, 0)

    def reached(self) -> str:
        """Return why this run starts nothing more, in words, or an empty string."""
        if self.calculations is not None and self.started >= self.calculations:
            verb = "is" if self.calculations == 1 else "are"
            return f"this run's {counted(self.calculations, 'calculation')} {verb} done"
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
        return 0.0 if self.detaches else self.outlook()
