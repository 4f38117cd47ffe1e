"""Meshes of k-points: how an engine's settings name one, and what it is for a cell."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from leadline.tasks.engines.engine import EngineSettings


class MeshSettings(EngineSettings):
    """Settings of an engine that samples the Brillouin zone by a Γ-centred mesh."""

    kspacing: float | None = Field(default=None, gt=0)
    """Largest distance of k-points, 1/Å with the factor 2π (as VASP and AiiDA count)."""
    kpts: tuple[int, int, int] | None = None
    """Divisions of the mesh instead of ``kspacing``: one mesh for every cell."""

    @model_validator(mode="after")
    def _one_mesh(self) -> MeshSettings:
        if (self.kspacing is None) == (self.kpts is None):
            raise ValueError("give either kspacing (1/Å) or kpts (three divisions)")
        return self

    def mesh(self, atoms: Atoms) -> tuple[int, int, int]:
        """Return the divisions for ``atoms``."""
        return self.kpts or k_mesh(atoms, self.kspacing or 1.0)


def k_mesh(atoms: Atoms, kspacing: float) -> tuple[int, int, int]:
    """Return the least Γ-centred mesh whose points are at most ``kspacing`` apart.

    ``n_i = ceil(2π |b_i| / kspacing)`` with reciprocal vectors ``a_i·b_j = δ_ij``;
    ``kspacing`` in 1/Å.
    """
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    first, second, third = (max(1, math.ceil(length / kspacing - 1e-9)) for length in lengths)
    return first, second, third
