"""Properties of the elements that descriptors weigh species by."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Element

PROPERTIES = {
    "electronegativity": "X",
    "radius": "atomic_radius",
    "group": "group",
    "row": "row",
    "mendeleev_number": "mendeleev_no",
    "ionization_energy": "ionization_energy",
    "electron_affinity": "electron_affinity",
    "melting_point": "melting_point",
    "molar_volume": "molar_volume",
}


def element_properties(elements: Sequence[str]) -> NDArray[np.float64]:
    """Return standardised properties, float64[k, properties], in the order of PROPERTIES.

    Zero is the mean over hydrogen to lawrencium and one their standard
    deviation; a value that is not known is zero. Source: pymatgen's tables.
    """
    table = _table()
    return table[[Element(symbol).Z - 1 for symbol in elements]]


@cache
def _table() -> NDArray[np.float64]:
    with warnings.catch_warnings():
        # Tables have gaps, which become zero below.
        warnings.simplefilter("ignore")
        raw = np.array(
            [
                [_number(getattr(Element.from_Z(z), name)) for name in PROPERTIES.values()]
                for z in range(1, 104)
            ]
        )
    table = (raw - np.nanmean(raw, axis=0)) / np.nanstd(raw, axis=0)
    return np.asarray(np.nan_to_num(table), dtype=float)


def _number(value: object) -> float:
    return np.nan if value is None else float(value)  # type: ignore[arg-type]
