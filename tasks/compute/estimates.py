"""What a calculation will take, from those that have ended: time and memory by size of the cell.

The one estimator of leadline: what fits into a job or a run, and what a job asks for.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from threading import Lock

import numpy as np
from numpy.typing import NDArray

USUAL = 2.0
"""Power of the size with which time and memory are taken to grow where sizes do not show it."""
STEEPEST = 3.0
"""Largest power that sizes may show: that of diagonalising a matrix."""
APART = 1.5
"""Ratio of the largest size to the smallest from which sizes show a power."""
CAUTION = 0.9
"""Share of the finished calculations that took no more than the estimate."""
KEPT = 300
"""Finished calculations that are looked at, the latest."""
MARGIN = 1.2
"""Factor on an estimate where nothing but a plan depends on it."""


@dataclass(frozen=True)
class Measured:
    """What one finished calculation took.

    Parameters
    ----------
    size
        Valence electrons of its cell, or atoms where the engine counts no electrons.
    cores
        Cores that it had: calculations on another number of cores say nothing of it.
    seconds, memory
        In the engine; bytes at the peak on its host, 0 where that is not known.
    """

    size: float
    cores: int
    seconds: float
    memory: float = 0.0


@dataclass(frozen=True)
class PowerLaw:
    """A bound that grows with a power of the size.

    ``coefficient * size ** power``, of which :data:`CAUTION` of what it was fitted to took
    no more. Below the ``smallest`` size seen it falls no further: what every calculation
    takes, whatever its size, shows there. Beyond the ``largest`` it rises with the usual
    power at least.
    """

    coefficient: float
    power: float
    smallest: float
    largest: float

    def __call__(self, size: float) -> float:
        """Return the bound at a size."""
        within = min(max(size, self.smallest), self.largest)
        beyond = max(size / self.largest, 1.0)
        return float(self.coefficient * within**self.power * beyond ** max(self.power, USUAL))


def fitted(sizes: Sequence[float], values: Sequence[float]) -> PowerLaw:
    """Return the power law of positive values at positive sizes.

    The power is the median of the slopes between the medians of all pairs of sizes, each
    pair as heavy as it has calculations (Theil, Indag. Math. 12, 85 (1950); Sen, J. Am.
    Stat. Assoc. 63, 1379 (1968)); the spread is a quantile of what is left. So a few
    calculations that went astray move neither.
    """
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
    power = USUAL
    if x.max() - x.min() >= math.log(APART) - 1e-9:
        power = min(max(_slope(x, y), 0.0), STEEPEST)
    left = np.sort(y - power * x)
    cautious = left[min(math.floor(CAUTION * len(left)), len(left) - 1)]
    return PowerLaw(math.exp(cautious), power, math.exp(x.min()), math.exp(x.max()))


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the weighted median of the slopes between the medians at each ``x``."""
    at, counts = np.unique(x, return_counts=True)
    middle = np.array([np.median(y[x == each]) for each in at])
    one, other = np.triu_indices(len(at), 1)
    slopes = (middle[other] - middle[one]) / (at[other] - at[one])
    weights = (counts[one] * counts[other]).astype(float)
    order = np.argsort(slopes)
    reached = np.cumsum(weights[order]) >= weights.sum() / 2
    return float(slopes[order][np.argmax(reached)])


class Estimates:
    """What calculations with one engine and one recipe take; any thread may ask and add."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: defaultdict[int, deque[Measured]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._laws: dict[tuple[int, str], PowerLaw | None] = {}

    def note(self, measured: Measured) -> None:
        """Take in a finished calculation; one that took no time was none."""
        if measured.size > 0 and measured.seconds > 0:
            with self._lock:
                self._kept[measured.cores].append(measured)
                self._laws.clear()

    def note_all(self, finished: Iterable[Measured]) -> None:
        """Take in finished calculations."""
        for each in finished:
            self.note(each)

    def count(self, cores: int) -> int:
        """Return how many calculations on that many cores estimates rest on."""
        with self._lock:
            return len(self._kept[cores])

    def seconds(self, size: float, cores: int) -> float:
        """Return the seconds that a calculation may take; 0 while nothing is known."""
        law = self._law("seconds", cores)
        return law(size) if law else 0.0

    def memory(self, size: float, cores: int) -> float:
        """Return the bytes that a calculation may take; 0 while nothing is known."""
        law = self._law("memory", cores)
        return law(size) if law else 0.0

    def usual_size(self, cores: int) -> float:
        """Return the size in the middle of those that have finished; 0 while there are none."""
        with self._lock:
            return median([each.size for each in self._kept[cores]] or [0.0])

    def _law(self, what: str, cores: int) -> PowerLaw | None:
        with self._lock:
            if (cores, what) not in self._laws:
                known = [each for each in self._kept[cores] if getattr(each, what) > 0]
                sizes = [each.size for each in known]
                values = [float(getattr(each, what)) for each in known]
                self._laws[cores, what] = fitted(sizes, values) if known else None
            return self._laws[cores, what]
