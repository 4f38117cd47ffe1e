"""Symmetry-distinct decorations of a parent lattice, up to a number of atoms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from ase.geometry.minkowski_reduction import minkowski_reduce
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator
from pymatgen.core import Composition, Lattice, Structure

from leadline.surrogate.candidate import Candidate, Geometry
from leadline.tasks.candidates.enumeration import (
    Superlattice,
    count_labelings,
    decorations,
    superlattices,
)
from leadline.tasks.candidates.lattices import LATTICES, Parent, named_parent, parent_of
from leadline.tasks.candidates.readers import read_structure
from leadline.tasks.candidates.source import (
    Drops,
    Source,
    SourceSettings,
    known_elements,
    make_candidate,
)
from leadline.tasks.candidates.volumes import mixed_volume
from leadline.tasks.errors import CandidateError
from leadline.tasks.settings import validated

MAX_LABELINGS = 1 << 26
"""Decorations to look through on one superlattice: about half a minute of CPU."""

Elements = Annotated[tuple[str, ...], AfterValidator(known_elements)]


class OrderingsSettings(SourceSettings):
    """Settings of ``orderings``: a named lattice with elements, or a file with sublattices."""

    elements: Elements | None = Field(default=None, description="on every site of a lattice")
    lattice: str | None = Field(default=None, description="fcc, bcc, hcp, sc or diamond")
    lattice_parameter: float | None = Field(
        default=None,
        gt=0.5,
        lt=50,
        description="Å, of the conventional cell, for every composition; "
        "default: Vegard's law from the volumes of the elements",
    )
    parent: str | None = Field(default=None, description="structure file, instead of a lattice")
    sublattices: dict[str, Elements] = Field(
        default_factory=dict,
        description="for each species of the parent that is replaced, what may stand there",
    )
    max_atoms: int = Field(ge=1, le=32, description="atoms in a cell, fixed ones included")

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> OrderingsSettings:
        by_name = self.lattice is not None and self.elements is not None
        by_file = self.parent is not None and bool(self.sublattices)
        partly = (self.lattice or self.elements) and (self.parent or self.sublattices)
        if by_name == by_file or partly:
            raise ValueError("give either lattice and elements, or parent and sublattices")
        if self.lattice is not None and self.lattice not in LATTICES:
            raise ValueError(f"no lattice is called {self.lattice!r}; {', '.join(LATTICES)} are")
        if self.parent is not None and self.lattice_parameter is not None:
            raise ValueError("lattice_parameter belongs to a named lattice; scale the parent file")
        return self


class OrderingsSource(Source):
    """Each distinct ordering once, small cells first; the pure elements are among them.

    Cells are Minkowski-reduced. Volumes follow Vegard's law, on a parent from a
    file relative to the parent's own volume.
    """

    name: ClassVar[str] = "orderings"
    Settings: ClassVar[type[SourceSettings]] = OrderingsSettings
    distinct: ClassVar[bool] = True
    geometry: Geometry = "ideal"
    settings: OrderingsSettings

    def __init__(self, settings: Mapping[str, Any], base: Path) -> None:
        self.settings = validated(OrderingsSettings, settings, "candidates.orderings")
        self.drops = Drops()
        self.parent = self._parent(base)
        self.sizes = range(1, self.settings.max_atoms // len(self.parent) + 1)
        self._refuse_what_takes_forever()

    def generate(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Yield the orderings; ``rng`` is not used."""
        for size in self.sizes:
            for lattice in superlattices(self.parent, size):
                cell = Supercell(self.parent, lattice)
                for decoration in decorations(self.parent, lattice):
                    yield self._candidate(cell, decoration)

    def _parent(self, base: Path) -> Parent:
        settings = self.settings
        if settings.parent is None:
            assert settings.lattice is not None
            assert settings.elements is not None
            self._scale = 1.0
            return named_parent(settings.lattice, settings.elements)
        structure = read_structure(base / settings.parent)
        per_atom = structure.volume / len(structure)
        self._scale = per_atom / mixed_volume(structure.composition)
        return parent_of(structure, settings.sublattices)

    def _refuse_what_takes_forever(self) -> None:
        atoms, cell = self.settings.max_atoms, len(self.parent)
        if not self.sizes:
            raise CandidateError(
                f"candidates.orderings.max_atoms is {atoms}, and the parent's primitive cell "
                f"holds {cell} atoms; give at least {cell}"
            )
        possible = [n for n in self.sizes if count_labelings(self.parent, n) <= MAX_LABELINGS]
        if len(possible) < len(self.sizes):
            raise CandidateError(
                f"candidates.orderings.max_atoms is {atoms}: one cell of that size has "
                f"{count_labelings(self.parent, self.sizes[-1]):.1e} decorations to look through; "
                f"at most {cell * max(possible, default=0)} atoms are possible here"
            )

    def _candidate(self, cell: Supercell, decoration: NDArray[np.int64]) -> Candidate:
        symbols = cell.symbols(decoration)
        structure = cell.structure(symbols, self._cell_volume(symbols))
        provenance = {
            "source": self.name,
            "parent": self.settings.lattice or self.settings.parent,
            "superlattice": cell.lattice.matrix.tolist(),
            "decoration": decoration.tolist(),
        }
        if len(set(symbols)) == 1:
            provenance["element"] = symbols[0]
        return make_candidate(structure, provenance, self.geometry)

    def _cell_volume(self, symbols: list[str]) -> float:
        if self.settings.lattice_parameter is not None:
            return (
                self.parent.volume
                * self.settings.lattice_parameter**3
                * (len(symbols) // len(self.parent))
            )
        counts = {symbol: symbols.count(symbol) for symbol in symbols}
        return self._scale * mixed_volume(Composition(counts)) * len(symbols)


STEPS = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)])
"""The shortest vectors of a lattice are among these sums of a reduced basis."""


