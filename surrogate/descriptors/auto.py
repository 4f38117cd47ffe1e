"""The descriptor that fits a pool, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.descriptors.table import descriptor


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
    """Return the descriptor for these candidates of these elements."""
    if any(one.geometry != "ideal" for one in candidates):
        return ChosenDescriptor(
            descriptor("composition", elements),
            "composition: some geometries are relaxed, and a relaxed geometry is not known "
            "before the calculation",
        )
    if not all(isinstance(one.material, Structure) for one in candidates):
        return ChosenDescriptor(
            descriptor("composition", elements), "composition: some candidates are molecules"
        )
    return ChosenDescriptor(
        descriptor("soap", elements), "soap: the candidates are crystals of ideal geometry"
    )
