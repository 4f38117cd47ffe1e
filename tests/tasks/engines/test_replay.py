"""Answers from a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from leadline.tasks.calculation import Failure, Request
from leadline.tasks.candidates.dataset import DatasetSource
from leadline.tasks.engines.compute import compute
from leadline.tasks.engines.replay import ReplayEngine
from leadline.tasks.engines.table import engine, engine_settings
from leadline.tasks.errors import ConfigurationError, SpecError
from leadline.tasks.structures import to_plain

ROW = '2\nLattice="2.8 0 0 0 2.8 0 0 0 3.7" Properties=species:S:1:pos:R:3 {} pbc="T T T"\n'
ATOMS = "Cu 0 0 0\nAu 1.4 1.4 1.85\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        ROW.format("id=a e=-6.5 gap=1.25") + ATOMS,
        ROW.replace("3.7", "3.8").format("id=b e=nan gap=0.5") + ATOMS,
    ]
    path = tmp_path / "data.extxyz"
    path.write_text("".join(rows))
    return path


def ask(data: Path, row: int, settings: dict[str, Any]) -> Any:
    source = DatasetSource({"path": str(data), "geometry": "ideal"}, Path())
    candidate = list(source.generate(np.random.default_rng(0)))[row]
    assert isinstance(candidate.material, Structure)
    request = Request(
        calculation="c",
        attempt=1,
        structure_id=candidate.id,
        structure=to_plain(candidate.material),
        engine={"name": "replay", "settings": {"path": str(data), **settings}},
        recipe={"name": "static", "settings": {}},
        site={},
        folder="",
    )
    return compute(request, data.parent / "attempt")


def test_the_answer_is_that_of_the_data_set(data: Path) -> None:
    result = ask(data, 0, {"energy_key": "e", "properties": {"band_gap": "gap"}})
    assert result.complete
    assert result.energy == -6.5
    assert result.properties == {"band_gap": 1.25, "energy_per_atom": -3.25}


def test_an_energy_per_atom_is_made_one_of_the_cell(data: Path) -> None:
    assert ask(data, 0, {"energy_per_atom_key": "e"}).energy == -13.0


def test_a_property_alone_is_an_answer(data: Path) -> None:
    result = ask(data, 1, {"properties": {"gap": "gap"}})
    assert result.complete
    assert result.energy is None
    assert result.properties == {"gap": 0.5}


def test_a_label_that_is_no_number_is_no_answer(data: Path) -> None:
    failure: Failure = ask(data, 1, {"energy_key": "e"}).failure
    assert (failure.kind, failure.reason) == ("physics", "no-label")
    assert "no finite e" in failure.message


def test_a_structure_from_elsewhere_has_no_answer(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.extxyz"
    other.write_text(ROW.replace("3.7", "3.9").format("id=c e=-1") + ATOMS)
    source = DatasetSource({"path": str(other), "geometry": "ideal"}, Path())
    stranger = next(source.generate(np.random.default_rng(0)))
    assert isinstance(stranger.material, Structure)
    request = Request("c", 1, stranger.id, to_plain(stranger.material),
                      {"name": "replay", "settings": {"path": str(data), "energy_key": "e"}},
                      {"name": "static", "settings": {}}, {}, "")  # fmt: skip
    failure = compute(request, tmp_path / "attempt").failure
    assert failure is not None
    assert "candidates must come from the same file" in failure.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs energy_key"),
        ({"energy_key": "e", "energy_per_atom_key": "e"}, "not both"),
        ({"path": None, "energy_key": "e"}, "engine.path"),
    ],
)
def test_settings_that_answer_nothing_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        engine_settings("replay", {"path": "x.extxyz", **settings})


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"path": "/no/such.extxyz", "energy_key": "e"}, "there is no file"),
     ({"energy_key": "not_there"}, "not_there")],
)  # fmt: skip
def test_a_file_without_answers_stops_before_the_first_calculation(
    data: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        engine("replay", {"path": str(data), **settings}).check(frozenset({"Cu"}))


def test_it_computes_nothing(data: Path) -> None:
    chosen = engine("replay", {"path": str(data), "energy_key": "e"})
    assert isinstance(chosen, ReplayEngine)
    with pytest.raises(ConfigurationError, match="computes nothing"):
        chosen.calculator(None, data)  # type: ignore[arg-type]