class Supercell:
    """The geometry of a superlattice, common to all its decorations."""

    def __init__(self, parent: Parent, lattice: Superlattice) -> None:
        self.parent, self.lattice = parent, lattice
        self.matrix = _reduced(lattice.matrix @ parent.matrix)
        offsets = parent.positions[:, None] + lattice.cells
        fractional = offsets.reshape(-1, 3) @ parent.matrix @ np.linalg.inv(self.matrix)
        self.positions = np.round(fractional, 12) % 1.0
        self.volume = abs(np.linalg.det(self.matrix))

    def symbols(self, decoration: NDArray[np.int64]) -> list[str]:
        """Return the species of every site."""
        allowed = [species for species in self.parent.allowed for _ in self.lattice.cells]
        return [species[i] for species, i in zip(allowed, decoration, strict=True)]

    def structure(self, symbols: list[str], volume: float) -> Structure:
        """Return the decorated cell at a volume in Å^3, sites in the order of species."""
        order = sorted(range(len(symbols)), key=lambda i: (symbols[i], i))
        matrix = self.matrix * (volume / self.volume) ** (1 / 3)
        species = [symbols[i] for i in order]
        return Structure(Lattice(matrix), species, self.positions[order])


def _reduced(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a right-handed Minkowski-reduced basis: of equals, the first by its numbers.

    A symmetric lattice has many; which of them a reduction ends with is up to rounding
    errors, and so to the machine, while the id of a structure must be the same on all. In
    three dimensions any shortest independent vectors with the volume of the cell are a
    reduced basis, and all of them are sums of those of another one.
    """
    cell, _ = minkowski_reduce(matrix)
    vectors = STEPS @ np.asarray(cell)
    keys = np.round(np.column_stack([(vectors**2).sum(axis=1), -vectors]), 6)
    vectors = vectors[np.lexsort(keys.T[::-1])]
    first = vectors[0]
    second = next(v for v in vectors if np.linalg.norm(np.cross(first, v)) > 1e-6)
    volume = abs(np.linalg.det(cell))
    normal = np.cross(first, second)
    third = next(v for v in vectors if np.isclose(normal @ v, volume))
    return np.array([first, second, third])
