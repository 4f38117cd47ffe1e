"""What a veto closes beside the structure itself: what is much like it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.pool import PoolFile, PoolWriter
from leadline.tasks.candidates.source import Drops, make_candidate
from leadline.tasks.candidates.table import source
from leadline.tasks.crystals import same_crystal
from leadline.tasks.recording import structure_record
from leadline.tasks.vetoes import Vetoes


def strained(structure: Structure, by: float) -> Structure:
    """Return a structure that is longer along one axis, at twice the volume."""
    lattice = structure.lattice.matrix * np.array([1.0, 1.0, 1.0 + by]) * 2 ** (1 / 3)
    return Structure(lattice, structure.species, structure.frac_coords)


@pytest.fixture(scope="module")
def orderings() -> list[Candidate]:
    settings = {"lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 4}
    return list(source("orderings", settings, Path()).generate(np.random.default_rng(0)))


def pool_of(candidates: list[Candidate], folder: Path) -> PoolFile:
    writer = PoolWriter(folder)
    for each in candidates:
        writer.add(each)
    return writer.finish(Drops())


def test_no_ordering_closes_another(orderings: list[Candidate], tmp_path: Path) -> None:
    vetoes = Vetoes(pool_of(orderings, tmp_path))
    assert vetoes.near(structure_record(each) for each in orderings) == set()


def test_a_strained_copy_that_the_pool_keeps_apart_is_closed_with_it(
    orderings: list[Candidate], tmp_path: Path
) -> None:
    vetoed = next(each for each in orderings if each.formula == "Cu3Au")
    assert isinstance(vetoed.material, Structure)
    moved = strained(vetoed.material, 0.12)
    assert not same_crystal(vetoed.material, moved, scale=True)
    copy = make_candidate(moved, {"source": "files"}, "ideal")
    pool = pool_of([*orderings, copy], tmp_path)
    assert Vetoes(pool).near([structure_record(vetoed)]) == {pool.rows[copy.id]}
    assert Vetoes(pool).near([structure_record(copy)]) == {pool.rows[vetoed.id]}
