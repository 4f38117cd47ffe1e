from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from pymatgen.core import Element, Lattice, Molecule, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.auto import choose
from leadline.surrogate.descriptors.elements import PROPERTIES, element_properties
from leadline.surrogate.descriptors.shells import shells
from leadline.surrogate.descriptors.table import descriptor
from leadline.surrogate.errors import DescriptorError

FCC_CELL = Lattice.cubic(3.75)
FCC_SITES = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
L1_2 = Structure(FCC_CELL, ["Au", "Cu", "Cu", "Cu"], FCC_SITES)
L1_0 = Structure(FCC_CELL, ["Au", "Au", "Cu", "Cu"], FCC_SITES[[0, 3, 1, 2]])
L1_1 = Structure(
    Lattice([[1.875, 1.875, 0], [0, 1.875, 1.875], [3.75, 0, 3.75]]),
    ["Au", "Cu"],
    np.array([[0, 0, 0], [0, 0, 0.5]]),
)
WATER = Molecule(["O", "H", "H"], np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]))
ROCKSALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def candidate(structure: Structure | Molecule, **more: str) -> Candidate:
    return Candidate("0123456789abcdef", structure, **more)  # type: ignore[arg-type]


def named(name: str, elements: tuple[str, ...], structure: Structure) -> dict[str, float]:
    made = descriptor(name, elements)
    return dict(zip(made.feature_names, made.describe([candidate(structure)])[0], strict=True))


def test_fractions_are_those_of_the_formula() -> None:
    assert named("composition", ("Ag", "Au", "Cu"), L1_2) == {
        "fraction of Ag": 0.0,
        "fraction of Au": 0.25,
        "fraction of Cu": 0.75,
    }


def test_many_elements_add_statistics_of_their_properties() -> None:
    features = named("composition", ("Ag", "Al", "Au", "Ba", "Cu", "O", "Ti"), L1_2)
    gold, copper = element_properties(["Au", "Cu"])[:, list(PROPERTIES).index("electronegativity")]
    mean = 0.25 * gold + 0.75 * copper
    assert features["mean electronegativity"] == pytest.approx(mean)
    assert features["deviation electronegativity"] == pytest.approx(
        0.25 * abs(gold - mean) + 0.75 * abs(copper - mean)
    )
    assert features["smallest electronegativity"] == pytest.approx(copper)
    assert features["largest electronegativity"] == pytest.approx(gold)


def test_properties_of_elements_are_standardised_and_complete() -> None:
    table = element_properties([Element.from_Z(z).symbol for z in range(1, 104)])
    assert np.isfinite(table).all()
    np.testing.assert_allclose(table.mean(axis=0), 0.0, atol=1e-12)
    assert np.all(table.std(axis=0) > 0.9)


def test_the_shells_of_fcc_are_at_their_distances_with_their_neighbours() -> None:
    found = shells(L1_2, 6)
    np.testing.assert_allclose(found.distances / found.distances[0], np.sqrt(range(1, 7)))
    np.testing.assert_allclose(found.neighbours, [12, 6, 24, 12, 24, 8])
    assert found.sharp


def test_a_rattled_lattice_has_no_sharp_shells() -> None:
    rattled = L1_2.copy()
    rattled.make_supercell(2)
    rattled.perturb(0.1)
    assert not shells(rattled, 4).sharp


def test_neighbours_in_l12_are_as_drawn_on_paper() -> None:
    features = named("pair-correlations", ("Au", "Cu"), L1_2)
    assert features["shell 1: Au-Au"] == 0.0
    assert features["shell 1: Au-Cu"] == pytest.approx(0.5)
    assert features["shell 1: Cu-Cu"] == pytest.approx(0.5)
    assert features["shell 2: Au-Au"] == pytest.approx(0.25)
    assert features["shell 2: Au-Cu"] == 0.0
    assert features["triangle Au-Cu-Cu"] == pytest.approx(0.75)
    assert features["triangle Cu-Cu-Cu"] == pytest.approx(0.25)


