"""What the runs of a backtest come to: counts, comparison with chance, uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.chance import expected_random_draws

RESAMPLES = 2000


def summary(
    runs: Sequence[Mapping[str, Any]], *, candidates: int, targets: int
) -> dict[str, dict[str, Any]]:
    """Return the numbers of each policy.

    ``n50``, ``n90``, ``all``
        Picks until half, nine tenths and all of the targets were found: the median
        over the seeds, a seed that did not get there counted as infinite; null
        where the median is infinite.
    ``recall``
        Share of the targets found within the budget, mean over the seeds.
    ``acceleration``
        Random draws expected for half of the targets, over n50.
    ``interval``
        Bootstrap 95 % interval of n50 over the seeds; null where infinite.
    """
    return {
        policy: _of_policy(
            [run["found_at"] for run in runs if run["policy"] == policy], candidates, targets
        )
        for policy in dict.fromkeys(run["policy"] for run in runs)
    }


def picks_until(
    found_at: Sequence[Sequence[int]], targets: int, share: float
) -> NDArray[np.float64]:
    """Return each seed's picks until a share of the targets was found; infinite if never."""
    needed = math.ceil(share * targets - 1e-9)
    return np.array(
        [places[needed - 1] if len(places) >= needed else np.inf for places in found_at]
    )


def bootstrap_medians(values: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Return medians of resampled rows, float64[RESAMPLES, ...]; rows are the seeds."""
    rows = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    return np.asarray(median(values[rows], axis=1))


def median(values: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    """Return the median; infinite if a middle one is, as of two middle ones the upper."""
    ordered = np.sort(values, axis=axis)
    n = values.shape[axis]
    low, high = ordered.take((n - 1) // 2, axis), ordered.take(n // 2, axis)
    return np.asarray((low + high) / 2)


def _of_policy(found_at: list[list[int]], candidates: int, targets: int) -> dict[str, Any]:
    half = picks_until(found_at, targets, 0.5)
    n50 = float(median(half))
    chance = expected_random_draws(candidates, targets, math.ceil(targets / 2))
    return {
        "n50": _finite(n50),
        "n90": _finite(median(picks_until(found_at, targets, 0.9))),
        "all": _finite(median(picks_until(found_at, targets, 1.0))),
        "recall": float(np.mean([len(places) / targets for places in found_at]))
        if targets
        else None,
        "acceleration": _finite(chance / n50) if targets and np.isfinite(n50) else None,
        "interval": [_finite(end) for end in _interval(half)],
    }


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    medians = np.sort(bootstrap_medians(values))
    return float(medians[int(0.025 * RESAMPLES)]), float(medians[int(0.975 * RESAMPLES) - 1])


def _finite(number: Any) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None
