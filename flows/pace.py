"""How far picks run ahead of the workers in steady mode.

A worker that becomes free while the driver learns starts at once with what was picked
before. Each pick ahead is made knowing less, so there are no more than that takes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import monotonic

RECENT = 8
"""Rounds and, for each worker, calculations that the pace is taken from."""
ROUNDS = 2
"""Rounds that may pass from the end of a calculation until what it gave room for is picked:
the rest of one that was under way, and the next."""


class Pace:
    """How long a round takes to make, against how fast calculations end."""

    def __init__(self) -> None:
        self._rounds: deque[float] = deque(maxlen=RECENT)
        self._ended: list[float] = []
        self._begun = monotonic()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Leave the time inside, in which the driver waits for answers, out of its rounds."""
        self._rounds.append(monotonic() - self._begun)
        try:
            yield
        finally:
            self._begun = monotonic()

    def ended(self, seconds: float) -> None:
        """Note how long a calculation took."""
        self._ended.append(seconds)

    def ahead(self, workers: int) -> int:
        """Return how many picks to keep beyond those that free workers start at once.

        There are never more than ``workers``.
        """
        if not self._ended or not self._rounds:
            return 0
        each = max(median(self._ended[-RECENT * workers :]), 1e-3)
        return min(math.ceil(ROUNDS * max(self._rounds) * workers / each), workers)