def test_a_lattice_in_which_neighbours_share_no_neighbour_has_no_triangles() -> None:
    bcc = Structure(Lattice.cubic(3.0), ["Cu", "Au"], np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    features = named("pair-correlations", ("Au", "Cu"), bcc)
    assert features["shell 1: Au-Cu"] == pytest.approx(1.0)
    assert sum(value for name, value in features.items() if "triangle" in name) == 0.0


def test_products_of_properties_are_sums_over_the_bonds_of_a_site() -> None:
    elements = ("Ag", "Al", "Au", "Ba", "Cl", "Na", "Ti")
    features = named("pair-correlations", elements, ROCKSALT)
    table = element_properties(["Na", "Cl"])
    sodium, chlorine = table[:, list(PROPERTIES).index("radius")]
    assert features["shell 1: one × one"] == pytest.approx(6)
    assert features["shell 1: radius × radius"] == pytest.approx(6 * sodium * chlorine)
    assert features["shell 1: |Δ radius|"] == pytest.approx(6 * abs(sodium - chlorine), rel=1e-5)
    assert features["shell 2: |Δ radius|"] == pytest.approx(0.0, abs=1e-6)
    assert features["shell 1: one × radius"] == pytest.approx(3 * (sodium + chlorine), rel=1e-5)


@pytest.mark.parametrize("name", ["soap", "pair-correlations"])
def test_two_orderings_of_one_composition_are_told_apart(name: str) -> None:
    made = descriptor(name, ("Au", "Cu"))
    first, second = made.describe([candidate(L1_0), candidate(L1_1)])
    part = np.ones(len(first), dtype=bool)
    part[made.blocks["fractions"]] = False
    assert np.linalg.norm(first[part] - second[part]) > 0.01 * np.linalg.norm(first[part])


def test_soap_of_many_elements_tells_swapped_sites_apart() -> None:
    sites = np.array([[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    one = Structure(Lattice.cubic(4), ["Sr", "Ti", "O", "O", "O"], sites)
    other = Structure(Lattice.cubic(4), ["Ti", "Sr", "O", "O", "O"], sites)
    made = descriptor("soap", ("Al", "Ba", "Ca", "La", "O", "Sr", "Ti"))
    first, second = made.describe([candidate(one), candidate(other)])
    assert np.linalg.norm(first - second) > 0.05 * np.linalg.norm(first)


def test_volume_does_not_matter_to_pair_correlations() -> None:
    made = descriptor("pair-correlations", ("Au", "Cu"))
    larger = L1_2.copy()
    larger.scale_lattice(1.3 * larger.volume)
    first, second = made.describe([candidate(L1_2), candidate(larger)])
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("name", ["soap", "pair-correlations"])
def test_a_relaxed_geometry_is_refused_where_positions_are_read(name: str) -> None:
    with pytest.raises(DescriptorError, match=r"Cu3Au \(0123456789ab\) has a relaxed geometry"):
        descriptor(name, ("Au", "Cu")).describe([candidate(L1_2, geometry="relaxed")])


def test_the_composition_of_a_relaxed_geometry_may_be_used() -> None:
    made = descriptor("composition", ("Au", "Cu"))
    assert made.describe([candidate(L1_2, geometry="relaxed")]).tolist() == [[0.25, 0.75]]


@pytest.mark.parametrize("name", ["soap", "pair-correlations"])
def test_a_molecule_is_refused_where_a_crystal_is_needed(name: str) -> None:
    with pytest.raises(DescriptorError, match=r"is a molecule and .* use composition"):
        descriptor(name, ("H", "O")).describe([candidate(WATER)])


@pytest.mark.parametrize("name", ["soap", "pair-correlations"])
def test_shared_sites_are_refused(name: str) -> None:
    shared = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], np.zeros((1, 3)))
    with pytest.raises(DescriptorError, match="list its orderings as candidates"):
        descriptor(name, ("Au", "Cu")).describe([candidate(shared)])


@pytest.mark.parametrize("name", ["composition", "soap", "pair-correlations"])
def test_an_element_that_the_pool_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(DescriptorError, match="holds Au, the descriptor knows Ag, Cu"):
        descriptor(name, ("Ag", "Cu")).describe([candidate(L1_2)])


def test_oxidation_states_do_not_change_the_features() -> None:
    charged = ROCKSALT.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    made = descriptor("soap", ("Cl", "Na"))
    first, second = made.describe([candidate(ROCKSALT), candidate(charged)])
    np.testing.assert_array_equal(first, second)


def test_settings_are_part_of_the_id() -> None:
    ids = {
        descriptor("soap", ("Au", "Cu")).id,
        descriptor("soap", ("Au", "Cu"), r_cut=5.0).id,
        descriptor("soap", ("Ag", "Cu")).id,
        descriptor("pair-correlations", ("Au", "Cu")).id,
        descriptor("pair-correlations", ("Au", "Cu"), shells=2).id,
    }
    assert len(ids) == 5


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DescriptorError, match="auto, composition, pair-correlations, soap"):
        descriptor("saop", ("Au", "Cu"))


@pytest.mark.parametrize(
    ("name", "setting"),
    [("soap", {"cutoff": 5.0}), ("soap", {"r_cut": 0.5}), ("pair-correlations", {"shells": 0})],
)
def test_a_setting_that_cannot_be_is_refused(name: str, setting: dict[str, float]) -> None:
    with pytest.raises(DescriptorError):
        descriptor(name, ("Au", "Cu"), **setting)


def test_auto_takes_pair_correlations_for_decorations_of_one_lattice() -> None:
    chosen = choose([candidate(L1_2), candidate(L1_0), candidate(L1_1)], ("Au", "Cu"))
    assert chosen.id == descriptor("pair-correlations", ("Au", "Cu")).id
    assert chosen.reason == (
        "pair-correlations: 100.0% of the candidates looked at decorate one lattice"
    )


def test_auto_takes_soap_for_crystals_on_different_lattices() -> None:
    chosen = choose([candidate(L1_2), candidate(ROCKSALT)], ("Au", "Cl", "Cu", "Na"))
    assert chosen.id.startswith("soap")
    assert "no more than 50.0%" in chosen.reason
    assert chosen.describe([candidate(L1_2)]).shape == (1, len(chosen.feature_names))
    assert chosen.blocks["soap"].stop == len(chosen.feature_names)


def test_auto_takes_composition_where_a_geometry_is_relaxed() -> None:
    chosen = choose([candidate(L1_2), candidate(L1_0, geometry="relaxed")], ("Au", "Cu"))
    assert chosen.id == descriptor("composition", ("Au", "Cu")).id
    assert "1 of 2 geometries are relaxed" in chosen.reason


def test_auto_takes_composition_for_molecules() -> None:
    assert (
        choose([candidate(WATER)], ("H", "O")).reason == "composition: 1 candidates are molecules"
    )


def test_auto_refuses_an_empty_pool() -> None:
    with pytest.raises(DescriptorError, match="empty pool"):
        choose([], ("Au", "Cu"))


@pytest.mark.slow
def test_real_pools_get_pair_correlations_that_tell_their_structures_apart() -> None:
    data = os.environ.get("LEADLINE_DATA")
    if not data:
        pytest.skip("LEADLINE_DATA names no folder with cuagau_fcc and perov5")
    for name in ("cuagau_fcc", "perov5"):
        frames = read(Path(data) / name / "dataset.extxyz.gz", ":400", format="extxyz")
        pool = [candidate(AseAtomsAdaptor.get_structure(atoms)) for atoms in frames]
        elements = sorted({str(e) for one in pool for e in one.composition.elements})
        chosen = choose(pool, elements)
        assert chosen.id.startswith("pair-correlations")
        features = chosen.describe(pool)
        assert len(np.unique(features.round(5), axis=0)) > 0.97 * len(pool)
