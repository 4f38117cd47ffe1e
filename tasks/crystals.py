"""Whether two structures are one crystal, and which of thousands one is.

Only structures of one reduced formula are compared, of those only the ones with
nearly the same distances between species (a smooth function of the crystal, the
same for every choice of cell), and of those each pair by ``StructureMatcher``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from functools import cache, lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.structure_matcher import SpeciesComparator, StructureMatcher
from pymatgen.core import Element, Species, Structure

LENGTH_TOLERANCE = 0.05
SITE_TOLERANCE = 0.1
"""Of the cube root of the volume per atom: a quarter of an Å in most metals."""
ANGLE_TOLERANCE = 2.0
MOMENT_STEP = 0.5
"""μB: initial moments that round to the same multiple are the same."""

REACH = 1.9
"""Cube roots of the volume per atom; beyond the second shell of fcc and bcc."""
BINS = np.arange(0.4, REACH, 0.1)
WIDTH = 0.12
NEAR = 1.0
"""Distance of fingerprints under which a pair is compared in full.

493 orderings and prototypes, strained by 0.005 and rattled by 0.02 (standard
deviations), stayed below 0.8; of pairs of them one in twenty is nearer than this.
"""
REDUCED_AT_HAND = 8192

Key = TypeVar("Key", bound=Hashable)


def same_crystal(first: Structure, second: Structure, *, scale: bool) -> bool:
    """Say whether two structures are one crystal in any choice of cell.

    Initial moments belong to the species, up to the sign of all together.
    Volumes are made equal first if ``scale`` is true, which is right for
    structures whose cell is yet to be relaxed.
    """
    if first.composition.reduced_formula != second.composition.reduced_formula:
        return False
    return _same_reduced(_reduced(first), _reduced(second), scale)


class Crystals(Generic[Key]):
    """Structures kept under keys, and whether one more is among them.

    Parameters
    ----------
    scale
        Whether volume tells nothing apart, because the recipe relaxes the cell.
    structure_at
        Returns the structure kept under a key.
    """

    def __init__(self, scale: bool, structure_at: Callable[[Key], Structure]) -> None:
        self.scale = scale
        self._kept: dict[str, _Group[Key]] = defaultdict(_Group)
        self._reduced_at = lru_cache(REDUCED_AT_HAND)(lambda key: _reduced(structure_at(key)))

    def keep(self, structure: Structure, key: Key, label: int = 0) -> None:
        """Remember a structure under a key, with a label for :meth:`find`."""
        formula = structure.composition.reduced_formula
        self._kept[formula].add(fingerprint(structure), key, label)

    def find(self, structure: Structure, other_than: int | None = None) -> Key | None:
        """Return the key of a kept structure that is the same crystal, or None.

        What was kept with the label ``other_than`` is not compared.
        """
        group = self._kept.get(structure.composition.reduced_formula)
        near = group.near(fingerprint(structure), other_than) if group else []
        if not near:
            return None
        reduced = _reduced(structure)
        for key in near:
            if _same_reduced(reduced, self._reduced_at(key), self.scale):
                return key
        return None


def fingerprint(structure: Structure) -> NDArray[np.float32]:
    """Return smeared counts of neighbours by distance for each pair of species.

    Distances are in cube roots of the volume per atom; counts are per atom, and
    fade to zero at the reach. Elements are in alphabetical order: fingerprints
    of one reduced formula can be compared. float32[k (k + 1) / 2 * bins].
    """
    length = (structure.volume / len(structure)) ** (1 / 3)
    first, second, _, distances = structure.get_neighbor_list(REACH * length)
    symbols = [site.specie.symbol for site in structure]
    kinds = sorted(set(symbols))
    kind = np.array([kinds.index(symbol) for symbol in symbols])
    low, high = np.minimum(kind[first], kind[second]), np.maximum(kind[first], kind[second])
    pair = high * (high + 1) // 2 + low
    r = distances / length
    smeared = np.exp(-(((r[:, None] - BINS) / WIDTH) ** 2) / 2) * (1 - (r / REACH) ** 2)[:, None]
    counts = np.zeros((len(kinds) * (len(kinds) + 1) // 2, len(BINS)))
    np.add.at(counts, pair, smeared)
    return (counts / len(structure)).ravel().astype(np.float32)


class _Group(Generic[Key]):
    """Fingerprints of one reduced formula, in an array that doubles as it fills."""

    def __init__(self) -> None:
        self.fingerprints = np.zeros((0, 0), dtype=np.float32)
        self.keys: list[Key] = []
        self.labels: list[int] = []

    def near(self, found: NDArray[np.float32], other_than: int | None) -> list[Key]:
        """Return the keys of near fingerprints, nearest first."""
        kept = self.fingerprints[: len(self.keys)]
        difference = np.linalg.norm(kept - found, axis=1)
        order = np.argsort(difference, kind="stable")[: int((difference < NEAR).sum())]
        return [self.keys[i] for i in order if self.labels[i] != other_than]

    def add(self, found: NDArray[np.float32], key: Key, label: int) -> None:
        """Append one fingerprint."""
        n = len(self.keys)
        if n == len(self.fingerprints):
            room = np.zeros((max(8, 2 * n), len(found)), dtype=np.float32)
            room[:n] = self.fingerprints[:n] if n else 0
            self.fingerprints = room
        self.fingerprints[n] = found
        self.keys.append(key)
        self.labels.append(label)


def _reduced(structure: Structure) -> Structure:
    """Return the primitive cell of the Niggli-reduced one, species carrying their moments."""
    niggli = _with_moments(structure).get_reduced_structure(reduction_algo="niggli")
    return niggli.get_primitive_structure()


def _same_reduced(first: Structure, second: Structure, scale: bool) -> bool:
    if len(first) != len(second):
        return False
    matcher = _matcher(scale)
    if matcher.fit(first, second, skip_structure_reduction=True):
        return True
    flipped = _flipped(second)
    return flipped is not None and bool(matcher.fit(first, flipped, skip_structure_reduction=True))


def _with_moments(structure: Structure) -> Structure:
    """Return the structure with species that carry their moments, and no property."""
    species: list[Element | Species] = [site.specie for site in structure]
    if "magmom" in structure.site_properties:
        moments = np.asarray(structure.site_properties["magmom"], dtype=float)
        steps = np.round(moments / MOMENT_STEP) * MOMENT_STEP + 0.0
        species = [
            Species(site.specie.symbol, spin=float(moment))
            for site, moment in zip(structure, steps, strict=True)
        ]
    return Structure(structure.lattice, species, structure.frac_coords)


def _flipped(structure: Structure) -> Structure | None:
    """Return the structure with every moment reversed, or None if none has one."""
    spins = [getattr(site.specie, "spin", None) for site in structure]
    if not any(spins):
        return None
    species = [
        Species(site.specie.symbol, spin=0.0 - float(spin or 0.0))
        for site, spin in zip(structure, spins, strict=True)
    ]
    return Structure(structure.lattice, species, structure.frac_coords)


@cache
def _matcher(scale: bool) -> StructureMatcher:
    return StructureMatcher(
        ltol=LENGTH_TOLERANCE,
        stol=SITE_TOLERANCE,
        angle_tol=ANGLE_TOLERANCE,
        scale=scale,
        comparator=SpeciesComparator(),
    )
