"""The laws of every source of candidates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from leadline.tasks.candidates.source import Source
from leadline.tasks.candidates.table import SOURCES, source, source_settings
from leadline.tasks.errors import SpecError
from leadline.tasks.structures import from_plain, structure_id, to_plain

SAMPLE = Path(__file__).parents[1] / "data" / "cuagau_fcc"
EXAMPLES: dict[str, dict[str, Any]] = {
    "orderings": {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 4},
    "prototypes": {"elements": ["Mg", "O"], "max_atoms": 4},
    "files": {"paths": ["*.extxyz.gz"], "geometry": "ideal"},
    "dataset": {"path": "dataset.extxyz.gz", "geometry": "ideal"},
}
Make = Callable[[], Source]


@pytest.fixture(params=list(SOURCES))
def make(request: pytest.FixtureRequest) -> Make:
    """Return what makes a source; one without an example here fails its laws."""
    return lambda: source(request.param, EXAMPLES[request.param], SAMPLE)


def test_the_same_settings_and_generator_give_the_same_candidates(make: Make) -> None:
    runs = [list(made.generate(np.random.default_rng(7))) for made in (make(), make())]
    assert [c.id for c in runs[0]] == [c.id for c in runs[1]]
    assert runs[0]


def test_a_source_can_be_run_twice(make: Make) -> None:
    made = make()
    runs = [[c.id for c in made.generate(np.random.default_rng(7))] for _ in range(2)]
    assert runs[0] == runs[1]


def test_candidates_come_lazily(make: Make) -> None:
    assert len(list(islice(make().generate(np.random.default_rng(7)), 2))) == 2


def test_ids_are_those_of_the_structures_and_survive_storage(make: Make) -> None:
    for candidate in make().generate(np.random.default_rng(7)):
        assert isinstance(candidate.material, Structure)
        assert candidate.id == structure_id(candidate.material)
        assert candidate.id == structure_id(from_plain(to_plain(candidate.material)))


def test_provenance_names_the_source_and_the_geometry_is_declared(make: Make) -> None:
    made = make()
    for candidate in islice(made.generate(np.random.default_rng(7)), 5):
        assert candidate.provenance["source"] == made.name
        assert candidate.geometry == made.geometry


def test_structures_are_finite_and_ordered(make: Make) -> None:
    for candidate in make().generate(np.random.default_rng(7)):
        assert isinstance(candidate.material, Structure)
        assert candidate.material.is_ordered
        assert np.isfinite(candidate.material.lattice.matrix).all()
        assert np.isfinite(candidate.material.frac_coords).all()


@pytest.mark.parametrize("name", list(SOURCES))
def test_settings_are_checked_without_opening_a_file(name: str) -> None:
    settings = EXAMPLES[name] | ({"path": "gone.extxyz"} if name == "dataset" else {})
    assert source_settings(name, settings)
    with pytest.raises(SpecError, match=r"candidates\.colour: unknown key; allowed here: "):
        source_settings(name, settings | {"colour": "red"})


def test_an_unknown_source_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(SpecError, match="dataset, files, orderings, prototypes"):
        source("ordering", {}, SAMPLE)
