"""Every distinct decoration of a parent lattice, once (Hart & Forcade 2008, 2009).

A superlattice is an integer matrix whose rows are its vectors in the parent's
basis. Each superlattice has one such matrix in Hermite normal form; those that a
rotation of the parent maps onto each other count once. On one superlattice, a
decoration is a number in a mixed base, one digit a site; of those that the
superlattice's symmetry maps onto each other the smallest stands for all, and
those that a translation of the parent leaves alone belong to a smaller cell.

References
----------
G. L. W. Hart and R. W. Forcade, Phys. Rev. B 77, 224115 (2008); 80, 014120 (2009).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np
from numpy.typing import NDArray

from leadline.tasks.candidates.lattices import Parent

CHUNK = 1 << 16
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Superlattice:
    """A supercell of a parent, and the permutations of its sites.

    Parameters
    ----------
    matrix
        Hermite normal form, int64[3, 3]; rows in the basis of the parent.
    cells
        Parent cells inside, int64[n, 3].
    translations, symmetries
        Permutations of the n m sites (site s of cell g is number s n + g) by
        the parent's translations but the identity, and by its whole space
        group with the identity: int64[p, n m].
    """

    matrix: NDArray[np.int64]
    cells: NDArray[np.int64]
    translations: NDArray[np.int64]
    symmetries: NDArray[np.int64]


def superlattices(parent: Parent, size: int) -> list[Superlattice]:
    """Return the distinct superlattices of ``size`` parent cells."""
    matrices = np.array(list(_hermite_normal_forms(size)))
    left = np.ones(len(matrices), dtype=bool)
    found = []
    for i, matrix in enumerate(matrices):
        if left[i]:
            images = matrix @ np.transpose(parent.rotations, (0, 2, 1))
            found.append(_superlattice(parent, matrix, images))
            left &= ~_same_lattice(images, matrices)
    return found


def decorations(parent: Parent, lattice: Superlattice) -> Iterator[NDArray[np.int64]]:
    """Yield the distinct decorations of a superlattice, smallest number first.

    Each is int64[n m]: for every site the index into the species allowed there.
    """
    n = len(lattice.cells)
    bases = np.repeat([len(species) for species in parent.allowed], n)
    weights = np.concatenate([np.cumprod(bases[::-1])[::-1][1:], [1]])
    for start in range(0, int(np.prod(bases)), CHUNK):
        numbers = np.arange(start, min(start + CHUNK, int(np.prod(bases))))
        digits = numbers[:, None] // weights % bases
        yield from _representatives(numbers, digits, weights, lattice)


def count_labelings(parent: Parent, size: int) -> int:
    """Return how many decorations, distinct or not, a cell of ``size`` has."""
    return int(np.prod([float(len(species)) ** size for species in parent.allowed]))


def _representatives(
    numbers: NDArray[np.int64],
    digits: NDArray[np.int64],
    weights: NDArray[np.int64],
    lattice: Superlattice,
) -> NDArray[np.int64]:
    for permutation in lattice.translations:
        kept = digits[:, permutation] @ weights > numbers
        numbers, digits = numbers[kept], digits[kept]
    for permutation in lattice.symmetries:
        kept = digits[:, permutation] @ weights >= numbers
        numbers, digits = numbers[kept], digits[kept]
    return digits


def _hermite_normal_forms(size: int) -> Iterator[list[list[int]]]:
    for a in (a for a in range(1, size + 1) if size % a == 0):
        for d in (d for d in range(1, size // a + 1) if size // a % d == 0):
            f = size // a // d
            for b, c, e in product(range(d), range(f), range(f)):
                yield [[a, b, c], [0, d, e], [0, 0, f]]


def _same_lattice(images: NDArray[np.int64], matrices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of ``matrices`` [N, 3, 3] span the lattice of any of ``images``."""
    quotients = np.einsum("rij,njk->nrik", images, np.linalg.inv(matrices))
    return cast("NDArray[np.bool_]", _whole(quotients).any(axis=1))


def _whole(matrices: NDArray[np.float64]) -> NDArray[np.bool_]:
    close = np.isclose(matrices, np.rint(matrices), rtol=0, atol=TOLERANCE)
    return cast("NDArray[np.bool_]", close.all(axis=(-2, -1)))


def _superlattice(
    parent: Parent, matrix: NDArray[np.int64], images: NDArray[np.int64]
) -> Superlattice:
    a, d, f = (int(i) for i in np.diag(matrix))
    cells = np.array(list(product(range(a), range(d), range(f))))
    kept = _whole(images @ np.linalg.inv(matrix))
    images_of_sites = _site_images(parent, cells, kept)
    shifted = images_of_sites[:, None, ..., 1:] + cells[:, None]
    cell = _cell_number(matrix, shifted.reshape(-1, 3)).reshape(shifted.shape[:-1])
    sites = images_of_sites[:, None, ..., 0] * len(cells) + cell
    symmetries = np.unique(sites.reshape(-1, sites.shape[-1]), axis=0)
    moved = cells[1:, None] + cells[None]
    numbers = _cell_number(matrix, moved.reshape(-1, 3)).reshape(moved.shape[:-1])
    offsets = len(cells) * np.arange(len(parent))
    translations = (numbers[:, None] + offsets[:, None]).reshape(len(moved), sites.shape[-1])
    return Superlattice(matrix, cells, translations, symmetries)


def _site_images(
    parent: Parent, cells: NDArray[np.int64], kept: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return where each symmetry puts each site: int64[o, m n, 4], (site, cell vector)."""
    rotations, translations = parent.rotations[kept], parent.translations[kept]
    moved = np.einsum("oij,mj->omi", rotations, parent.positions) + translations[:, None]
    difference = moved[:, :, None] - parent.positions
    kinds = np.array([sorted(set(parent.allowed)).index(kind) for kind in parent.allowed])
    distance = np.abs(difference - np.rint(difference)).max(axis=-1)
    site = (distance + (kinds[:, None] != kinds)).argmin(axis=-1)
    shift = np.rint(np.take_along_axis(difference, site[..., None, None], axis=2)[:, :, 0])
    turned = np.einsum("oij,gj->ogi", rotations, cells)
    vectors = shift[:, :, None].astype(np.int64) + turned[:, None]
    numbers = np.broadcast_to(site[:, :, None, None], (*vectors.shape[:-1], 1))
    return np.concatenate([numbers, vectors], axis=-1).reshape(len(rotations), -1, 4)


def _cell_number(matrix: NDArray[np.int64], vectors: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the cell, modulo the superlattice, at int64[N, 3] vectors."""
    (a, b, c), (_, d, e), (_, _, f) = matrix
    turns = vectors[:, 0] // a
    x, y, z = vectors[:, 0] - turns * a, vectors[:, 1] - turns * b, vectors[:, 2] - turns * c
    turns = y // d
    y, z = y - turns * d, z - turns * e
    return np.asarray((x * d + y) * f + z % f)
