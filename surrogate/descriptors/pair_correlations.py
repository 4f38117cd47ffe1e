"""Which species neighbour which, shell by shell of a lattice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.composition import CompositionDescriptor
from leadline.surrogate.descriptors.descriptor import FEW_ELEMENTS, ideal_structure, indices
from leadline.surrogate.descriptors.elements import PROPERTIES
from leadline.surrogate.descriptors.shells import WIDTH, Shells, shells
from leadline.surrogate.errors import DescriptorError

Array = NDArray[np.float64]

SHELLS_OF_FEW = 6
SHELLS_OF_MANY = 4
"""Shells of neighbours, up to six elements and with more."""


class PairCorrelationsDescriptor:
    """Composition, pairs in shells of equal distance and triangles of nearest neighbours.

    Made for decorations of an ideal lattice, whatever its volume: elsewhere the
    shells of two structures mean different things. Up to six
    elements a pair feature is the share of a pair of species among the bonds
    of a shell, and a triangle feature the share of three species among the
    triangles of nearest neighbours (Sanchez, Ducastelle and Gratias, Physica A
    128, 334, 1984). With more elements it is the sum over the bonds of a site
    of the product of two properties of the elements, or of the absolute
    difference in one.

    Parameters
    ----------
    elements
        Symbols of the elements of the pool.
    shells
        How many shells of neighbours. By default six up to six elements, with which few
        orderings of a small cell are taken for one another, and four with more.
    """

    def __init__(self, elements: Sequence[str], shells: int | None = None) -> None:
        if shells is not None and shells < 1:
            raise DescriptorError(f"pair-correlations has {shells} shells; at least 1 is needed")
        self.elements = tuple(elements)
        self._few = len(self.elements) <= FEW_ELEMENTS
        self.shells = shells or (SHELLS_OF_FEW if self._few else SHELLS_OF_MANY)
        self.composition = CompositionDescriptor(self.elements)
        self.id = f"pair-correlations-1({','.join(self.elements)};shells={self.shells})"
        k = len(self.elements)
        self._pairs = list(combinations_with_replacement(range(k), 2))
        self._triples = list(combinations_with_replacement(range(k), 3)) if self._few else []
        self.feature_names = (*self.composition.feature_names, *self._pair_names(), *self._triads())

    @property
    def blocks(self) -> Mapping[str, slice]:
        """Those of the composition, pairs, and up to six elements triangles."""
        start, end = len(self.composition.feature_names), len(self.feature_names)
        triangles = {"triangles": slice(end - len(self._triples), end)} if self._few else {}
        pairs = {"pairs": slice(start, end - len(self._triples))}
        return {**self.composition.blocks, **pairs, **triangles}

    def describe(self, candidates: Sequence[Candidate]) -> NDArray[np.float32]:
        """Return features, float32[n, d]."""
        width = len(self.feature_names) - len(self.composition.feature_names)
        rows = np.array([self._one(candidate) for candidate in candidates], dtype=np.float32)
        return np.hstack(
            [self.composition.describe(candidates), rows.reshape(len(candidates), width)]
        )

    def _one(self, candidate: Candidate) -> Array:
        structure = ideal_structure(candidate, "pair-correlations")
        species = indices(candidate, self.elements)
        found = shells(structure, self.shells)
        if self._few:
            return np.concatenate([self._shares(found, species), self._triangles(found, species)])
        return self._products(found, species)

    def _shares(self, found: Shells, species: NDArray[np.int64]) -> Array:
        k = len(self.elements)
        pairs = np.sort(species[np.stack([found.first, found.second])], axis=0)
        counts = np.zeros((self.shells, k, k))
        np.add.at(counts, (found.shell, *pairs), 1.0)
        shares = counts / np.maximum(counts.sum(axis=(1, 2), keepdims=True), 1.0)
        return np.concatenate([[shell[pair] for pair in self._pairs] for shell in shares])

    def _triangles(self, found: Shells, species: NDArray[np.int64]) -> Array:
        """Shares of three species among closed triangles of bonds of the first shell."""
        k = len(self.elements)
        nearest = np.flatnonzero(found.shell == 0)
        left, right = _pairs_of_bonds(found.first[nearest])
        left, right = nearest[left], nearest[right]
        third = np.linalg.norm(found.vector[left] - found.vector[right], axis=1)
        closed = np.abs(third - found.distances[0]) < WIDTH
        corners = np.stack([found.first[left], found.second[left], found.second[right]])
        triples = np.sort(species[corners[:, closed]], axis=0)
        counts = np.zeros((k, k, k))
        np.add.at(counts, tuple(triples), 1.0)
        counts /= max(counts.sum(), 1.0)
        return np.array([counts[triple] for triple in self._triples])

    def _products(self, found: Shells, species: NDArray[np.int64]) -> Array:
        """Sums of products and differences of properties over the bonds of a site."""
        values = np.hstack([np.ones((len(species), 1)), self.composition.properties[species]])
        upper = np.triu_indices(values.shape[1])
        features = []
        for shell in range(self.shells):
            bonds = found.shell == shell
            one, other = values[found.first[bonds]], values[found.second[bonds]]
            differences = np.abs(one - other).sum(axis=0)[1:]
            features.append(np.concatenate([(one.T @ other)[upper], differences]) / len(species))
        return np.concatenate(features)

    def _pair_names(self) -> list[str]:
        if self._few:
            kinds = [f"{self.elements[a]}-{self.elements[b]}" for a, b in self._pairs]
        else:
            properties = ("one", *PROPERTIES)
            kinds = [f"{a} × {b}" for a, b in combinations_with_replacement(properties, 2)]
            kinds += [f"|Δ {name}|" for name in PROPERTIES]
        return [f"shell {shell + 1}: {kind}" for shell in range(self.shells) for kind in kinds]

    def _triads(self) -> list[str]:
        return ["triangle " + "-".join(self.elements[a] for a in t) for t in self._triples]


def _pairs_of_bonds(first: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All ordered pairs of bonds that start at one site."""
    left, right = np.nonzero(first[:, None] == first[None, :])
    return left, right
