"""Enumeration against the published counts, and the cells that come out of it."""

from __future__ import annotations

import os
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.geometry.minkowski_reduction import minkowski_reduce
from pymatgen.core import Lattice, Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.enumeration import decorations, superlattices
from leadline.tasks.candidates.lattices import named_parent, parent_of
from leadline.tasks.candidates.orderings import OrderingsSource
from leadline.tasks.candidates.readers import Unreadable, read_frames
from leadline.tasks.crystals import Crystals, same_crystal
from leadline.tasks.errors import CandidateError, SpecError

HERE = Path()


def cell_of(candidate: Candidate) -> Structure:
    assert isinstance(candidate.material, Structure)
    return candidate.material


def orderings(**settings: object) -> list[Candidate]:
    return list(OrderingsSource(settings, HERE).generate(np.random.default_rng(0)))


def given_structures(folder: Path) -> list[Structure]:
    frames = list(read_frames(folder / "dataset.extxyz.gz"))
    return [frame[0] for frame in frames if not isinstance(frame, Unreadable)]


def counts(lattice: str, elements: tuple[str, ...], sizes: range) -> list[int]:
    parent = named_parent(lattice, elements)
    return [
        sum(1 for found in superlattices(parent, n) for _ in decorations(parent, found))
        for n in sizes
    ]


@pytest.mark.parametrize("lattice", ["fcc", "bcc"])
def test_binary_counts_are_those_of_hart_and_forcade(lattice: str) -> None:
    assert counts(lattice, ("A", "B"), range(2, 9)) == [2, 6, 19, 28, 80, 104, 390]


@pytest.mark.parametrize("lattice", ["hcp", "diamond"])
def test_counts_with_two_sites_agree_with_brute_force(lattice: str) -> None:
    parent = named_parent(lattice, ("Cu", "Au"))
    matrices = (
        [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 1, 0], [0, 2, 0], [0, 0, 1]],
        [[1, 0, 1], [0, 1, 0], [0, 0, 2]],
        [[1, 0, 0], [0, 2, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 1], [0, 0, 2]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 2]],
        [[1, 0, 1], [0, 1, 1], [0, 0, 2]],
    )  # every superlattice of two cells
    cell = Structure(Lattice(3 * parent.matrix), ["Cu", "Cu"], parent.positions)
    distinct: list[Structure] = []
    for matrix, symbols in product(matrices, product(("Cu", "Au"), repeat=4)):
        made = cell.make_supercell(matrix, in_place=False)
        decorated = Structure(made.lattice, symbols, made.frac_coords)
        if len(decorated.get_primitive_structure()) == 4 and not any(
            same_crystal(decorated, other, scale=False) for other in distinct
        ):
            distinct.append(decorated)
    assert counts(lattice, ("Cu", "Au"), range(2, 3)) == [len(distinct)]


def test_ternary_orderings_up_to_six_atoms_are_the_1081_of_the_data_set() -> None:
    assert sum(counts("fcc", ("Ag", "Au", "Cu"), range(1, 7))) == 1081


def test_superlattices_are_counted_as_published() -> None:
    parent = named_parent("fcc", ("A", "B"))
    # Distinct fcc superlattices of each size (Hart & Forcade 2008, table III).
    assert [len(superlattices(parent, n)) for n in range(1, 9)] == [1, 2, 3, 7, 5, 10, 7, 20]


def test_no_two_orderings_are_one_crystal() -> None:
    found = orderings(elements=["Cu", "Au"], lattice="fcc", max_atoms=5)
    assert len(found) == 57
    for i, one in enumerate(found):
        for other in found[:i]:
            assert not same_crystal(cell_of(one), cell_of(other), scale=True)


