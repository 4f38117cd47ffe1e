"""What the mathematics sees of a pool of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pool:
    """A pool of n candidates with k elements and d prepared features.

    Parameters
    ----------
    ids
        Structure ids, n of them, all different.
    formulas
        Reduced formulas, n of them.
    elements
        Element symbols, k of them, in alphabetical order.
    fractions
        Atomic fractions, float64[n, k]; rows sum to one.
    sites
        Atoms in each cell, int64[n].
    features
        Prepared features, float32[n, d]; may be a memory map.
    """

    ids: tuple[str, ...]
    formulas: tuple[str, ...]
    elements: tuple[str, ...]
    fractions: NDArray[np.float64]
    sites: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)
