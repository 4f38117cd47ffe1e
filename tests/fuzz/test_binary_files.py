"""Checkpoints, pools, features and artefacts that were damaged are told apart or made again."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import counted, damaged
from hypothesis import given
from hypothesis import strategies as st

from leadline.surrogate.descriptors.table import descriptor
from leadline.surrogate.errors import FitError
from leadline.surrogate.model import GaussianProcess
from leadline.tasks.candidates.build import build_pool
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.features import pool_features
from leadline.tasks.candidates.pool import PoolFile
from leadline.tasks.candidates.table import source
from leadline.tasks.errors import CandidateError, StoreError
from leadline.tasks.store.artefacts import Artefacts

VALUES: tuple[Any, ...] = (
    None,
    -1,
    0,
    1e308,
    10**30,
    "x",
    [],
    {},
    [[]],
    {"a": 1},
    True,
    float("nan"),
)


@pytest.fixture(scope="module")
def model(folder: Path) -> bytes:
    """A model of twelve labels, as it is saved."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 3))
    GaussianProcess.fit(X, X[:, 0] ** 2).save(folder / "good.npz")
    return (folder / "good.npz").read_bytes()


@pytest.fixture(scope="module")
def pool(folder: Path) -> PoolFile:
    settings = {"elements": ["Cu", "Au"], "lattice": "fcc", "max_atoms": 3}
    return build_pool(
        [source("orderings", settings, folder)], Checks(), np.random.default_rng(0), folder
    )


@st.composite
def repacked(draw: st.DrawFn, archive: bytes) -> bytes:
    """Draw an archive that is whole, one of whose members is damaged or wrong."""
    with zipfile.ZipFile(io.BytesIO(archive)) as good:
        members = {name: good.read(name) for name in good.namelist()}
    name = draw(st.sampled_from(sorted(members)))
    way = draw(st.sampled_from(["damage", "drop", "swap", "array", "about"]))
    if way == "drop":
        del members[name]
    elif way == "swap":
        members[name] = members[draw(st.sampled_from(sorted(members)))]
    elif way == "array":
        members[name] = _array(draw)
    elif way == "about" and "about.json" in members:
        about = json.loads(members["about.json"])
        about[draw(st.sampled_from(sorted(about)))] = draw(st.sampled_from(VALUES))
        members["about.json"] = json.dumps(about).encode()
    else:
        members[name] = draw(damaged(members[name]))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for each, content in members.items():
            made.writestr(each, content)
    return packed.getvalue()


def _array(draw: st.DrawFn) -> bytes:
    array: np.ndarray[Any, Any] = np.full(
        draw(st.sampled_from([(), (0,), (1,), (12,), (12, 3), (3, 12), (2, 2, 2)])),
        draw(st.sampled_from([0.0, 1.0, np.nan, np.inf, 1e300, "x", b"y", True, 7])),
    )
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_checkpoint_is_a_model_with_finite_numbers_or_refused(model: bytes, folder: Path) -> None:
    path, points = folder / "some.npz", np.zeros((2, 3))

    @counted(700)
    @given(st.one_of(damaged(model), repacked(model), st.binary(max_size=200)))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read = GaussianProcess.load(path)
        except FitError as error:
            assert "is no checkpoint of a model" in str(error)  # noqa: PT017
        else:
            mean, sd = read.predict(points[:, : read.X.shape[1]])
            assert np.isfinite(mean).all()
            assert np.isfinite(sd).all()

    holds()


def test_a_pool_is_read_as_it_was_or_refused(pool: PoolFile, folder: Path) -> None:
    path, good = folder / "some.zip", pool.path.read_bytes()

    @counted(600)
    @given(st.one_of(damaged(good), repacked(good), st.binary(max_size=200)))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read = PoolFile(path)
            list(read.candidates())
            assert read.report.words() is not None
        except CandidateError as error:
            assert "delete it" in str(error)  # noqa: PT017

    holds()


def test_damaged_features_are_made_again(pool: PoolFile, folder: Path) -> None:
    made, chosen = folder / "features", descriptor("composition", pool.elements)
    expected = np.array(pool_features(pool, chosen, made)[0].features)
    files = {path: path.read_bytes() for path in made.iterdir()}

    @counted(400)
    @given(st.sampled_from(sorted(files)).flatmap(lambda path: st.tuples(
        st.just(path),
        damaged(files[path]) if path.suffix == ".npy"
        else st.one_of(damaged(files[path]), repacked(files[path])),
    )))  # fmt: skip
    def holds(damage: tuple[Path, bytes]) -> None:
        path, content = damage
        path.write_bytes(content)
        table, _ = pool_features(pool, chosen, made)
        assert table.features.shape == expected.shape
        assert table.features.dtype == np.float32
        for each, good in files.items():
            each.write_bytes(good)

    holds()


def test_a_damaged_artefact_is_refused(model: bytes, folder: Path) -> None:
    artefacts = Artefacts(str(folder / "artefacts"))
    ref = artefacts.put(model, "application/x-npz")

    @counted(200)
    @given(damaged(model))
    def holds(content: bytes) -> None:
        Path(artefacts.path(ref)).write_bytes(content)
        try:
            assert artefacts.get(ref) == model
        except StoreError as error:
            assert "put a copy of the file back" in str(error)  # noqa: PT017

    holds()
