"""Data sets: rows become candidates, labels stay behind."""

from __future__ import annotations

import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates.dataset import DatasetSource, read_data_ids, read_labels
from leadline.tasks.errors import CandidateError, SpecError

SAMPLE = Path(__file__).parents[2] / "data" / "cuagau_fcc" / "dataset.extxyz.gz"


def read(path: Path, **settings: object) -> tuple[list[Candidate], dict[str, int]]:
    source = DatasetSource({"path": path.name, "geometry": "ideal", **settings}, path.parent)
    found = list(source.generate(np.random.default_rng(0)))
    return found, dict(source.drops.counts)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Four rows: a good one, one without a label, one with NaN, one with a used name."""
    frames = []
    for name, lattice, heat in (
        ("a", 3.5, 1.0),
        ("b", 3.6, None),
        ("c", 3.7, np.nan),
        ("a", 3.8, 2),
    ):
        atoms = bulk("Cu", a=lattice)
        atoms.info = {"id": name} | ({} if heat is None else {"heat": heat})
        frames.append(atoms)
    ase.io.write(tmp_path / "rows.extxyz", frames)
    return tmp_path / "rows.extxyz"


def test_the_sample_has_the_orderings_up_to_four_atoms() -> None:
    found, dropped = read(SAMPLE, labels=["energy_ev", "formation_energy", "e_above_hull"])
    assert len(found) == 124
    assert not dropped
    assert max(len(c.material) for c in found) == 4
    assert found[0].provenance["data_id"] == "1-0-0"


def test_labels_are_not_on_the_candidate() -> None:
    found, _ = read(SAMPLE)
    assert not any("energy" in str(c.provenance) for c in found)
    assert not any(c.material.site_properties or c.material.properties for c in found)


def test_labels_and_names_are_found_by_structure() -> None:
    found, _ = read(SAMPLE)
    labels = read_labels(SAMPLE, "id", ["energy_ev", "formation_energy"])
    names = read_data_ids(SAMPLE, "id")
    assert set(labels) == set(names) == {c.id for c in found}
    copper = next(c for c in found if c.provenance["data_id"] == "1-0-0")
    assert names[copper.id] == "1-0-0"
    assert labels[copper.id] == {"energy_ev": -3.72739253, "formation_energy": 0.0}


def test_rows_without_a_finite_label_or_a_name_of_their_own_are_counted(rows: Path) -> None:
    found, dropped = read(rows, labels=["heat"])
    assert [c.provenance["data_id"] for c in found] == ["a"]
    assert dropped == {"no finite label": 2, "no id of its own": 1}


def test_a_row_that_cannot_be_read_is_counted(rows: Path) -> None:
    rows.write_text("1\nnothing\nCu 0 0 0\n" + rows.read_text())
    found, dropped = read(rows)
    assert len(found) == 3
    assert dropped == {"no cell": 1, "no id of its own": 1}


def test_rows_without_the_id_key_are_refused(rows: Path) -> None:
    with pytest.raises(CandidateError, match="no row can be used: 4 no id of its own"):
        read(rows, id_key="name")


def test_labels_that_no_row_has_are_refused(rows: Path) -> None:
    with pytest.raises(CandidateError, match="none of 3 rows has a finite number in 'energy'"):
        read_labels(rows, "id", ["heat", "energy"])


def test_a_missing_label_is_left_out(rows: Path) -> None:
    assert sorted(map(len, read_labels(rows, "id", ["heat"]).values())) == [0, 0, 1]


def test_a_file_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="is no file"):
        read(tmp_path / "none.extxyz")
    (tmp_path / "a.cif").write_text("")
    with pytest.raises(CandidateError, match="is no extended XYZ"):
        read(tmp_path / "a.cif")
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(CandidateError, match="the file is empty"):
        read(tmp_path / "a.xyz")


def test_the_geometry_must_be_declared() -> None:
    with pytest.raises(SpecError, match="geometry is missing; allowed: ideal"):
        DatasetSource({"path": SAMPLE.name}, SAMPLE.parent)


@pytest.mark.skipif("LEADLINE_DATA" not in os.environ, reason="LEADLINE_DATA names no data")
@pytest.mark.parametrize(
    ("name", "label", "count"), [("cuagau_fcc", "energy_ev", 1067), ("perov5", "heat_all", 3787)]
)
def test_the_sets_of_the_backtests_are_read_whole(name: str, label: str, count: int) -> None:
    path = Path(os.environ["LEADLINE_DATA"]) / name / "dataset.extxyz.gz"
    found, dropped = read(path, labels=[label])
    assert len({c.id for c in found}) == count
    assert not dropped