def test_the_orderings_of_the_data_set_are_all_found() -> None:
    folder = Path(__file__).parents[2] / "data" / "cuagau_fcc"
    given = given_structures(folder)
    made = orderings(elements=["Cu", "Ag", "Au"], lattice="fcc", max_atoms=4)
    assert len(given) == len(made) - 2  # two are missing in the data set
    crystals = Crystals[int](scale=True, structure_at=lambda i: cell_of(made[i]))
    for i, candidate in enumerate(made):
        crystals.keep(cell_of(candidate), i)
    assert len({crystals.find(structure) for structure in given} - {None}) == len(given)


@pytest.mark.skipif("LEADLINE_DATA" not in os.environ, reason="LEADLINE_DATA names no data")
def test_every_row_of_the_whole_data_set_is_a_composition_of_the_enumeration() -> None:
    folder = Path(os.environ["LEADLINE_DATA"]) / "cuagau_fcc"
    given = Counter(structure.composition.formula for structure in given_structures(folder))
    made = Counter(
        c.composition.formula
        for c in orderings(elements=["Cu", "Ag", "Au"], lattice="fcc", max_atoms=6)
    )
    assert not given - made


def test_elements_are_in_the_pool_and_say_so() -> None:
    found = orderings(elements=["Cu", "Au"], lattice="fcc", max_atoms=2)
    assert [c.provenance.get("element") for c in found] == ["Au", "Cu", None, None]


def test_the_default_volume_of_an_element_is_the_tabulated_one() -> None:
    copper = cell_of(orderings(elements=["Cu"], lattice="fcc", max_atoms=1)[0])
    assert copper.volume == pytest.approx(bulk("Cu").get_volume(), rel=0.01)


def test_lengths_follow_vegards_law() -> None:
    found = {
        c.formula: cell_of(c) for c in orderings(elements=["Cu", "Au"], lattice="fcc", max_atoms=2)
    }
    length = {formula: (s.volume / len(s)) ** (1 / 3) for formula, s in found.items()}
    assert length["CuAu"] == pytest.approx((length["Cu"] + length["Au"]) / 2)


def test_a_lattice_parameter_holds_for_every_composition() -> None:
    found = orderings(elements=["Cu", "Au"], lattice="bcc", max_atoms=3, lattice_parameter=3.0)
    assert {round(cell_of(c).volume / len(cell_of(c)), 9) for c in found} == {13.5}


def test_neighbours_are_where_the_lattice_puts_them() -> None:
    for lattice, neighbours, distance in (
        ("fcc", 12, 2**-0.5),
        ("bcc", 8, 3**0.5 / 2),
        ("sc", 6, 1.0),
        ("diamond", 4, 3**0.5 / 4),
        ("hcp", 12, 1.0),
    ):
        for candidate in orderings(
            elements=["Si"], lattice=lattice, max_atoms=2, lattice_parameter=4.0
        ):
            first, *_ = cell_of(candidate).get_neighbor_list(4.0 * distance * 1.01)
            counted = np.bincount(first)
            assert counted.tolist() == [neighbours] * len(cell_of(candidate))


def test_cells_are_right_handed_and_compact() -> None:
    for candidate in orderings(elements=["Cu", "Au"], lattice="fcc", max_atoms=6):
        lattice = cell_of(candidate).lattice
        assert np.linalg.det(lattice.matrix) > 0
        assert max(lattice.abc) < 16


def test_ids_and_order_do_not_depend_on_the_order_of_elements() -> None:
    one = orderings(elements=["Cu", "Au"], lattice="fcc", max_atoms=4)
    other = orderings(elements=["Au", "Cu"], lattice="fcc", max_atoms=4)
    assert [c.id for c in one] == [c.id for c in other]
    assert len({c.id for c in one}) == len(one)


