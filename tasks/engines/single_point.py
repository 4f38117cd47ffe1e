"""An ASE calculator out of one function: for codes that are run once for each geometry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

Compute = Callable[[Atoms], Mapping[str, Any]]
"""Atoms to ``energy`` (eV), ``forces`` (eV/Å), ``stress`` (Voigt, eV/Å^3), any ``magmoms`` (μB)."""
BANDS = ("eigenvalues", "fermi_level")
"""What a function may give beside, for recipes that ask for bands: see ``Engine``."""
PROPERTIES = ["energy", "free_energy", "forces", "stress", "magmoms"]


class SinglePoints(Calculator):
    """Calls a function whenever the geometry is a new one.

    The energy that the function gives must be the one whose derivatives the
    forces are: with smeared occupations, the free energy.
    """

    atoms: Atoms
    implemented_properties = PROPERTIES

    def __init__(self, compute: Compute) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.compute = compute

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute ``atoms``; what the function raises passes through."""
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]  # ASE's
        found = self.compute(self.atoms)
        self.results = {
            "energy": float(found["energy"]),
            "free_energy": float(found["energy"]),
            "forces": np.asarray(found["forces"], dtype=float),
            "stress": np.asarray(found["stress"], dtype=float),
        }
        for name in ("magmoms", *BANDS):
            if name in found:
                self.results[name] = np.asarray(found[name], dtype=float)
