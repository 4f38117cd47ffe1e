"""Neighbours on a lattice, in shells of equal distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

REACH = 3.0
GAP = 0.02
WIDTH = 0.04


@dataclass(frozen=True)
class Shells:
    """Directed bonds of a crystal, and the shell that each belongs to.

    Lengths are in units of the cube root of the volume per atom.

    Parameters
    ----------
    first, second
        Sites at both ends, int64[bonds].
    shell
        Shell of the bond counted from zero, int64[bonds].
    vector
        From the first site to the second, float64[bonds, 3].
    distances
        Middle of the distances in every shell, float64[shells].
    widths
        Difference between its largest and smallest distance, float64[shells].
    neighbours
        Bonds of a site in every shell, on average, float64[shells].
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shell: NDArray[np.int64]
    vector: NDArray[np.float64]
    distances: NDArray[np.float64]
    widths: NDArray[np.float64]
    neighbours: NDArray[np.float64]

    @property
    def sharp(self) -> bool:
        """Whether every shell is narrower than 0.04 spacings."""
        return bool(np.all(self.widths < WIDTH))

    def equals(self, other: Shells) -> bool:
        """Whether distances and numbers of neighbours are those of one lattice."""
        return len(self.distances) == len(other.distances) and bool(
            np.allclose(self.distances, other.distances, atol=GAP)
            and np.allclose(self.neighbours, other.neighbours, atol=1e-6)
        )


def shells(structure: Structure, number: int) -> Shells:
    """Return the first `number` shells; fewer if the reach of 3 spacings holds fewer.

    A shell ends where the next distance is more than 0.02 spacings larger.
    """
    spacing = (structure.volume / len(structure)) ** (1 / 3)
    first, second, images, lengths = structure.get_neighbor_list(REACH * spacing)
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order] / spacing
    index = np.cumsum(np.diff(ordered, prepend=ordered[:1]) > GAP)
    kept = index < number
    bonds, shell, ordered = order[kept], index[kept], ordered[kept]
    starts = np.flatnonzero(np.diff(shell, prepend=-1))
    lowest = np.minimum.reduceat(ordered, starts)
    highest = np.maximum.reduceat(ordered, starts)
    ends = structure.frac_coords[second[bonds]] + images[bonds]
    vector = (ends - structure.frac_coords[first[bonds]]) @ structure.lattice.matrix
    return Shells(
        first=first[bonds],
        second=second[bonds],
        shell=shell,
        vector=vector / spacing,
        distances=(lowest + highest) / 2,
        widths=highest - lowest,
        neighbours=np.bincount(shell) / len(structure),
    )
