"""Crystals of the elements."""

from __future__ import annotations

import pytest
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from leadline.tasks.errors import InputError
from leadline.tasks.references import PHASES, reference_structures

GROUPS = {"fcc": 225, "bcc": 229, "hcp": 194, "diamond": 227, "sc": 221, "rhombohedral": 166}


@pytest.mark.parametrize(
    ("element", "phase", "volume"),
    [("Cu", "fcc", 11.8), ("W", "bcc", 15.8), ("Mg", "hcp", 23.2), ("Si", "diamond", 20.0),
     ("Po", "sc", 37.6), ("As", "rhombohedral", 21.5), ("Bi", "rhombohedral", 35.4)],
)  # fmt: skip
def test_an_element_comes_in_its_structure_and_volume(
    element: str, phase: str, volume: float
) -> None:
    ((name, structure),) = reference_structures(element)
    assert name == phase
    assert SpacegroupAnalyzer(structure).get_space_group_number() == GROUPS[phase]
    assert structure.volume / len(structure) == pytest.approx(volume, rel=0.02)


@pytest.mark.parametrize("element", ["Fe", "Mg", "Si"])
def test_other_phases_start_from_the_same_volume(element: str) -> None:
    found = reference_structures(element, PHASES)
    assert [name for name, _ in found] == list(PHASES)
    volumes = [structure.volume / len(structure) for _, structure in found]
    assert volumes == pytest.approx([volumes[0]] * len(PHASES))
    for name, structure in found:
        assert SpacegroupAnalyzer(structure).get_space_group_number() == GROUPS[name]


def test_moments_are_set_where_the_engine_is_magnetic() -> None:
    ((_, iron),) = reference_structures("Fe", magnetic=True)
    assert iron.site_properties["magmom"] == [2.2]
    ((_, plain),) = reference_structures("Fe")
    assert "magmom" not in plain.site_properties
    ((_, copper),) = reference_structures("Cu", magnetic=True)
    assert "magmom" not in copper.site_properties


@pytest.mark.parametrize("element", ["O", "H", "Br", "Mn", "Se", "Pu", "Xx"])
def test_what_is_no_simple_crystal_must_be_given(element: str) -> None:
    with pytest.raises(InputError, match=r"give its energy in objective\.references\.values"):
        reference_structures(element)


def test_an_unknown_phase_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="unknown phase cubic; allowed: fcc, bcc"):
        reference_structures("Fe", ("bcc", "cubic"))
