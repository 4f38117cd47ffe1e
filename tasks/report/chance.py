"""What a random search would have needed for the same finds.

All of it is conditional on the finds: K of the N candidates are taken to be what
the campaign found, each a single candidate of the pool, and the draws are without
replacement (hypergeometric).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from leadline.surrogate.chance import expected_random_draws


def expected_calculations(pool: int, finds: int) -> float:
    """Return the mean number of random draws until the last of the finds is drawn.

    K (N + 1) / (K + 1): the K-th order statistic of K of the N places.
    Zero where nothing was found.
    """
    return expected_random_draws(pool, finds, finds)


def expected_finds(pool: int, finds: int, calculations: ArrayLike) -> NDArray[np.float64]:
    """Return the mean number of the finds among the first n random draws, K n / N."""
    drawn = np.minimum(np.asarray(calculations, dtype=float), pool)
    expected: NDArray[np.float64] = finds * drawn / max(pool, 1)
    return expected


def likely_finds(
    pool: int, finds: int, calculations: ArrayLike, share: float = 0.9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and most finds that ``share`` of random searches have after n draws.

    Quantiles of C(K, k) C(N - K, n - k) / C(N, n) over k = 0..K, by logarithms: the
    general search for a quantile took forty seconds over thousands of draws.
    """
    drawn = np.minimum(np.asarray(calculations, dtype=np.int64), pool)[:, None]
    k = np.arange(finds + 1)
    possible = (k <= drawn) & (drawn - k <= pool - finds)
    rest = np.where(possible, drawn - k, 0)
    logarithm = _choose(finds, k) + _choose(pool - finds, rest) - _choose(pool, drawn)
    below = np.cumsum(np.where(possible, np.exp(logarithm), 0.0), axis=1)
    tail = (1 - share) / 2
    low, high = ((below < level - 1e-12).sum(axis=1) for level in (tail, 1 - tail))
    return low.astype(np.float64), np.minimum(high, finds).astype(np.float64)


def _choose(of: int, out: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the logarithm of the binomial coefficient."""
    logarithm: NDArray[np.float64] = gammaln(of + 1) - gammaln(out + 1) - gammaln(of - out + 1)
    return logarithm
