"""Results that people already have: read, matched with a pool, stored once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.engines.atoms import to_atoms
from leadline.tasks.errors import CandidateError, InputError
from leadline.tasks.known import KnownResults, check_fingerprint, read_known, store_known
from leadline.tasks.store.records import CalculationState
from leadline.tasks.structures import to_plain

if TYPE_CHECKING:
    from tests.tasks.conftest import Records

ORDERINGS = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 2}


@pytest.fixture
def pool(tmp_path: Path) -> PoolFile:
    made = source("orderings", ORDERINGS, tmp_path)
    return build_pool([made], Checks(), np.random.default_rng(0), tmp_path)


@pytest.fixture
def read(pool: PoolFile, tmp_path: Path) -> Callable[..., KnownResults]:
    def reading(name: str, key: str = "energy") -> KnownResults:
        return read_known(tmp_path / name, key, pool, Checks(), scale=True)

    return reading


def answered(atoms: Atoms, energy: float | None) -> Atoms:
    if energy is not None:
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    return atoms


@pytest.fixture
def frames(records: Records, pool: PoolFile) -> list[Atoms]:
    """CuAu of the pool in another cell and volume, Cu3Au that is not of the pool, no energy."""
    return [
        answered(to_atoms(to_plain(records.crystal("Cu Au Au Cu", a=4.1))), -14.0),
        answered(to_atoms(to_plain(records.crystal("Cu Cu Cu Au"))), -15.0),
        answered(to_atoms(to_plain(records.crystal("Au Au Au Au"))), None),
    ]


def test_a_result_joins_the_candidate_that_is_the_same_crystal(
    read: Callable[..., KnownResults], frames: list[Atoms], tmp_path: Path, pool: PoolFile
) -> None:
    ase.io.write(tmp_path / "known.extxyz", frames)
    found = read("known.extxyz")
    assert [each.energy for each in found.results] == [-14.0, -15.0]
    assert [each.candidate.id in pool.rows for each in found.results] == [True, False]
    assert dict(found.drops.counts) == {"no finite energy": 1}
    assert found.results[1].candidate.provenance["file"] == "known.extxyz"


def test_an_ase_database_and_an_energy_under_another_key_are_read(
    read: Callable[..., KnownResults], frames: list[Atoms], tmp_path: Path
) -> None:
    with ase.db.connect(tmp_path / "known.db") as database:
        database.write(frames[0])
        database.write(frames[2], dft=-16.0)
    assert [each.energy for each in read("known.db").results] == [-14.0]
    assert [each.energy for each in read("known.db", "dft").results] == [-16.0]


def test_a_file_that_is_not_there_or_has_no_energy_is_refused(
    read: Callable[..., KnownResults], frames: list[Atoms], tmp_path: Path
) -> None:
    with pytest.raises(CandidateError, match=r"start\.known\.path: .* is no file"):
        read("gone.extxyz")
    ase.io.write(tmp_path / "bare.extxyz", frames[2:])
    with pytest.raises(CandidateError, match="holds no usable result: 1 no finite energy"):
        read("bare.extxyz")


def test_results_are_stored_as_finished_calculations_once(
    read: Callable[..., KnownResults], frames: list[Atoms], tmp_path: Path, records: Records
) -> None:
    ase.io.write(tmp_path / "known.extxyz", [*frames, frames[0]])
    results = read("known.extxyz").results
    for _ in range(2):
        stored = store_known(
            records.store,
            results,
            records.engine,
            records.recipe,
            campaign="test",
            owner="importer",
        )
        assert len(stored) == 2
    done = records.store.by_state(CalculationState.DONE)
    assert sorted(each.energy or 0.0 for each in done) == [-15.0, -14.0]
    assert {len(each.attempts) for each in done} == {1}
    assert {each.structure for each in done} == set(stored)


def test_only_the_campaigns_own_fingerprint_or_same_is_taken(records: Records) -> None:
    own = records.engine.fingerprint()
    for declared in ("same", own, own[:12]):
        check_fingerprint(declared, records.engine)
    for declared in (own[:11], "", f"{own}0", "another"):
        with pytest.raises(InputError, match="results of other settings do not mix"):
            check_fingerprint(declared, records.engine)
