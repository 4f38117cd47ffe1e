"""Laws that every descriptor obeys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from leadline.surrogate.candidate import Candidate
from leadline.surrogate.descriptors.descriptor import Descriptor
from leadline.surrogate.descriptors.table import DESCRIPTORS, descriptor

FEW = ("Ag", "Au", "Cu")
MANY = ("Ag", "Al", "Au", "Ba", "Cu", "O", "Sr", "Ti")

FCC = Lattice([[0, 1.9, 1.9], [1.9, 0, 1.9], [1.9, 1.9, 0]])
L1_2 = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
L1_1 = Lattice([[1.9, 1.9, 0], [0, 1.9, 1.9], [3.8, 0, 3.8]])
STRUCTURES = {
    "L1_2": Structure(Lattice.cubic(3.75), ["Au", "Cu", "Cu", "Cu"], L1_2),
    "L1_1": Structure(L1_1, ["Ag", "Cu"], np.array([[0, 0, 0], [0, 0, 0.5]])),
    "one atom": Structure(FCC, ["Cu"], np.zeros((1, 3))),
}
NAMES = sorted(DESCRIPTORS)


def supercell(structure: Structure, matrix: list[list[int]]) -> Structure:
    return structure.make_supercell(matrix, in_place=False)


@pytest.fixture(params=[(name, few) for name in NAMES for few in (True, False)], ids=str)
def made(request: pytest.FixtureRequest) -> Descriptor:
    name, few = request.param
    return descriptor(name, FEW if few else MANY)


@pytest.fixture(params=sorted(STRUCTURES))
def structure(request: pytest.FixtureRequest) -> Structure:
    return STRUCTURES[request.param]


def features(made: Descriptor, *structures: Structure) -> NDArray[np.float32]:
    return made.describe([Candidate(str(i), one) for i, one in enumerate(structures)])


def assert_same(made: Descriptor, one: Structure, other: Structure) -> None:
    first, second = features(made, one, other)
    largest = max(1.0, float(np.abs(first).max()))
    np.testing.assert_allclose(first, second, atol=2e-5 * largest)


def rotated(structure: Structure, seed: int) -> Structure:
    rotation = Rotation.random(random_state=seed).as_matrix()
    return Structure(
        Lattice(structure.lattice.matrix @ rotation.T), structure.species, structure.frac_coords
    )


@given(seed=st.integers(0, 1000))
@settings(max_examples=3, deadline=None)
@pytest.mark.parametrize("key", sorted(STRUCTURES))
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("elements", [FEW, MANY], ids=["few", "many"])
def test_a_rotation_changes_nothing(
    name: str, elements: tuple[str, ...], key: str, seed: int
) -> None:
    assert_same(descriptor(name, elements), STRUCTURES[key], rotated(STRUCTURES[key], seed))


def test_a_translation_changes_nothing(made: Descriptor, structure: Structure) -> None:
    moved = structure.copy()
    moved.translate_sites(list(range(len(moved))), [0.31, -0.77, 0.13], to_unit_cell=False)
    assert_same(made, structure, moved)


def test_the_order_of_sites_changes_nothing(made: Descriptor, structure: Structure) -> None:
    assert_same(made, structure, Structure.from_sites(list(reversed(list(structure)))))


@pytest.mark.parametrize(
    "matrix", [[[2, 0, 0], [0, 1, 0], [0, 0, 1]], [[1, 1, 0], [0, 1, 2], [1, 0, 1]]]
)
def test_a_supercell_changes_nothing(
    made: Descriptor, structure: Structure, matrix: list[list[int]]
) -> None:
    assert_same(made, structure, supercell(structure, matrix))


def test_another_primitive_cell_changes_nothing(made: Descriptor, structure: Structure) -> None:
    assert_same(made, structure, supercell(structure, [[1, 2, 0], [0, 1, -1], [0, 0, 1]]))


def test_features_are_finite_float32_under_as_many_different_names(
    made: Descriptor, structure: Structure
) -> None:
    found = features(made, structure)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.shape == (1, len(made.feature_names))
    assert len(set(made.feature_names)) == len(made.feature_names)


def test_blocks_cover_every_feature_once(made: Descriptor) -> None:
    covered = [index for part in made.blocks.values() for index in range(part.start, part.stop)]
    assert covered == list(range(len(made.feature_names)))


def test_features_are_the_same_every_time_and_whatever_else_is_described(made: Descriptor) -> None:
    together = features(made, *STRUCTURES.values())
    again = np.vstack([features(made, one) for one in STRUCTURES.values()])
    np.testing.assert_array_equal(together, again)


def test_no_candidates_have_no_features(made: Descriptor) -> None:
    assert made.describe([]).shape == (0, len(made.feature_names))


def test_the_order_in_which_elements_are_named_changes_nothing(made: Descriptor) -> None:
    elements = MANY if "Ti" in made.id else FEW
    name = made.id.rsplit("-", 1)[0]
    other = descriptor(name, tuple(reversed(elements)))
    assert other.id == made.id
    np.testing.assert_array_equal(
        features(other, *STRUCTURES.values()), features(made, *STRUCTURES.values())
    )


def test_every_composition_is_told_apart(made: Descriptor) -> None:
    found = features(made, *STRUCTURES.values()).astype(float)
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert np.abs(found[a] - found[b]).max() > 1e-3
