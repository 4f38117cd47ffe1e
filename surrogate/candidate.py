"""A candidate: one structure (or table row) that might be worth a calculation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pymatgen.core import Composition, Molecule, Structure

Geometry = Literal["ideal", "relaxed"]


@dataclass(frozen=True)
class Candidate:
    """One thing that can be proposed.

    Parameters
    ----------
    id
        Structure id: sha256 of the structure as it will be calculated.
    material
        The structure before any calculation.
    provenance
        Where it came from: source, parents, settings; plain JSON values.
    geometry
        ``ideal`` if the geometry was made without a calculation. From
        ``relaxed`` ones only what is blind to volume and displacement is used.
    """

    id: str
    material: Structure | Molecule
    provenance: Mapping[str, Any] = field(default_factory=dict)
    geometry: Geometry = "ideal"

    @property
    def composition(self) -> Composition:
        """Composition of the whole cell."""
        return self.material.composition

    @property
    def formula(self) -> str:
        """Reduced formula, electropositive elements first."""
        return str(self.composition.reduced_formula)
