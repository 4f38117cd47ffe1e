"""What a candidate must be to enter the pool; each refusal has a reason to count."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import covalent_radii
from pymatgen.core import Element, Structure

CELL_EDGES = (0.5, 1000.0)
"""Å: edges of a cell outside of these are a mistake, and slow to search."""
FLATTEST = 1e-3
"""Least volume of a cell over the product of its edges."""
VOLUME_PER_ATOM = (2.0, 300.0)
"""Å^3: diamond has 5.7, caesium 118; the rest is room for pressure and pores."""


@dataclass(frozen=True)
class Checks:
    """Physical checks.

    Parameters
    ----------
    shortest_distance
        Least distance of two atoms in sums of their covalent radii (Cordero et
        al., Dalton Trans. 2832 (2008)).
    max_sites
        Most atoms in a cell.
    charge_balance
        If true, drop compounds whose elements' common oxidation states cannot
        add up to zero. Elements always pass.
    elements
        What the engine can compute, or None for everything.
    """

    shortest_distance: float = 0.5
    max_sites: int = 200
    charge_balance: bool = False
    elements: frozenset[str] | None = None

    def problem(self, structure: Structure) -> tuple[str, str] | None:
        """Return why a structure is refused: a short reason and its numbers, or None."""
        for check in (
            self._numbers,
            self._sites,
            self._elements,
            self._volume,
            self._distances,
            self._charge,
        ):
            if found := check(structure):
                return found
        return None

    def _numbers(self, structure: Structure) -> tuple[str, str] | None:
        finite = np.isfinite(structure.lattice.matrix).all()
        if finite and np.isfinite(structure.frac_coords).all():
            return None
        return "not finite", f"{structure.reduced_formula}: a lattice number or coordinate"

    def _sites(self, structure: Structure) -> tuple[str, str] | None:
        if len(structure) <= self.max_sites:
            return None
        return "too many sites", f"{structure.formula}: {len(structure)}, allowed {self.max_sites}"

    def _elements(self, structure: Structure) -> tuple[str, str] | None:
        symbols = set(structure.symbol_set)
        if self.elements is None or symbols <= self.elements:
            return None
        lacking = ", ".join(sorted(symbols - self.elements))
        return "element not computed by the engine", f"{structure.reduced_formula}: {lacking}"

    def _volume(self, structure: Structure) -> tuple[str, str] | None:
        edges = structure.lattice.abc
        if min(edges) < CELL_EDGES[0] or max(edges) > CELL_EDGES[1]:
            return "unphysical cell", f"{structure.reduced_formula}: edges {_numbers(edges)} Å"
        if structure.volume < FLATTEST * np.prod(edges):
            return "unphysical cell", f"{structure.reduced_formula}: a flat cell"
        volume = structure.volume / len(structure)
        if VOLUME_PER_ATOM[0] <= volume <= VOLUME_PER_ATOM[1]:
            return None
        return (
            "volume per atom",
            f"{structure.reduced_formula}: {volume:.3g} Å^3, allowed {VOLUME_PER_ATOM[0]:g} to "
            f"{VOLUME_PER_ATOM[1]:g}",
        )

    def _distances(self, structure: Structure) -> tuple[str, str] | None:
        radii = covalent_radii[list(structure.atomic_numbers)]
        reach = 2 * self.shortest_distance * radii.max()
        reduced = structure.lattice.get_lll_reduced_lattice()
        shortest = min(reduced.abc)
        if shortest < 2 * self.shortest_distance * radii.min():
            return _too_close(structure, shortest)
        first, second, _, distances = structure.get_neighbor_list(reach)
        least = self.shortest_distance * (radii[first] + radii[second])
        close = distances < least
        return _too_close(structure, distances[close].min()) if close.any() else None

    def _charge(self, structure: Structure) -> tuple[str, str] | None:
        amounts = structure.composition.get_el_amt_dict()
        if not self.charge_balance or len(amounts) == 1:
            return None
        states = [Element(symbol).common_oxidation_states for symbol in amounts]
        for choice in product(*states):
            charge = sum(n * q for n, q in zip(amounts.values(), choice, strict=True))
            if abs(charge) < 1e-6:
                return None
        return "charge not balanced", structure.reduced_formula


def _too_close(structure: Structure, distance: float) -> tuple[str, str]:
    return "atoms too close", f"{structure.reduced_formula}: {distance:.3g} Å"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
