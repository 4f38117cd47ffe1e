"""What a descriptor promises, and the checks that all of them make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.errors import DescriptorError

FEW_ELEMENTS = 6


class Descriptor(Protocol):
    """Turns candidates into numbers.

    Laws, tested for every descriptor: the features do not change under
    rotation, translation, permutation of sites, or a change to a supercell or
    another primitive cell; they are deterministic and finite.
    """

    @property
    def id(self) -> str:
        """Name, version and settings: equal ids give equal features."""
        ...

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the d features."""
        ...

    @property
    def blocks(self) -> Mapping[str, slice]:
        """Groups of features that belong together, covering all d of them."""
        ...

    def describe(self, candidates: Sequence[Candidate]) -> NDArray[np.float32]:
        """Return features, float32[n, d].

        Raises
        ------
        DescriptorError
            If a candidate cannot be described, by its id and reason.
        """
        ...


def ideal_structure(candidate: Candidate, name: str) -> Structure:
    """Return the structure of a candidate that may be described by its geometry.

    Raises
    ------
    DescriptorError
        If it is a molecule, has shared sites, or its geometry is relaxed.
    """
    material = candidate.material
    if not isinstance(material, Structure):
        raise DescriptorError(
            f"{_label(candidate)} is a molecule and {name} describes crystals; use composition"
        )
    if candidate.geometry != "ideal":
        raise DescriptorError(
            f"{_label(candidate)} has a relaxed geometry and {name} reads positions and volume, "
            "which are known only after a calculation: a model trained on them looks better than "
            "it is. Use composition, or give ideal geometries"
        )
    if not material.is_ordered:
        raise DescriptorError(
            f"{_label(candidate)} has sites shared by several species and {name} needs one "
            "species a site; list its orderings as candidates"
        )
    return material


def indices(candidate: Candidate, elements: Sequence[str]) -> NDArray[np.int64]:
    """Return the index into `elements` of the species on every site, int64[sites].

    Raises
    ------
    DescriptorError
        If a species is not among the elements.
    """
    symbols = [site.specie.symbol for site in candidate.material]
    check_elements(candidate, set(symbols), elements)
    order = {symbol: index for index, symbol in enumerate(elements)}
    return np.array([order[symbol] for symbol in symbols], dtype=np.int64)


def check_elements(candidate: Candidate, found: set[str], elements: Sequence[str]) -> None:
    """Refuse a candidate with an element that the descriptor was not made for."""
    foreign = sorted(found.difference(elements))
    if foreign:
        raise DescriptorError(
            f"{_label(candidate)} holds {', '.join(foreign)}, the descriptor knows "
            f"{', '.join(elements)}; make it for all elements of the pool"
        )


def _label(candidate: Candidate) -> str:
    return f"{candidate.formula} ({candidate.id[:12]})"
