"""Files of strangers: what is read, and what a bad one costs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leadline.surrogate.candidate import Candidate
from leadline.tasks.candidates import readers
from leadline.tasks.candidates.files import FilesSource
from leadline.tasks.candidates.readers import Unreadable, read_frames, read_structure
from leadline.tasks.errors import CandidateError, SpecError

CUAU = bulk("CuAu", "rocksalt", a=5.0)


def read(base: Path, *paths: str) -> tuple[list[Candidate], dict[str, int]]:
    source = FilesSource({"paths": list(paths), "geometry": "relaxed"}, base)
    found = list(source.generate(np.random.default_rng(0)))
    return found, dict(source.drops.counts)


def write(folder: Path, name: str, atoms: Atoms, kind: str) -> Path:
    ase.io.write(folder / name, atoms, format=kind)
    return folder / name


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.cif", "cif"), ("POSCAR", "vasp"), ("b.vasp", "vasp"), ("CONTCAR_2", "vasp"),
     ("c.extxyz", "extxyz"), ("d.xyz", "extxyz"), ("e.db", "db")],
)  # fmt: skip
def test_every_format_gives_the_same_crystal(tmp_path: Path, name: str, kind: str) -> None:
    write(tmp_path, name, CUAU, kind)
    (candidate,), dropped = read(tmp_path, name)
    assert candidate.formula == "CuAu"
    assert candidate.geometry == "relaxed"
    assert candidate.provenance["file"] == name
    assert not dropped
    structure = read_structure(tmp_path / name)
    assert structure.volume / len(structure) == pytest.approx(CUAU.get_volume() / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
@pytest.mark.parametrize(
    ("name", "kind"), [("a.cif", "cif"), ("POSCAR", "vasp"), ("c.xyz", "extxyz"), ("e.db", "db")]
)
def test_compressed_files_are_read(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes], name: str, kind: str
) -> None:
    plain = write(tmp_path, name, CUAU, kind)
    (tmp_path / (name + suffix)).write_bytes(pack(plain.read_bytes()))
    found, dropped = read(tmp_path, name + suffix)
    assert [candidate.formula for candidate in found] == ["CuAu"]
    assert not dropped


def test_folders_and_globs_are_searched_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    write(tmp_path / "deep" / "deeper", "b.cif", bulk("Cu"), "cif")
    write(tmp_path / "deep", "a.cif", bulk("Au"), "cif")
    (tmp_path / "deep" / "notes.txt").write_text("no structure")
    (tmp_path / "link.cif").symlink_to(tmp_path / "deep" / "a.cif")
    assert [c.formula for c in read(tmp_path, "deep")[0]] == ["Au", "Cu"]
    assert [c.formula for c in read(tmp_path, "**/*.cif")[0]] == ["Au", "Cu", "Au"]
    assert [c.formula for c in read(tmp_path, "link.cif")[0]] == ["Au"]
    assert [c.formula for c in read(tmp_path, "deep", "deep/a.cif")[0]] == ["Au", "Cu"]


def test_many_frames_and_rows_are_many_candidates(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "many.extxyz", [bulk("Cu"), bulk("Au"), CUAU])
    with ase.db.connect(tmp_path / "many.db") as rows:
        for atoms in (bulk("Cu"), bulk("Ag")):
            rows.write(atoms)
    assert [c.formula for c in read(tmp_path, "many.extxyz", "many.db")[0]] == [
        "Cu", "Au", "CuAu", "Cu", "Ag",
    ]  # fmt: skip


def test_initial_moments_are_kept(tmp_path: Path) -> None:
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments([2.0, -2.0])
    write(tmp_path, "fe.extxyz", iron, "extxyz")
    write(tmp_path, "fe.db", iron, "db")
    for name in ("fe.extxyz", "fe.db"):
        assert read_structure(tmp_path / name).site_properties["magmom"] == [2.0, -2.0]


def test_oxidation_states_of_a_file_are_not_part_of_the_structure(tmp_path: Path) -> None:
    text = write(tmp_path, "a.cif", CUAU, "cif").read_text()
    states = "loop_\n_atom_type_symbol\n_atom_type_oxidation_number\nCu 1\nAu -1\n"
    (tmp_path / "b.cif").write_text(text + states)
    assert read(tmp_path, "a.cif")[0][0].id == read(tmp_path, "b.cif")[0][0].id


def test_one_bad_frame_does_not_lose_the_others(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", [bulk("Cu")], format="extxyz")
    good = (tmp_path / "a.xyz").read_text()
    bad = good.replace("Cu ", "Qq ")
    loose = "1\nProperties=species:S:1:pos:R:3\nCu 0 0 0\n"
    (tmp_path / "b.xyz").write_text(good + bad + loose + good)
    found, dropped = read(tmp_path, "b.xyz")
    assert len(found) == 2
    assert dropped == {"unreadable": 1, "no cell": 1}


def test_rows_that_are_no_crystal_are_counted_drops(tmp_path: Path) -> None:
    with ase.db.connect(tmp_path / "rows.db") as rows:
        rows.write(Atoms("H2", [[0, 0, 0], [0, 0, 0.7]]))
        rows.write(Atoms("X", cell=[3, 3, 3], pbc=True))
        rows.write(Atoms(cell=[3, 3, 3], pbc=True))
        rows.write(bulk("Cu"))
    found, dropped = read(tmp_path, "rows.db")
    assert [c.formula for c in found] == ["Cu"]
    assert dropped == {"no cell": 1, "no species": 1, "no atoms": 1}


def test_a_cut_file_is_a_counted_drop(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "a.xyz", [bulk("Cu"), CUAU], format="extxyz")
    text = (tmp_path / "a.xyz").read_text()
    (tmp_path / "cut.xyz").write_text(text[: text.rindex("\nAu")])
    found, dropped = read(tmp_path, "cut.xyz")
    assert len(found) == 1
    assert dropped == {"cut short": 1}
    packed = gzip.compress(text.encode())
    (tmp_path / "cut.xyz.gz").write_bytes(packed[: len(packed) // 2])
    assert sum(read(tmp_path, "cut.xyz.gz")[1].values()) == 1


def test_shared_sites_are_a_counted_drop(tmp_path: Path) -> None:
    text = write(tmp_path, "a.cif", CUAU, "cif").read_text()
    (tmp_path / "b.cif").write_text(text.replace("1.0000", "0.5000"))
    assert read(tmp_path, "b.cif") == ([], {"partial occupancies": 1})


def test_a_poscar_that_names_no_elements_is_a_counted_drop(tmp_path: Path) -> None:
    lines = write(tmp_path, "POSCAR", CUAU, "vasp").read_text().splitlines()
    del lines[5]
    lines[0] = "no names here"
    (tmp_path / "POSCAR").write_text("\n".join(lines))
    assert read(tmp_path, "POSCAR") == ([], {"no species": 1})


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("CREATE TABLE notes (text)")
    before = (tmp_path / "other.db").read_bytes()
    assert read(tmp_path, "other.db") == ([], {"unreadable": 1})
    assert (tmp_path / "other.db").read_bytes() == before


def test_blank_lines_between_frames_lose_nothing(tmp_path: Path) -> None:
    frame = write(tmp_path, "a.xyz", CUAU, "extxyz").read_text()
    (tmp_path / "b.xyz").write_text(frame + "\n\n" + frame + "\n")
    assert len(read(tmp_path, "b.xyz")[0]) == 2


@pytest.mark.parametrize("name", ["bomb.cif.gz", "POSCAR.xz"])
def test_a_decompression_bomb_is_refused(tmp_path: Path, name: str) -> None:
    pack = gzip.compress if name.endswith("gz") else lzma.compress
    (tmp_path / name).write_bytes(pack(b" " * (readers.MAX_SINGLE + 1)))
    assert read(tmp_path, name) == ([], {"too large": 1})


def test_a_bomb_in_a_database_or_a_long_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_MANY", 100_000)
    (tmp_path / "bomb.db.gz").write_bytes(gzip.compress(b" " * 200_000))
    (tmp_path / "bomb.xyz.gz").write_bytes(gzip.compress(b"2\n" + b" " * 200_000 + b"\n\n\n"))
    assert read(tmp_path, "bomb.db.gz") == ([], {"too large": 1})
    assert read(tmp_path, "bomb.xyz.gz") == ([], {"too large": 1})


def test_an_extended_xyz_that_claims_a_billion_atoms_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1000000000\n\nCu 0 0 0\n")
    assert read(tmp_path, "a.xyz") == ([], {"too large": 1})


@pytest.mark.parametrize("columns", ["3000000000", "3_000_000_000"])
def test_an_extended_xyz_that_claims_a_billion_columns_is_refused(
    tmp_path: Path, columns: str
) -> None:
    comment = f'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:{columns}'
    (tmp_path / "a.xyz").write_text(f"1\n{comment}\nCu 0 0 0\n")
    assert read(tmp_path, "a.xyz") == ([], {"too large": 1})


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.extxyz", "a.db", "a.cif.gz", "a.db.xz"])
@given(content=st.binary(max_size=300))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_bytes_are_counted_drops(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    (folder / name).write_bytes(content)
    found, dropped = read(folder, name)
    assert not found
    assert sum(dropped.values()) <= 1


@pytest.mark.parametrize(("name", "kind"), [("a.cif", "cif"), ("POSCAR", "vasp"),
                                            ("a.xyz", "extxyz")])  # fmt: skip
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_good_file_with_bad_spots_never_raises(
    tmp_path_factory: pytest.TempPathFactory, name: str, kind: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("spots")
    content = bytearray(write(folder, name, CUAU, kind).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(bytes(content))
    for frame in read_frames(folder / name):
        assert isinstance(frame, Unreadable) or len(frame[0])


def test_paths_with_nothing_there_are_refused(tmp_path: Path) -> None:
    for text in ("missing.cif", "none/*.cif", "."):
        with pytest.raises(CandidateError, match="nothing is found at"):
            read(tmp_path, text)


def test_a_file_of_an_unknown_kind_is_a_counted_drop(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    assert read(tmp_path, "a.txt") == ([], {"unknown format": 1})


def test_the_geometry_must_be_declared(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="geometry: this key is needed"):
        FilesSource({"paths": ["."]}, tmp_path)


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "a.cif", CUAU, "cif")
    (candidate,), _ = read(Path(os.sep), "~/a.cif")
    assert candidate.formula == "CuAu"


def test_one_structure_is_asked_for_and_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="no such file"):
        read_structure(tmp_path / "a.cif")
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(CandidateError, match="holds no structure"):
        read_structure(tmp_path / "a.xyz")
