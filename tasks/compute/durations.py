"""How long a calculation will take, from those that have ended: what fits into a job is a guess."""

from __future__ import annotations

import math
from collections.abc import Iterable

SCALING = 2.0
"""Power of the number of atoms with which time is taken to grow: DFT lies between 1 and 3."""
CAUTION = 0.9
"""Share of the finished calculations that did not take longer than the guess."""
MARGIN = 1.2
"""Factor on top."""


class Durations:
    """Wall times of finished calculations of one campaign, by the size of their cells."""

    def __init__(self) -> None:
        self._rates: list[float] = []

    def note(self, sites: int, seconds: float) -> None:
        """Take in a finished calculation of so many atoms."""
        if sites > 0 and seconds > 0:
            self._rates.append(seconds / sites**SCALING)

    def note_all(self, finished: Iterable[tuple[int, float]]) -> None:
        """Take in finished calculations by their atoms and seconds."""
        for sites, seconds in finished:
            self.note(sites, seconds)

    def expected(self, sites: int) -> float:
        """Return the seconds that a calculation may need; 0 while nothing is known."""
        if not self._rates:
            return 0.0
        rates = sorted(self._rates)
        cautious = rates[min(math.floor(CAUTION * len(rates)), len(rates) - 1)]
        return float(MARGIN * cautious * sites**SCALING)
