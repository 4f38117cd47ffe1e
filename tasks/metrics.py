"""How well a campaign predicts and finds, from its own records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.calibration import calibration_metrics
from leadline.tasks.assess import Find
from leadline.tasks.notebook import Notebook

Floats = NDArray[np.float64]


def prequential(book: Notebook, values: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics of the predictions that were made before their answers were known."""
    answers, means, sds = _answered(book, values)
    if not len(answers):
        return {"count": 0}
    return {"count": len(answers), **calibration_metrics(answers, means, sds)}


def surprises(book: Notebook, values: Mapping[str, float]) -> Floats:
    """Return (answer - mean) / sd of those predictions, float64[n]."""
    answers, means, sds = _answered(book, values)
    return (answers - means) / sds


def _answered(book: Notebook, values: Mapping[str, float]) -> tuple[Floats, Floats, Floats]:
    """Return answers, means and deviations of predictions, each float64[n].

    A label that left its prototype is no evidence about its input and stays out.
    """
    rows = [
        (values[each.structure], each.why["mean"], each.why["sd"])
        for each in book.picks
        if each.why.get("mean") is not None
        and each.structure in values
        and (found := book.answer_of(each)) is not None
        and found.evidence
    ]
    answers, means, sds = np.array(rows, dtype=float).reshape(-1, 3).T
    return answers, means, np.maximum(sds, 1e-12)


def barren_rounds(book: Notebook, finds: Iterable[Find], batch: int) -> int:
    """Return how many rounds' worth of answers came since the last find, batch by batch."""
    nth = book.nth()
    last = max((nth.get(find.answer.structure, 0) for find in finds), default=0)
    return (book.ended - last) // batch
