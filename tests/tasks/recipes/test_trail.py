"""The geometries that a relaxation leaves behind: which of them is gone on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from leadline.tasks.recipes.trail import FILE, Trail


def folder(root: Path, attempt: int) -> Path:
    made = root / f"attempt-{attempt}"
    made.mkdir(exist_ok=True)
    return made


def marked(root: Path, attempt: int, step: int, edge: float) -> Atoms:
    atoms = bulk("Cu", cubic=True, a=edge)
    atoms.rattle(0.05, seed=attempt)
    Trail(folder(root, attempt)).mark(atoms, step)
    return atoms


def resumed(root: Path, attempt: int) -> tuple[Atoms, dict[str, int] | None]:
    atoms, trail = bulk("Cu", cubic=True, a=3.6), Trail(folder(root, attempt))
    trail.resume(atoms)
    return atoms, trail.continued_from


def test_the_newest_geometry_is_gone_on_from_to_the_last_digit(tmp_path: Path) -> None:
    marked(tmp_path, 1, 30, 3.7)
    left = marked(tmp_path, 2, 4, 3.8)
    atoms, begun = resumed(tmp_path, 4)
    assert begun == {"attempt": 2, "step": 4}
    assert np.array_equal(atoms.positions, left.positions)
    assert np.array_equal(atoms.cell.array, left.cell.array)


def test_no_attempt_goes_on_from_itself_or_from_a_later_one(tmp_path: Path) -> None:
    marked(tmp_path, 2, 4, 3.8)
    marked(tmp_path, 3, 5, 3.8)
    atoms, begun = resumed(tmp_path, 2)
    assert begun is None
    assert atoms.cell.array[0, 0] == 3.6


def test_the_start_itself_leaves_no_mark(tmp_path: Path) -> None:
    marked(tmp_path, 1, 9, 3.7)
    marked(tmp_path, 2, 0, 3.7)
    assert resumed(tmp_path, 3)[1] == {"attempt": 1, "step": 9}


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": [29, 29, 29, 79]},
        {"numbers": [29, 29, 29]},
        {"positions": [[0.0, 0.0, 0.0]]},
        {"positions": [[float("nan")] * 3] * 4},
        {"positions": None},
        {"cell": [[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]]},
        {"cell": [[2.0, 0, 0], [0, 2.0, 0], [0, 0, 2.0]]},
        {"cell": [[float("inf"), 0, 0], [0, 3.6, 0], [0, 0, 3.6]]},
        {"cell": [1, 2, 3]},
        {"step": "many"},
    ],
)
def test_what_cannot_be_a_geometry_of_these_atoms_is_passed_over(
    change: dict[str, Any], tmp_path: Path
) -> None:
    marked(tmp_path, 1, 3, 3.7)
    marked(tmp_path, 2, 4, 3.8)
    file = folder(tmp_path, 2) / FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert resumed(tmp_path, 3)[1] == {"attempt": 1, "step": 3}


@pytest.mark.parametrize("words", [b"", b"[]", b"null", b'{"step": 4', b"\xff\xfe"])
def test_bytes_that_are_none_of_ours_are_passed_over(words: bytes, tmp_path: Path) -> None:
    marked(tmp_path, 1, 3, 3.7)
    (folder(tmp_path, 2) / FILE).write_bytes(words)
    assert resumed(tmp_path, 3)[1] == {"attempt": 1, "step": 3}


def test_a_folder_that_takes_no_file_fails_no_calculation(tmp_path: Path) -> None:
    Trail(tmp_path / "attempt-1" / "gone").mark(bulk("Cu"), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_trail_of_no_folder_keeps_nothing_and_finds_nothing() -> None:
    atoms, trail = bulk("Cu"), Trail()
    trail.mark(atoms, 3)
    trail.resume(atoms)
    assert trail.continued_from is None
