"""Which energies can be believed, by what is known of the elements."""

from __future__ import annotations

from collections.abc import Mapping

from pymatgen.core import Composition

BOND = (-10.0, 30.0)
"""Formation energies that can be, eV/atom.

No compound has one below -5, and what lies above 30 is squeezed beyond use. Outside,
an SCF went astray, or the output is that of another structure.
"""


def plausible_energies(formula: str, elements: Mapping[str, float]) -> tuple[float, float] | None:
    """Return between which energies in eV/atom the answer for a formula can be believed.

    ``elements`` holds energies in eV/atom by the same engine; None while one is missing.
    """
    composition = Composition(formula)
    shares = {str(each): composition.get_atomic_fraction(each) for each in composition}
    if not shares.keys() <= elements.keys():
        return None
    apart = sum(share * elements[symbol] for symbol, share in shares.items())
    return apart + BOND[0], apart + BOND[1]
