"""Structures as plain data, and the id that a structure has.

A structure that comes from a file, an API or the store is rebuilt from lattice,
species, coordinates and plain site properties. No document can name a class.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymatgen.core import Element, Lattice, Species, Structure

from leadline.tasks.errors import CandidateError

SITE_PROPERTIES = ("magmom",)


def to_plain(structure: Structure) -> dict[str, Any]:
    """Return a structure as JSON values: Å, fractional coordinates, moments in μB."""
    plain: dict[str, Any] = {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [str(site.specie) for site in structure],
        "coords": structure.frac_coords.tolist(),
        "charge": float(structure.charge),
    }
    properties = {
        name: [float(value or 0.0) for value in structure.site_properties[name]]
        for name in SITE_PROPERTIES
        if name in structure.site_properties
    }
    return plain | ({"site_properties": properties} if properties else {})


def from_plain(plain: Mapping[str, Any]) -> Structure:
    """Rebuild a structure from :func:`to_plain`.

    Raises
    ------
    CandidateError
        If a key is missing, a shape is wrong, or a number is not finite.
    """
    try:
        lattice = np.asarray(plain["lattice"], dtype=float)
        coords = np.asarray(plain["coords"], dtype=float).reshape(-1, 3)
        species = [_species(str(symbol)) for symbol in plain["species"]]
        moments = {
            name: [float(value) for value in values]
            for name, values in (plain.get("site_properties") or {}).items()
            if name in SITE_PROPERTIES
        }
        charge = float(plain.get("charge") or 0.0)
        if lattice.shape != (3, 3) or len(species) != len(coords) or not len(species):
            raise ValueError(
                f"lattice {lattice.shape}, {len(species)} species, {len(coords)} coordinates"
            )
        if not (np.isfinite(lattice).all() and np.isfinite(coords).all()):
            raise ValueError("a coordinate or lattice number is not finite")
        return Structure(
            Lattice(lattice), species, coords, charge=charge or None, site_properties=moments
        )
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise CandidateError(
            f"a stored structure cannot be rebuilt: {error}; it needs lattice[3][3] in Å, "
            "species[n] and fractional coords[n][3]"
        ) from error


def structure_id(structure: Structure) -> str:
    """Return the id of a structure as it will be calculated.

    sha256 over species, lattice and Cartesian positions rounded to 1e-6 Å,
    initial moments and charge. No symmetry analysis: two settings of one
    crystal have two ids, and ``same_as`` relates them.
    """
    moments = structure.site_properties.get("magmom")
    content = {
        "species": [str(site.specie) for site in structure],
        "lattice": _rounded(structure.lattice.matrix),
        "positions": _rounded(structure.cart_coords),
        "moments": None if moments is None else _rounded([m or 0.0 for m in moments]),
        "charge": round(float(structure.charge), 6) + 0.0,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _species(symbol: str) -> Element | Species:
    return Element(symbol) if Element.is_valid_symbol(symbol) else Species.from_str(symbol)


def _rounded(values: Any) -> Any:
    return (np.round(np.asarray(values, dtype=float), 6) + 0.0).tolist()
