"""How much of the workers' time was spent computing, from when engines ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Interval = tuple[float, float]
"""Start and end of an engine, seconds of one clock."""


@dataclass(frozen=True)
class Utilisation:
    """What became of worker time.

    Parameters
    ----------
    busy
        Share of it in which an engine ran, between the first and the last start of each run.
    drain
        Seconds after the last start until all had ended, summed over runs.
    """

    busy: float
    drain: float


def utilisation(
    engines: Iterable[Interval], runs: Sequence[tuple[float, int]]
) -> Utilisation | None:
    """Return how busy the workers were.

    Parameters
    ----------
    engines
        When engines ran.
    runs
        Start of each run of the campaign and the number of its workers, in order.

    Returns
    -------
    Utilisation | None
        None where no run started two engines at different times.
    """
    ran = sorted(engines)
    starts = [start for start, _ in runs]
    computed = offered = drain = 0.0
    for (begin, end), (_, workers) in zip(pairwise([*starts, float("inf")]), runs, strict=True):
        mine = [each for each in ran if begin <= each[0] < end]
        if not mine:
            continue
        first, last = mine[0][0], mine[-1][0]
        computed += sum(min(stop, last) - start for start, stop in mine)
        offered += workers * (last - first)
        drain += max(stop for _, stop in mine) - last
    return Utilisation(min(computed / offered, 1.0), drain) if offered > 0 else None
