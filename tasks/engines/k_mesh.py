"""Meshes of k-points."""

from __future__ import annotations

import math

import numpy as np
from ase import Atoms


def k_mesh(atoms: Atoms, kspacing: float) -> tuple[int, int, int]:
    """Return the least Γ-centred mesh whose points are at most ``kspacing`` apart.

    ``n_i = ceil(2π |b_i| / kspacing)`` with reciprocal vectors ``a_i·b_j = δ_ij``;
    ``kspacing`` in 1/Å.
    """
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    first, second, third = (max(1, math.ceil(length / kspacing - 1e-9)) for length in lengths)
    return first, second, third
