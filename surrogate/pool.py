"""What the mathematics sees of a pool of candidates."""

from __future__ import annotations

from dataclasses import dataclass, replace

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

    def species(self, rows: NDArray[np.int64]) -> list[list[str]]:
        """Return the element of each atom in the cells of these rows, in alphabetical order."""
        counts = np.rint(self.fractions[rows] * self.sites[rows][:, None]).astype(int)
        return [np.repeat(self.elements, each).tolist() for each in counts]

    def only(self, rows: NDArray[np.int64]) -> Pool:
        """Return the pool of these rows, in their order."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            formulas=tuple(self.formulas[row] for row in rows),
            fractions=self.fractions[rows],
            sites=self.sites[rows],
            features=np.asarray(self.features[rows]),
        )
