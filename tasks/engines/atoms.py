"""Between the plain form of a structure and the atoms that calculators take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import Atoms

from leadline.tasks.structures import from_plain


def to_atoms(plain: Mapping[str, Any]) -> Atoms:
    """Return atoms with the lattice, positions (Å) and initial moments (μB) of ``plain``.

    A charge (e) goes to ``info["charge"]``. Oxidation states are dropped: no
    calculator reads them.

    Raises
    ------
    CandidateError
        If the plain form cannot be read.
    """
    structure = from_plain(plain)
    atoms = Atoms(
        numbers=list(structure.atomic_numbers),
        cell=structure.lattice.matrix,
        positions=structure.cart_coords,
        pbc=True,
    )
    if "magmom" in structure.site_properties:
        atoms.set_initial_magnetic_moments(structure.site_properties["magmom"])
    if structure.charge:
        atoms.info["charge"] = float(structure.charge)
    return atoms


def moved(plain: Mapping[str, Any], atoms: Atoms) -> dict[str, Any]:
    """Return ``plain`` with the lattice and positions of ``atoms``; all else stays."""
    return {
        **plain,
        "lattice": atoms.cell.array.tolist(),
        "coords": atoms.get_scaled_positions(wrap=False).tolist(),
    }
