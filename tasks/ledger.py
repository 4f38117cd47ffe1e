"""Where the time of a campaign went: seconds by what used them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from leadline.tasks.store.records import Calculation


def node_hours(record: Calculation, nodes: float, since: datetime) -> float:
    """Return what attempts at a calculation spent: engines' wall time, times ``nodes``.

    Counted are attempts that ended after ``since``, failed ones too. One that was lost
    with its worker has left no time, and counts nothing.
    """
    ended = (each for each in record.attempts if each.ended is not None and each.ended >= since)
    return nodes * sum(float(each.times.get("wall", 0.0)) for each in ended) / 3600


@dataclass
class Ledger:
    """Seconds of the driver in one round: ``learning``, ``store`` and so on.

    What engines took stands in the records of their attempts.
    """

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    begun: float = field(default_factory=time.monotonic)

    @property
    def wall(self) -> float:
        """Seconds since this ledger was opened."""
        return time.monotonic() - self.begun

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Charge the time spent inside to ``what``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - start

    def plain(self) -> Mapping[str, float]:
        """Return the seconds as plain numbers, and the wall time since it was opened."""
        named = {name: float(value) for name, value in sorted(self.seconds.items())}
        return {**named, "wall": self.wall}
