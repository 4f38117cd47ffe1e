"""Parent lattices: sites, and the species that each site may hold."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import spglib
from numpy.typing import NDArray
from pymatgen.core import Structure

from leadline.tasks.errors import CandidateError

_CELLS: dict[str, tuple[list[list[float]], list[list[float]]]] = {
    "fcc": ([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], [[0, 0, 0]]),
    "bcc": ([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]], [[0, 0, 0]]),
    "sc": ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 0]]),
    "hcp": (
        [[1, 0, 0], [-0.5, sqrt(3) / 2, 0], [0, 0, sqrt(8 / 3)]],
        [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]],
    ),
    "diamond": (
        [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
        [[0, 0, 0], [0.25, 0.25, 0.25]],
    ),
}
LATTICES = tuple(_CELLS)
SYMPREC = 1e-4
"""Å (in units of the lattice parameter for named lattices)."""


@dataclass(frozen=True)
class Parent:
    """A primitive cell whose sites are decorated.

    Parameters
    ----------
    matrix
        Lattice vectors as rows, float[3, 3]: Å, or lattice parameters where the
        lattice is named.
    positions
        Fractional coordinates of the m sites, float[m, 3].
    allowed
        Species that each site may hold, m tuples; one species makes a site fixed.
    rotations, translations
        Its space group on fractional coordinates: int[o, 3, 3] and float[o, 3].
    """

    matrix: NDArray[np.float64]
    positions: NDArray[np.float64]
    allowed: tuple[tuple[str, ...], ...]
    rotations: NDArray[np.int64]
    translations: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def volume(self) -> float:
        """Volume of the cell, in the cube of the unit of ``matrix``."""
        return float(abs(np.linalg.det(self.matrix)))


def named_parent(lattice: str, elements: tuple[str, ...]) -> Parent:
    """Return the lattice called ``lattice`` with ``elements`` allowed on every site.

    ``hcp`` has the ideal ratio c/a = sqrt(8/3); the lattice parameter of the
    conventional cell is one.
    """
    matrix, positions = _CELLS[lattice]
    return _parent(np.array(matrix), np.array(positions), [elements] * len(positions))


def parent_of(structure: Structure, sublattices: dict[str, tuple[str, ...]]) -> Parent:
    """Return the parent in which every site of a key species holds any of its value.

    Species that are no key stay fixed. The cell is reduced to a primitive one
    in which sites that may hold the same species are alike.

    Raises
    ------
    CandidateError
        If a key is not in the structure, or its symmetry cannot be found.
    """
    symbols = [site.specie.symbol for site in structure]
    if missing := sorted(set(sublattices) - set(symbols)):
        raise CandidateError(
            f"candidates.orderings.sublattices: {', '.join(missing)} is not in the parent "
            f"structure, which holds {', '.join(sorted(set(symbols)))}"
        )
    allowed = [sublattices.get(symbol, (symbol,)) for symbol in symbols]
    return _parent(structure.lattice.matrix, structure.frac_coords, allowed)


def _parent(
    matrix: NDArray[np.float64],
    positions: NDArray[np.float64],
    allowed: list[tuple[str, ...]],
) -> Parent:
    kinds = sorted(set(allowed))
    numbers = [kinds.index(species) + 1 for species in allowed]
    cell: Any = (matrix, positions, numbers)
    primitive: Any = spglib.find_primitive(cell, symprec=SYMPREC)
    if primitive is not None and len(primitive[1]) == len(positions):
        primitive = cell
    symmetry = primitive and spglib.get_symmetry(primitive, symprec=SYMPREC)
    if not symmetry:
        raise CandidateError(
            "candidates.orderings: no symmetry could be found for the parent structure; "
            "do two of its sites coincide?"
        )
    return Parent(
        np.asarray(primitive[0], dtype=np.float64),
        np.asarray(primitive[1], dtype=np.float64),
        tuple(kinds[number - 1] for number in primitive[2]),
        np.asarray(symmetry["rotations"], dtype=np.int64),
        np.asarray(symmetry["translations"], dtype=np.float64),
    )