def test_a_parent_from_a_file_keeps_its_fixed_sites(tmp_path: Path) -> None:
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    salt.to(str(tmp_path / "POSCAR"))
    source = OrderingsSource(
        {"parent": "POSCAR", "sublattices": {"Na": ["Na", "K"]}, "max_atoms": 8}, tmp_path
    )
    found = list(source.generate(np.random.default_rng(0)))
    # The active sites form an fcc lattice: the counts of fcc up to four cells.
    assert len(found) == 2 + 2 + 6 + 19
    for candidate in found:
        amounts = candidate.composition.get_el_amt_dict()
        assert amounts["Cl"] == amounts.get("Na", 0) + amounts.get("K", 0)
    assert found[1].formula == "NaCl"
    assert cell_of(found[1]).volume == pytest.approx(salt.volume / 4)
    assert cell_of(found[0]).volume > cell_of(found[1]).volume


def test_a_conventional_parent_is_reduced_to_the_primitive_one() -> None:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4), ["Cu"], [[0, 0, 0]])
    assert len(cell) == 4
    assert len(parent_of(cell, {"Cu": ("Ag", "Cu")})) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"elements": ["Cu"], "lattice": "fcc"}, "max_atoms: this key is needed"),
        ({"elements": ["Xx"], "lattice": "fcc", "max_atoms": 2}, "'Xx' is no element"),
        ({"elements": [], "lattice": "fcc", "max_atoms": 2}, "no element is given"),
        ({"elements": ["Cu"], "lattice": "fc", "max_atoms": 2}, "fcc, bcc, sc, hcp, diamond are"),
        ({"elements": ["Cu"], "max_atoms": 2}, "either lattice and elements"),
        ({"elements": ["Cu"], "lattice": "fcc", "max_atoms": 2, "atoms": 3}, "unknown key"),
        (
            {"parent": "a", "sublattices": {"Cu": ["Au"]}, "max_atoms": 2, "lattice_parameter": 4},
            "lattice_parameter belongs to a named lattice",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        OrderingsSource(settings, HERE)


def test_a_species_that_the_parent_lacks_is_refused(tmp_path: Path) -> None:
    Structure(Lattice.cubic(3), ["Cu"], [[0, 0, 0]]).to(str(tmp_path / "POSCAR"))
    settings = {"parent": "POSCAR", "sublattices": {"Ni": ["Ni", "Al"]}, "max_atoms": 2}
    with pytest.raises(CandidateError, match="Ni is not in the parent structure, which holds Cu"):
        OrderingsSource(settings, tmp_path)


def test_a_parent_whose_sites_coincide_is_refused() -> None:
    twice = Structure(Lattice.cubic(3), ["Cu", "Cu"], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    with pytest.raises(CandidateError, match="do two of its sites coincide"):
        parent_of(twice, {"Cu": ("Cu", "Au")})


def test_more_decorations_than_can_be_looked_through_are_refused() -> None:
    settings = {"elements": ["Cu", "Au", "Ag", "Ni"], "lattice": "fcc", "max_atoms": 20}
    with pytest.raises(CandidateError, match="at most 13 atoms are possible here"):
        OrderingsSource(settings, HERE)


def test_a_cell_smaller_than_the_parent_is_refused() -> None:
    with pytest.raises(CandidateError, match="give at least 2"):
        OrderingsSource({"elements": ["Mg"], "lattice": "hcp", "max_atoms": 1}, HERE)


@pytest.mark.parametrize("lattice", ["fcc", "bcc", "hcp"])
def test_ids_do_not_depend_on_how_a_machine_rounds(
    lattice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids() -> list[str]:
        return [each.id for each in orderings(lattice=lattice, elements=["Cu", "Au"], max_atoms=4)]

    def elsewhere(matrix: Any) -> tuple[Any, None]:
        """Give another reduced basis, its last digits off."""
        cell, _ = minkowski_reduce(matrix * (1 + 1e-15 * noise.normal(size=(3, 3))))
        return np.array([-cell[1], cell[0], cell[2]]) if noise.random() < 0.5 else cell, None

    noise, here = np.random.default_rng(1), ids()
    monkeypatch.setattr("leadline.tasks.candidates.orderings.minkowski_reduce", elsewhere)
    assert ids() == here
