"""What a random search would have needed for the same finds.

All of it is conditional on the finds: K of the N candidates are taken to be what
the campaign found, each a single candidate of the pool, and the draws are without
replacement (hypergeometric).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import hypergeom


def expected_calculations(pool: int, finds: int) -> float:
    """Return the mean number of random draws until the last of the finds is drawn.

    K (N + 1) / (K + 1): the K-th order statistic of K of the N places.
    Zero where nothing was found.
    """
    return finds * (pool + 1) / (finds + 1)


def expected_finds(pool: int, finds: int, calculations: ArrayLike) -> NDArray[np.float64]:
    """Return the mean number of the finds among the first n random draws, K n / N."""
    drawn = np.minimum(np.asarray(calculations, dtype=float), pool)
    expected: NDArray[np.float64] = finds * drawn / max(pool, 1)
    return expected


def likely_finds(
    pool: int, finds: int, calculations: ArrayLike, share: float = 0.9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and most finds that ``share`` of random searches have after n draws."""
    drawn = np.minimum(np.asarray(calculations, dtype=int), pool)
    tail = (1 - share) / 2
    low, high = (hypergeom.ppf(level, pool, finds, drawn) for level in (tail, 1 - tail))
    return np.maximum(low, 0.0), np.maximum(high, 0.0)
