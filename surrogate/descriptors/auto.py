"""The descriptor that fits a pool, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.descriptors.shells import shells
from leadline.surrogate.descriptors.table import descriptor
from leadline.surrogate.errors import DescriptorError

SAMPLE = 200
SHELLS = 4
LATTICES = 5
ENOUGH = 0.95


@dataclass(frozen=True)
class ChosenDescriptor:
    """A descriptor and the reason for which it was chosen."""

    descriptor: Descriptor
    reason: str

    @property
    def id(self) -> str:
        """Id of the chosen descriptor."""
        return self.descriptor.id

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the d features."""
        return self.descriptor.feature_names

    @property
    def blocks(self) -> Mapping[str, slice]:
        """Groups of features."""
        return self.descriptor.blocks

    def describe(self, candidates: Sequence[Candidate]) -> NDArray[np.float32]:
        """Return features, float32[n, d]."""
        return self.descriptor.describe(candidates)


def choose(candidates: Sequence[Candidate], elements: Sequence[str]) -> ChosenDescriptor:
    """Return the descriptor for a pool, with its reason.

    Composition where the geometry may not be read; pair correlations where 95 %
    of the candidates decorate one lattice, told by the distances and numbers of
    neighbours of up to 200 evenly spaced ones; else SOAP.

    Parameters
    ----------
    candidates
        The pool, or the part of it that is at hand.
    elements
        Symbols of the elements of the pool.

    Raises
    ------
    DescriptorError
        If there is no candidate.
    """
    if not candidates:
        raise DescriptorError("no descriptor can be chosen for an empty pool; add candidates")
    name, reason = _name(candidates)
    return ChosenDescriptor(descriptor(name, elements), f"{name}: {reason}")


def _name(candidates: Sequence[Candidate]) -> tuple[str, str]:
    relaxed = sum(one.geometry != "ideal" for one in candidates)
    if relaxed:
        return "composition", (
            f"{relaxed} of {len(candidates)} geometries are relaxed, and what a relaxation finds "
            "is not known before the calculation"
        )
    structures = [one.material for one in candidates if isinstance(one.material, Structure)]
    if len(structures) < len(candidates):
        return "composition", f"{len(candidates) - len(structures)} candidates are molecules"
    share = _share_on_one_lattice(structures)
    if share >= ENOUGH:
        return "pair-correlations", f"{share:.1%} of the candidates looked at decorate one lattice"
    return "soap", f"no more than {share:.1%} of the candidates looked at decorate one lattice"


def _share_on_one_lattice(structures: Sequence[Structure]) -> float:
    """Share of a sample whose nearest shells are those of one lattice."""
    rows = np.unique(np.linspace(0, len(structures) - 1, SAMPLE).astype(int))
    sample = [shells(structures[row], SHELLS) for row in rows]
    return max(
        float(np.mean([found.sharp and found.equals(lattice) for found in sample]))
        for lattice in sample[:: max(1, len(sample) // LATTICES)]
    )
