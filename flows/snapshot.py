"""A run at one moment, as its display shows it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prefect.settings import PREFECT_UI_URL

from leadline.flows.progress import Progress, best_words, name_of
from leadline.flows.reviewing import waiting
from leadline.tasks.store.records import CalculationState as State

if TYPE_CHECKING:
    from leadline.flows.loop import Loop


def snapshot(loop: Loop) -> Progress:
    """Return how far the campaign has come."""
    book, bench, finds = loop.book, loop.bench, loop.assessment.finds
    return Progress(
        campaign=loop.name,
        round=max(loop.rounds, default=0),
        pool=len(bench.pool),
        spent=book.ended,
        budget=bench.spec.stop.calculations,
        running=len(loop.dispatching.running),
        done=book.count(State.DONE),
        failed=book.count(State.FAILED),
        quarantined=book.count(State.QUARANTINED),
        cut=book.count(State.CUT),
        review=len(waiting(loop)),
        best=best_words(finds),
        found=tuple(map(name_of, finds)),
        finds_left=loop.outlook.missed.expected if loop.outlook else None,
        elapsed=time.monotonic() - loop.limits.begun,
        time_limit=loop.limits.hours and loop.limits.hours * 3600,
        prefect=PREFECT_UI_URL.value() or "",
        dask=bench.cluster.dashboard or "",
    )
