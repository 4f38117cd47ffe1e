"""Crystals of the elements, whose energies formation energies are measured from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from pymatgen.core import Lattice, Structure

from leadline.tasks.errors import InputError

PHASES = ("fcc", "bcc", "hcp", "diamond", "sc")
"""Phases that can be named."""
LAYERED = frozenset({"As", "Sb", "Bi"})
"""Elements whose reference is the A7 structure, two atoms in a rhombohedral cell."""
MOMENTS = {"Fe": 2.2, "Co": 1.7, "Ni": 0.6}
"""Initial moments of the ferromagnetic elements, μB an atom."""
ATOMS_IN_CUBE = {"sc": 1, "bcc": 2, "fcc": 4, "diamond": 8}


def reference_structures(
    element: str, phases: Sequence[str] = (), *, magnetic: bool = False
) -> list[tuple[str, Structure]]:
    """Return the phases of an element that its reference energy is the lowest of.

    Parameters
    ----------
    element
        Symbol.
    phases
        Names from ``PHASES``; none takes the element's structure at room
        temperature. A phase that is not that structure starts from its volume
        per atom, hcp with the ideal ratio c/a.
    magnetic
        Start Fe, Co and Ni from ferromagnetic moments.

    Returns
    -------
    list of (name, structure)
        Primitive cells in the order of ``phases``.

    Raises
    ------
    InputError
        If a phase is unknown, or the element is a gas or has a structure that
        is not at hand: its energy must be given.
    """
    unknown = [phase for phase in phases if phase not in PHASES]
    if unknown:
        raise InputError(
            f"objective.references.phases.{element}: unknown phase {', '.join(unknown)}; "
            f"allowed: {', '.join(PHASES)}"
        )
    usual = _usual(element)
    cells = [(phase, _in_phase(element, phase, *usual)) for phase in phases] or [usual]
    return [(phase, _structure(cell, magnetic=magnetic)) for phase, cell in cells]


def _usual(element: str) -> tuple[str, Atoms]:
    number = atomic_numbers.get(element)
    state: Mapping[str, Any] = (reference_states[number] if number else None) or {}
    phase = str(state.get("symmetry", "unknown"))
    if phase not in PHASES and element not in LAYERED:
        raise InputError(
            f"no crystal of {element} is at hand to compute its reference (its state is "
            f"{phase}); give its energy in objective.references.values, with kind: values"
        )
    try:
        return phase, bulk(element)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"no crystal of {element} can be built: {error}; give its energy in "
            "objective.references.values, with kind: values"
        ) from error


def _in_phase(element: str, phase: str, usual: str, cell: Atoms) -> Atoms:
    if phase == usual:
        return cell
    volume = float(cell.get_volume()) / len(cell)
    if phase == "hcp":
        edge = (volume * 2**0.5) ** (1 / 3)
        return bulk(element, "hcp", a=edge, c=edge * (8 / 3) ** 0.5)
    return bulk(element, phase, a=(volume * ATOMS_IN_CUBE[phase]) ** (1 / 3))


def _structure(cell: Atoms, *, magnetic: bool) -> Structure:
    symbols = list(cell.symbols)
    moment = MOMENTS.get(symbols[0]) if magnetic else None
    properties = {"magmom": [moment] * len(symbols)} if moment else {}
    return Structure(
        Lattice(cell.cell.array), symbols, cell.get_scaled_positions(), site_properties=properties
    )
