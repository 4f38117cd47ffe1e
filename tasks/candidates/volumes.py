"""How much room atoms take before anything is calculated."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.analysis.structure_prediction.volume_predictor import bond_params
from pymatgen.core import Composition, Element, Structure

CUBIC_ANGSTROM_PER_MOLAR = 1.0 / 0.602214076
"""Å^3 per atom for one cm^3/mol."""
CLOSE_PACKING = math.pi / math.sqrt(18.0)
TOUCHING_TO_TYPICAL = 1.15
"""Typical volume over the one at which the closest two atoms touch.

Measured on NaCl, MgO, CaF2, CsCl, GaAs, Si and SrTiO3: 0.93 to 1.26.
"""
UNKNOWN_RADIUS = 1.8
"""Å, for the few elements without a tabulated radius; that of lead."""
REACH = 4.0
"""Å within which to look for the first contact."""


@cache
def atomic_volume(symbol: str) -> float:
    """Return the volume of an atom in the element as it is found, Å^3.

    From the tabulated molar volume; where there is none, a close-packed sphere
    of the tabulated radius.
    """
    element = Element(symbol)
    if molar := element.data.get("Molar volume"):
        return float(str(molar).split()[0]) * CUBIC_ANGSTROM_PER_MOLAR
    radius = float(element.atomic_radius or UNKNOWN_RADIUS)
    return 4.0 / 3.0 * math.pi * radius**3 / CLOSE_PACKING


def mixed_volume(composition: Composition) -> float:
    """Return the volume per atom of a mixture in Å^3 by Vegard's law.

    Lengths mix linearly: the cube root of the volume is the mean of the
    elements' cube roots (Vegard, Z. Phys. 5, 17 (1921)).
    """
    amounts = composition.get_el_amt_dict()
    total = sum(amounts.values())
    length = sum(n * atomic_volume(symbol) ** (1 / 3) for symbol, n in amounts.items()) / total
    return float(length**3)


def expected_volume(structure: Structure) -> float:
    """Return the volume per atom, Å^3, to which to rescale a decorated prototype.

    Metals mix by Vegard's law. With a non-metal in it, the cell is scaled until
    the first two atoms touch, and then given room as in real crystals; the radii
    depend on the spread of electronegativity over the sites (Chu et al., Comput.
    Mater. Sci. 146, 184 (2018)).
    """
    mixed = mixed_volume(structure.composition)
    if all(element.is_metal for element in structure.composition.elements):
        return mixed
    scaled = structure.copy()
    scaled.scale_lattice(mixed * len(structure))
    return TOUCHING_TO_TYPICAL * mixed / _tightest(scaled, REACH) ** 3


def _tightest(structure: Structure, reach: float) -> float:
    """Return the least distance of two atoms over the sum of their radii."""
    radii = _radii(structure)
    first, second, _, distances = structure.get_neighbor_list(reach)
    if not len(distances):
        return _tightest(structure, 2 * reach)
    ratio = float((distances / (radii[first] + radii[second])).min())
    needed = 2 * ratio * float(radii.max())
    return ratio if needed <= reach * (1 + 1e-9) else _tightest(structure, needed)


def _radii(structure: Structure) -> NDArray[np.float64]:
    elements = [site.specie for site in structure]
    spread = float(np.std([element.X or 0.0 for element in elements]))
    return np.array([_radius(element.symbol, spread) for element in elements])


def _radius(symbol: str, spread: float) -> float:
    if symbol in bond_params:
        return float(bond_params[symbol]["r"]) + float(bond_params[symbol]["k"]) * spread
    return float(Element(symbol).atomic_radius or UNKNOWN_RADIUS)
