"""The library of prototypes, and the volumes that decorations get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.prototypes import PrototypesSource, library
from leadline.tasks.candidates.volumes import atomic_volume, expected_volume, mixed_volume
from leadline.tasks.errors import CandidateError


def cell_of(candidate: Candidate) -> Structure:
    assert isinstance(candidate.material, Structure)
    return candidate.material


def prototypes(**settings: object) -> list[Candidate]:
    return list(PrototypesSource(settings, Path()).generate(np.random.default_rng(0)))


def test_the_library_holds_288_prototypes_with_up_to_five_elements() -> None:
    found = library()
    assert len(found) == 288
    assert {p.elements for p in found} == {1, 2, 3, 4, 5}
    assert max(len(p.slots) for p in found) == 105


def test_a_binary_is_decorated_both_ways_and_its_elements_are_there() -> None:
    found = prototypes(elements=["Ni", "Al"], names=["B2", "L1_2", "A1"])
    assert [c.provenance["strukturbericht"] for c in found] == ["A1"] * 2 + ["B2"] * 2 + [
        "L1_2"
    ] * 2
    assert [c.formula for c in found] == ["Al", "Ni", "AlNi", "AlNi", "AlNi3", "Al3Ni"]
    assert [c.provenance.get("element") for c in found[:3]] == ["Al", "Ni", None]


def test_no_prototype_is_larger_than_asked() -> None:
    assert max(len(cell_of(c)) for c in prototypes(elements=["Ni", "Al"], max_atoms=5)) == 5


@pytest.mark.parametrize(
    ("name", "formula", "experiment"),
    [
        ("B1", "NaCl", 5.64**3 / 8),
        ("B1", "MgO", 4.21**3 / 8),
        ("B2", "CsCl", 4.12**3 / 2),
        ("B3", "GaAs", 5.65**3 / 8),
        ("L1_2", "AlNi3", 3.57**3 / 4),
        ("A4", "Si", 5.43**3 / 8),
    ],
)
def test_volumes_are_near_those_of_real_crystals(
    name: str, formula: str, experiment: float
) -> None:
    elements = list(Composition(formula).get_el_amt_dict())
    found = [c for c in prototypes(elements=elements, names=[name]) if c.formula == formula]
    assert found
    for candidate in found:
        volume = cell_of(candidate).volume / len(cell_of(candidate))
        assert volume == pytest.approx(experiment, rel=0.25)


def test_an_element_without_a_measured_volume_gets_one() -> None:
    assert 10 < atomic_volume("At") < 100
    assert atomic_volume("Cu") == pytest.approx(11.81, abs=0.01)


def test_a_mixture_is_between_its_elements() -> None:
    low, high = atomic_volume("Cu"), atomic_volume("Au")
    assert low < mixed_volume(Composition("CuAu")) < high


def test_the_expected_volume_does_not_depend_on_the_volume_given() -> None:
    positions = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    volumes = [
        expected_volume(Structure(Lattice.cubic(edge), ["Cs", "Cl"], positions))
        for edge in (3.0, 4.1, 9.0)
    ]
    assert volumes == pytest.approx([33.19] * 3, abs=0.01)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(CandidateError, match="no prototype is called B99"):
        prototypes(elements=["Na", "Cl"], names=["B2", "B99"])


def test_a_limit_that_no_prototype_meets_is_refused() -> None:
    with pytest.raises(CandidateError, match="none of 1 prototypes has at most 1 atoms"):
        prototypes(elements=["Na", "Cl"], names=["B2"], max_atoms=1)
