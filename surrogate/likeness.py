"""Candidates whose features are the same, so that a model takes them for one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEAR = 1e-4
"""Largest difference of a prepared feature, whose spread is about one, that is rounding."""
NEIGHBOURS = 4
"""Rows to compare each with, in the order of a projection in which equals stand together."""
BLOCK = 65_536


def alike(features: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return for each row that is another's equal the first other, in ascending order.

    Parameters
    ----------
    features
        Prepared features, float32[n, p]; may be a memory map.
    """
    n, p = features.shape
    directions = np.random.default_rng(0).normal(size=(p, 2)) / np.sqrt(p)
    starts = range(0, n, BLOCK)
    at = np.concatenate([features[each : each + BLOCK] @ directions for each in starts])
    order = np.argsort(at[:, 0], kind="stable")
    at = at[order]
    found: dict[int, int] = {}
    for step in range(1, NEIGHBOURS + 1):
        # By both projections: in a large pool all are close in the one that they are ordered by.
        close = np.flatnonzero((np.abs(at[step:] - at[:-step]) <= NEAR).all(axis=1))
        for place in close.tolist():
            one, other = sorted((int(order[place]), int(order[place + step])))
            if np.abs(features[one] - features[other]).max() <= NEAR:
                found[one] = min(found.get(one, other), other)
                found[other] = min(found.get(other, one), one)
    return sorted(found.items())
