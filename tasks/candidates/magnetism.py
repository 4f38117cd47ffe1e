"""Magnetic orderings of candidates: each a structure of its own, told apart by its moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.tasks.candidates.enumeration import Superlattice, decorations, superlattices
from leadline.tasks.candidates.lattices import Parent, parent_of
from leadline.tasks.candidates.orderings import Supercell
from leadline.tasks.candidates.source import Source, SourceSettings, make_candidate

Ordering = Literal["ferromagnetic", "antiferromagnetic", "nonmagnetic"]
SIGNS = {"up": 1.0, "down": -1.0}
LARGEST = 2
"""Primitive cells in the cell of an antiferromagnetic ordering: bcc iron needs two."""
MOST_MAGNETIC_SITES = 12
"""In such a cell; beyond, four thousand ways up and down would be looked through."""


@dataclass(frozen=True)
class Magnetism:
    """Which moments structures start from.

    Parameters
    ----------
    moments
        Initial moment of each magnetic element, μB an atom.
    orderings
        In which orders: all moments up; as many up as down of each element; none.
    most
        Antiferromagnetic orderings of one structure at most, those of the smallest
        cells first.
    """

    moments: Mapping[str, float]
    orderings: Sequence[Ordering] = ("ferromagnetic",)
    most: int = 4

    def decorated(self, candidate: Candidate) -> Iterator[Candidate]:
        """Yield a candidate in each ordering; one without magnetic elements as it is."""
        structure = candidate.material
        assert isinstance(structure, Structure)
        magnetic = sorted(set(structure.symbol_set) & set(self.moments))
        if not magnetic:
            yield candidate
            return
        for ordering in self.orderings:
            if ordering == "antiferromagnetic":
                yield from islice(self._alternating(candidate, structure, magnetic), self.most)
            else:
                up = self.moments if ordering == "ferromagnetic" else {}
                moments = [up.get(site.specie.symbol, 0.0) for site in structure]
                yield _with(candidate, structure, moments, ordering)

    def _alternating(
        self, candidate: Candidate, structure: Structure, magnetic: Sequence[str]
    ) -> Iterator[Candidate]:
        """Yield the orderings with as many moments up as down, each once.

        Decorations of the magnetic sites by up and down that symmetry tells apart;
        turning every moment round gives the same order.
        """
        labels = {symbol: tuple(f"{symbol} {sign}" for sign in SIGNS) for symbol in magnetic}
        parent = parent_of(structure, labels)
        sites = sum(len(allowed) > 1 for allowed in parent.allowed)
        for size in range(1, min(LARGEST, MOST_MAGNETIC_SITES // sites) + 1):
            for lattice in superlattices(parent, size):
                cell = Supercell(parent, lattice)
                for decoration in _once(parent, lattice):
                    kinds = cell.symbols(decoration)
                    if _balanced(kinds):
                        crystal, moments = self._crystal(cell, kinds)
                        yield _with(candidate, crystal, moments, "antiferromagnetic")

    def _crystal(self, cell: Supercell, kinds: Sequence[str]) -> tuple[Structure, list[float]]:
        """Return the cell with its elements, and the moment of each site."""
        order = sorted(range(len(kinds)), key=lambda i: (kinds[i].split()[0], i))
        parts = [(*kinds[i].split(), "")[:2] for i in order]
        symbols = [symbol for symbol, _ in parts]
        moments = [self.moments[symbol] * SIGNS[sign] if sign else 0.0 for symbol, sign in parts]
        return Structure(Lattice(cell.matrix), symbols, cell.positions[order]), moments


class MagneticSource(Source):
    """The candidates of another source, in each magnetic ordering."""

    name: ClassVar[str] = "magnetic"
    Settings: ClassVar[type[SourceSettings]] = SourceSettings

    def __init__(self, plain: Source, magnetism: Magnetism) -> None:
        self.plain, self.magnetism = plain, magnetism
        self.distinct, self.drops = plain.distinct, plain.drops

    @property
    def geometry(self) -> Geometry:
        """That of the other source."""
        return self.plain.geometry

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield each candidate of the other source in all its orderings."""
        for candidate in self.plain.generate(rng):
            yield from self.magnetism.decorated(candidate)


def _once(parent: Parent, lattice: Superlattice) -> Iterator[NDArray[np.int64]]:
    """Yield the distinct decorations of which none is another one turned round."""
    seen: set[bytes] = set()
    free = np.repeat([len(allowed) > 1 for allowed in parent.allowed], len(lattice.cells))
    for decoration in decorations(parent, lattice):
        if decoration.tobytes() in seen:
            continue
        turned = np.where(free, 1 - decoration, 0)
        shifted = [turned, *(turned[moved] for moved in lattice.translations)]
        seen |= {each[moved].tobytes() for each in shifted for moved in lattice.symmetries}
        yield decoration


def _balanced(kinds: Sequence[str]) -> bool:
    net: dict[str, float] = {}
    for kind in kinds:
        symbol, _, sign = kind.partition(" ")
        net[symbol] = net.get(symbol, 0.0) + SIGNS.get(sign, 0.0)
    return not any(net.values())


def _with(
    candidate: Candidate, structure: Structure, moments: Sequence[float], ordering: Ordering
) -> Candidate:
    plain = Structure(
        structure.lattice,
        [site.specie for site in structure],
        structure.frac_coords,
        site_properties={"magmom": list(moments)},
    )
    provenance: dict[str, Any] = {**candidate.provenance, "magnetic_ordering": ordering}
    return make_candidate(plain, provenance, candidate.geometry)
