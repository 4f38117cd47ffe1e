"""How likely a calculation is to fail, from those that did and those near them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Floats = NDArray[np.float64]

WIDTHS = (0.5, 1.0, 2.0, 4.0, np.inf)
"""Reach of an outcome that is tried, in typical distances to the nearest other; all alike."""
PRIOR = 1.0
"""Calculations that the overall share of failures counts for, beside those near."""


@dataclass(frozen=True)
class FailureModel:
    """Shares of failures among known outcomes, the nearer the heavier, drawn to the overall one.

    How near is near, the outcomes themselves decide: of several reaches, infinity among
    them, the one whose left-out predictions have the least logarithmic loss. So failures
    without a pattern make nothing look worse than the rest.

    Parameters
    ----------
    X
        Prepared features of what was tried, float64[m, d].
    failed
        Which of them failed, bool[m].
    width
        Reach of an outcome in the units of the features.
    """

    X: Floats
    failed: NDArray[np.bool_]
    width: float

    @classmethod
    def fit(cls, X: NDArray[np.float32], failed: NDArray[np.bool_]) -> FailureModel:
        """Return the model of these outcomes, of which at least one is a failure."""
        points = np.asarray(X, dtype=np.float64)
        distances = cdist(points, points)
        np.fill_diagonal(distances, np.inf)
        typical = float(np.median(distances.min(axis=1))) if len(points) > 1 else np.inf
        widths = [each * typical for each in WIDTHS if np.isfinite(typical) and typical > 0]
        losses = [_left_out_loss(distances, failed, each) for each in widths]
        best = widths[int(np.argmin(losses))] if widths else np.inf
        return cls(points, failed, best)

    def probability(self, X: NDArray[np.float32]) -> Floats:
        """Return the probability to fail at X[n, d], float64[n]."""
        weights = _weights(cdist(np.asarray(X, dtype=np.float64), self.X), self.width)
        return _shares(weights, self.failed, self.failed.sum(), len(self.failed))


def _weights(distances: Floats, width: float) -> Floats:
    if not np.isfinite(width):
        return np.zeros_like(distances)
    return np.asarray(np.exp(-0.5 * (distances / width) ** 2))


def _shares(weights: Floats, failed: NDArray[np.bool_], failures: Floats, count: float) -> Floats:
    """Return weighted shares of failures, drawn to the overall one by Jeffreys' prior."""
    overall = (failures + 0.5) / (count + 1.0)
    return np.asarray((PRIOR * overall + weights @ failed) / (PRIOR + weights.sum(axis=1)))


def _left_out_loss(distances: Floats, failed: NDArray[np.bool_], width: float) -> float:
    weights = _weights(distances, width)
    np.fill_diagonal(weights, 0.0)
    others = failed.sum() - failed.astype(np.float64)
    said = _shares(weights, failed, others, len(failed) - 1.0)
    return float(-np.where(failed, np.log(said), np.log1p(-said)).mean())
