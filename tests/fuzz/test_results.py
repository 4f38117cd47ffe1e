"""Any file of an attempt is whole, or is told apart as broken: no traceback, no false answer."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from damage import counted, damaged
from hypothesis import given
from hypothesis import strategies as st

from leadline.flows.server_register import Register
from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.compute.attempt import inspect
from leadline.tasks.compute.attempt_files import Running, attempt_folder, read_result, turns
from leadline.tasks.compute.processes import boot_id, host
from leadline.tasks.errors import ComputeError

RESULT = Result(
    calculation="c" * 64,
    attempt=1,
    converged=True,
    energy=-3.25,
    structure={"lattice": [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], "species": ["Cu"]},
    forces=[[0.0, 0.0, 0.0]],
    stress=[0.0] * 6,
    properties={"energy_per_atom": -3.25},
    times={"wall": 1.5},
    files=("raw/espresso.pwo",),
)
FAILED = Result("c" * 64, 1, False, failure=Failure(FailureKind.PHYSICS, "scf", "no words é"))
RUNNING = Running("c" * 64, 1, host(), boot_id(), 4_000_000, 17.0, None, 1e9)
ANYTHING = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.fixture
def attempt(folder: Path) -> Path:
    """The folder of a calculation whose only attempt was made by a process that is no more."""
    made = folder / ("c" * 64)
    shutil.rmtree(made, ignore_errors=True)
    (made / "turns").mkdir(parents=True)
    attempt_folder(made, 1).mkdir()
    (made / "turns" / "1").write_text(json.dumps(asdict(RUNNING)))
    return made


@pytest.mark.parametrize("good", [RESULT, FAILED], ids=["answer", "failure"])
def test_a_result_is_read_whole_or_not_at_all(good: Result, attempt: Path) -> None:
    @counted(900)
    @given(damaged(good.to_json().encode()))
    def holds(content: bytes) -> None:
        (attempt_folder(attempt, 1) / "result.json").write_bytes(content)
        assert read_result(attempt, 1) in (good, None)

    holds()


def test_anything_in_the_place_of_a_result_is_none(attempt: Path) -> None:
    @counted(500)
    @given(ANYTHING)
    def holds(content: bytes) -> None:
        (attempt_folder(attempt, 1) / "result.json").write_bytes(content)
        assert read_result(attempt, 1) is None
        assert inspect(attempt).result is None

    holds()


@pytest.mark.parametrize("kind", ["damaged", "anything"])
def test_a_turn_is_read_as_it_was_written_or_named_as_unreadable(kind: str, attempt: Path) -> None:
    good = json.dumps(asdict(RUNNING)).encode()

    @counted(700)
    @given(damaged(good) if kind == "damaged" else ANYTHING)
    def holds(content: bytes) -> None:
        (attempt / "turns" / "1").write_bytes(content)
        try:
            (read,) = turns(attempt)
            inspect(attempt)
        except ComputeError as error:
            assert "cannot be read" in str(error)  # noqa: PT017
        else:
            assert _plain_types(asdict(read)) == _plain_types(asdict(RUNNING))

    holds()


@pytest.mark.parametrize("kind", ["damaged", "anything"])
def test_a_register_of_servers_that_is_broken_is_an_empty_one(kind: str, folder: Path) -> None:
    path = folder / "server.json"
    good = json.dumps(
        {
            "boot": boot_id(),
            "server": {"process": {"pid": 4_000_000, "start": 1.0}, "port": 4200},
            "users": [{"pid": 4_000_000, "start": 1.0}],
        }
    ).encode()

    @counted(700)
    @given(damaged(good) if kind == "damaged" else ANYTHING)
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        assert Register.read(path).server is None

    holds()


def _plain_types(plain: dict[str, Any]) -> dict[str, str]:
    names = {"int": "number", "float": "number", "NoneType": "str"}
    return {
        key: names.get(type(value).__name__, type(value).__name__) for key, value in plain.items()
    }
