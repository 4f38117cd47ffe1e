"""The AFLOW library of crystallographic prototypes, decorated with elements."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field
from pymatgen.core import Lattice, Structure

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.tasks.candidates.source import (
    Drops,
    Source,
    SourceSettings,
    known_elements,
    make_candidate,
)
from leadline.tasks.candidates.volumes import expected_volume
from leadline.tasks.errors import CandidateError
from leadline.tasks.settings import validated


class PrototypesSettings(SourceSettings):
    """Settings of ``prototypes``."""

    elements: Annotated[tuple[str, ...], AfterValidator(known_elements)]
    max_atoms: int = Field(default=20, ge=1, description="atoms in a primitive cell; 105 is all")
    names: tuple[str, ...] = Field(
        default=(), description="AFLOW names, e.g. AB_cP2_221_b_a, or Strukturbericht, e.g. B2"
    )


@dataclass(frozen=True)
class Prototype:
    """One entry of the library.

    Parameters
    ----------
    name
        AFLOW name, e.g. ``AB_cP2_221_b_a``.
    strukturbericht, mineral
        Its other names, or "None".
    matrix, positions, slots
        Lattice vectors as rows in Å, fractional coordinates, and for each site
        which of the prototype's own elements stands there (0, 1, ...).
    """

    name: str
    strukturbericht: str
    mineral: str
    matrix: tuple[tuple[float, ...], ...]
    positions: tuple[tuple[float, ...], ...]
    slots: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many elements it needs."""
        return max(self.slots) + 1

    def decorated(self, elements: tuple[str, ...]) -> Structure:
        """Return it with ``elements``, one a slot, at the volume expected of them."""
        symbols = [elements[slot] for slot in self.slots]
        structure = Structure(Lattice(self.matrix), symbols, self.positions)
        structure.scale_lattice(expected_volume(structure) * len(structure))
        return structure


@cache
def library() -> tuple[Prototype, ...]:
    """Return the 288 prototypes that ship with pymatgen, by name.

    Mehl et al., Comput. Mater. Sci. 136, S1 (2017).
    """
    packed = files("pymatgen.analysis") / "prototypes" / "aflow_prototypes.json.gz"
    entries = json.loads(gzip.decompress(packed.read_bytes()))
    return tuple(sorted((_prototype(entry) for entry in entries), key=lambda found: found.name))


def _prototype(entry: Mapping[str, Any]) -> Prototype:
    symbols = [site["species"][0]["element"] for site in entry["snl"]["sites"]]
    order = sorted(set(symbols))
    return Prototype(
        entry["tags"]["aflow"],
        str(entry["tags"]["strukturbericht"]),
        str(entry["tags"]["mineral"]),
        tuple(tuple(row) for row in entry["snl"]["lattice"]["matrix"]),
        tuple(tuple(site["abc"]) for site in entry["snl"]["sites"]),
        tuple(order.index(symbol) for symbol in symbols),
    )


class PrototypesSource(Source):
    """Every prototype with every assignment of the elements, simple ones first.

    Prototypes with fewer kinds of atoms than there are elements are decorated
    with every subset, so that elements and binaries of a ternary are there too.
    """

    name: ClassVar[str] = "prototypes"
    Settings: ClassVar[type[SourceSettings]] = PrototypesSettings
    distinct: ClassVar[bool] = False
    geometry: Geometry = "ideal"
    settings: PrototypesSettings

    def __init__(self, settings: Mapping[str, Any], base: Path) -> None:
        self.settings = validated(PrototypesSettings, settings, "candidates.prototypes")
        self.drops = Drops()
        self.prototypes = self._chosen()

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield the decorated prototypes; ``rng`` is not used."""
        for prototype in self.prototypes:
            for elements in permutations(self.settings.elements, prototype.elements):
                provenance = {
                    "source": self.name,
                    "prototype": prototype.name,
                    "strukturbericht": prototype.strukturbericht,
                    "elements": list(elements),
                }
                if len(elements) == 1:
                    provenance["element"] = elements[0]
                yield make_candidate(prototype.decorated(elements), provenance, self.geometry)

    def _chosen(self) -> list[Prototype]:
        found = self._called() if self.settings.names else list(library())
        kept = [
            prototype
            for prototype in found
            if len(prototype.slots) <= self.settings.max_atoms
            and prototype.elements <= len(self.settings.elements)
        ]
        if not kept:
            raise CandidateError(
                f"candidates.prototypes: none of {len(found)} prototypes has at most "
                f"{self.settings.max_atoms} atoms and {len(self.settings.elements)} elements; "
                "raise max_atoms or give more elements"
            )
        return sorted(kept, key=lambda prototype: (len(prototype.slots), prototype.name))

    def _called(self) -> list[Prototype]:
        known = {prototype.name for prototype in library()}
        known |= {prototype.strukturbericht for prototype in library()} - {"None"}
        if unknown := [name for name in self.settings.names if name not in known]:
            raise CandidateError(
                f"candidates.prototypes.names: no prototype is called {', '.join(unknown)}; "
                "names are AFLOW's, e.g. AB_cP2_221_b_a, or Strukturbericht, e.g. B2"
            )
        wanted = set(self.settings.names)
        return [p for p in library() if wanted & {p.name, p.strukturbericht}]
