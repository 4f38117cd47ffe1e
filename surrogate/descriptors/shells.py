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
        Mean distance of every shell, float64[shells].
    widths
        Difference between its largest and smallest distance, float64[shells].
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shell: NDArray[np.int64]
    vector: NDArray[np.float64]
    distances: NDArray[np.float64]
    widths: NDArray[np.float64]

    @property
    def sharp(self) -> bool:
        """Whether the shells are told apart by more than they are wide."""
        return bool(np.all(self.widths < WIDTH))

    def signature(self, sites: int) -> tuple[tuple[float, float], ...]:
        """Distance and neighbours a site of every shell: equal on one lattice."""
        counts = np.bincount(self.shell, minlength=len(self.distances)) / sites
        return tuple(
            (round(float(distance), 2), round(float(count), 2))
            for distance, count in zip(self.distances, counts, strict=True)
        )


def shells(structure: Structure, number: int) -> Shells:
    """Return the first `number` shells; fewer if the reach of 3 spacings holds fewer."""
    spacing = (structure.volume / len(structure)) ** (1 / 3)
    first, second, images, lengths = structure.get_neighbor_list(REACH * spacing)
    lengths = lengths / spacing
    order = np.argsort(lengths, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.diff(lengths[order]) > GAP)])
    inside = order[ends < number]
    shell = ends[ends < number]
    starts = np.flatnonzero(np.diff(shell, prepend=-1))
    lowest, highest = (
        np.minimum.reduceat(lengths[inside], starts),
        np.maximum.reduceat(lengths[inside], starts),
    )
    frac = structure.frac_coords
    vector = (
        frac[second[inside]] + images[inside] - frac[first[inside]]
    ) @ structure.lattice.matrix
    return Shells(
        first[inside],
        second[inside],
        shell,
        vector / spacing,
        (lowest + highest) / 2,
        highest - lowest,
    )
