"""Results at hand and data sets: what can be used is, the rest is counted, and nothing trips."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from damage import counted, damaged
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Structure

from leadline.surrogate.errors import LeadlineError
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.dataset import DatasetSource, read_data_ids, read_labels
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.engines.atoms import to_atoms
from leadline.tasks.engines.table import engine
from leadline.tasks.errors import CandidateError, ConfigurationError
from leadline.tasks.known import read_known, store_known
from leadline.tasks.recipes.table import recipe
from leadline.tasks.store.store import Store, open_store
from leadline.tasks.structures import to_plain

T = TypeVar("T")


@pytest.fixture(scope="module")
def pool(folder: Path) -> PoolFile:
    settings = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 2}
    return build_pool(
        [source("orderings", settings, folder)], Checks(), np.random.default_rng(0), folder
    )


@pytest.fixture(scope="module")
def frames(pool: PoolFile) -> list[Atoms]:
    """The pool's structures, the last of them without an energy."""
    materials = [each.material for each in pool.candidates()]
    made = [to_atoms(to_plain(each)) for each in materials if isinstance(each, Structure)]
    for number, atoms in enumerate(made):
        atoms.info |= {"id": f"row-{number}", "gap": 0.5 * number}
        if number + 1 < len(made):
            atoms.calc = SinglePointCalculator(atoms, energy=-3.5 * len(atoms))
    return made


@pytest.fixture(scope="module")
def extxyz(frames: list[Atoms]) -> bytes:
    file = io.StringIO()
    write(file, frames, format="extxyz")
    return file.getvalue().encode()


@pytest.fixture(scope="module")
def database(frames: list[Atoms], folder: Path) -> bytes:
    with ase.db.connect(folder / "good.db") as rows:
        for atoms in frames:
            rows.write(atoms, gap=0.5)
    return (folder / "good.db").read_bytes()


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[Store]:
    with open_store(None, folder / "store") as opened:
        yield opened


@pytest.mark.parametrize("name", ["known.extxyz", "known.db"])
def test_results_at_hand_are_stored_or_counted(
    name: str, pool: PoolFile, folder: Path, store: Store, request: pytest.FixtureRequest
) -> None:
    good: bytes = request.getfixturevalue("extxyz" if name == "known.extxyz" else "database")
    path, emt, static = folder / name, engine("emt", {}), recipe("static", {})

    @counted(500)
    @given(damaged(good))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            found = read_known(path, "energy", pool, Checks(), scale=False)
        except CandidateError as error:
            assert name in str(error)  # noqa: PT017
            return
        assert all(math.isfinite(each.energy) for each in found.results)
        stored = store_known(store, found.results, emt, static, campaign="fuzz", owner="me")
        assert stored
        assert all(store.calculations_of(each) for each in stored)

    holds()


def test_a_data_set_gives_candidates_and_finite_labels_or_is_refused(
    extxyz: bytes, folder: Path
) -> None:
    path = folder / "set.extxyz"
    settings = {"path": path.name, "labels": ["gap"], "geometry": "ideal"}
    answers = {"path": str(path), "properties": {"gap": "gap"}}

    @counted(500)
    @given(st.one_of(damaged(extxyz), st.binary(max_size=200)))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        rows = refused_or(lambda: list(DatasetSource(settings, folder).generate(_rng())))
        ids = refused_or(lambda: read_data_ids(path, "id"))
        labels = refused_or(lambda: read_labels(path, "id", ["gap"]))
        assert ids is None or rows is None or {each.id for each in rows} <= ids.keys()
        for known in (labels or {}).values():
            assert all(math.isfinite(each) for each in known.values())
        try:
            engine("replay", answers).check(frozenset())
        except ConfigurationError as error:
            assert "engine.path" in str(error)  # noqa: PT017

    holds()


def refused_or(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except LeadlineError as error:
        assert str(error)  # noqa: PT017
        return None


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)
