"""Magnetic orderings of candidates: which there are, and that each is a structure of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.magnetism import MagneticSource, Magnetism, Ordering
from leadline.tasks.candidates.source import Drops, make_candidate
from leadline.tasks.candidates.table import source
from leadline.tasks.crystals import same_crystal

ALL: tuple[Ordering, ...] = ("ferromagnetic", "antiferromagnetic", "nonmagnetic")
IRON = Magnetism({"Fe": 3.0, "Mn": 4.0}, ALL, 10)


def candidate(atoms: Atoms) -> Candidate:
    structure = Structure(
        atoms.cell.array, list(atoms.symbols), atoms.get_scaled_positions(wrap=False)
    )
    return make_candidate(structure, {"source": "test"}, "ideal")


def ordered(atoms: Atoms, ordering: str, magnetism: Magnetism = IRON) -> list[Structure]:
    found = magnetism.decorated(candidate(atoms))
    wanted = [each for each in found if each.provenance["magnetic_ordering"] == ordering]
    return [each.material for each in wanted if isinstance(each.material, Structure)]


def moments(structure: Structure) -> list[float]:
    return [float(each) for each in structure.site_properties["magmom"]]


@pytest.mark.parametrize(
    ("atoms", "count"),
    [
        # Layers along (001) and (111) of fcc; of bcc along (001) and (110).
        (bulk("Fe", "fcc", a=3.6), 2),
        (bulk("Fe", "bcc", a=2.8), 2),
        # The orders of the first and the second kind of a rocksalt.
        (bulk("FeO", "rocksalt", a=4.3), 2),
        (bulk("FeMn", "cesiumchloride", a=2.9), 3),
        # Two atoms of a cell, and what only two cells hold.
        (bulk("Fe", "hcp", a=2.5, c=4.0), None),
    ],
)
def test_symmetry_tells_the_antiferromagnetic_orderings_apart(
    atoms: Atoms, count: int | None
) -> None:
    found = ordered(atoms, "antiferromagnetic")
    assert count is None or len(found) == count
    assert found
    for i, first in enumerate(found):
        assert sum(moments(first)) == 0
        assert first.volume / len(first) == pytest.approx(atoms.get_volume() / len(atoms))
        assert not any(same_crystal(first, second, scale=False) for second in found[:i])


def test_each_ordering_is_the_crystal_that_it_was_made_from() -> None:
    atoms = bulk("FeO", "rocksalt", a=4.3)
    plain = candidate(atoms).material
    assert isinstance(plain, Structure)
    for ordering in ALL:
        for structure in ordered(atoms, ordering):
            bare = structure.copy()
            bare.remove_site_property("magmom")
            assert same_crystal(bare, plain, scale=False)


def test_moments_stand_on_the_magnetic_elements_alone() -> None:
    (up,) = ordered(bulk("FeO", "rocksalt", a=4.3), "ferromagnetic")
    assert dict(zip(up.labels, moments(up), strict=True)) == {"Fe": 3.0, "O": 0.0}
    (none,) = ordered(bulk("FeO", "rocksalt", a=4.3), "nonmagnetic")
    assert moments(none) == [0.0, 0.0]


def test_each_element_is_compensated_by_itself() -> None:
    for each in ordered(bulk("FeMn", "cesiumchloride", a=2.9), "antiferromagnetic"):
        for symbol in ("Fe", "Mn"):
            mine = [
                m for m, site in zip(moments(each), each, strict=True) if str(site.specie) == symbol
            ]
            assert sum(mine) == 0


def test_ids_differ_by_the_moments_alone() -> None:
    found = list(IRON.decorated(candidate(bulk("Fe", "bcc", a=2.8))))
    assert len({each.id for each in found}) == len(found)


def test_what_has_no_magnetic_element_stays_as_it_is() -> None:
    copper = candidate(bulk("Cu"))
    assert list(IRON.decorated(copper)) == [copper]


def test_no_more_than_asked_for_and_small_cells_first() -> None:
    one = Magnetism({"Fe": 3.0}, ["antiferromagnetic"], 1)
    found = ordered(bulk("Fe", "hcp", a=2.5, c=4.0), "antiferromagnetic", one)
    assert [len(each) for each in found] == [2]


def test_a_cell_of_many_magnetic_sites_is_not_looked_through_for_ever() -> None:
    large = bulk("Fe", "bcc", a=2.8, cubic=True) * (4, 2, 2)
    large.rattle(0.1, seed=1)
    assert ordered(large, "antiferromagnetic") == []
    assert len(ordered(large, "ferromagnetic")) == 1


def test_a_pool_holds_every_ordering_of_every_candidate_once(tmp_path: Path) -> None:
    plain = source(
        "orderings", {"lattice": "bcc", "elements": ["Fe", "Al"], "max_atoms": 2}, tmp_path
    )
    alone = build_pool([plain], Checks(), np.random.default_rng(0), tmp_path)
    both = build_pool(
        [MagneticSource(plain, Magnetism({"Fe": 2.2}, ["ferromagnetic", "nonmagnetic"]))] * 2,
        Checks(),
        np.random.default_rng(0),
        tmp_path,
    )
    with_iron = sum("Fe" in formula for formula in alone.formulas)
    assert len(both) == len(alone) + with_iron
    assert set(both.report.dropped) == {"duplicate"}


def test_what_the_other_source_drops_is_counted(tmp_path: Path) -> None:
    class Dropping:
        name, distinct, drops, geometry = "test", True, Drops(), "ideal"

    wrapped = MagneticSource(Dropping(), IRON)  # type: ignore[arg-type]
    assert wrapped.drops is Dropping.drops
    assert wrapped.geometry == "ideal"
