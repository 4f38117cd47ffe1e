"""How much of the workers' time was spent computing, and what kept them from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[float, float, float]
"""When an attempt was queued, its engine began and ended; seconds of one clock."""


@dataclass(frozen=True)
class Utilisation:
    """What became of worker time between the first and the last start of each run.

    Parameters
    ----------
    busy
        Share of it in which an engine ran.
    starting
        Share in which none ran although a calculation waited: on its way to the worker, or
        for a batch job.
    unpicked
        Share in which none ran because nothing was picked.
    drain
        Seconds after the last start until all had ended, summed over runs.
    """

    busy: float
    starting: float
    unpicked: float
    drain: float


def utilisation(engines: Iterable[Span], runs: Sequence[tuple[float, int]]) -> Utilisation | None:
    """Return how busy the workers were.

    Parameters
    ----------
    engines
        When attempts were queued, and when their engines ran.
    runs
        Start of each run of the campaign and the number of its workers, in order.

    Returns
    -------
    Utilisation | None
        None where no run started two engines at different times.
    """
    ran = sorted(engines, key=lambda span: span[1])
    starts = [start for start, _ in runs]
    busy = starting = unpicked = drain = 0.0
    for (begin, end), (_, workers) in zip(pairwise([*starts, float("inf")]), runs, strict=True):
        mine = [each for each in ran if begin <= each[1] < end]
        if not mine:
            continue
        drain += max(stop for *_, stop in mine) - mine[-1][1]
        for seconds, running, waiting in _moments(mine):
            free = max(workers - running, 0)
            busy += seconds * min(running, workers)
            starting += seconds * min(free, waiting)
            unpicked += seconds * max(free - waiting, 0)
    offered = busy + starting + unpicked
    if not offered:
        return None
    return Utilisation(busy / offered, starting / offered, unpicked / offered, drain)


def _moments(spans: Sequence[Span]) -> Iterable[tuple[float, int, int]]:
    """Yield times in which nothing changes, in seconds, and how many run and wait in them."""
    first, last = spans[0][1], spans[-1][1]
    changes = sorted(
        (min(max(at, first), last), running, waiting)
        for queued, start, stop in spans
        for at, running, waiting in ((queued, 0, 1), (start, 1, -1), (stop, -1, 0))
    )
    running = waiting = 0
    for (at, more, queued), (until, *_) in pairwise(changes):
        running, waiting = running + more, waiting + queued
        yield until - at, running, waiting
