"""Any file of structures gives candidates or counted drops."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from damage import counted, damaged
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from leadline.tasks.candidates.checks import Checks
from leadline.tasks.candidates.files import FilesSource
from leadline.tasks.crystals import fingerprint
from leadline.tasks.structures import from_plain, to_plain

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
CHECKS = Checks()
CRYSTAL = Structure(
    Lattice.from_parameters(3.9, 4.1, 4.4, 88, 91, 95),
    ["Cu", "Au", "Cu"],
    [[0.0, 0.0, 0.0], [0.5, 0.5, 0.1], [0.5, 0.1, 0.5]],
)


def atoms() -> Atoms:
    cell = bulk("CuAu", "rocksalt", a=5.2)
    cell.set_initial_magnetic_moments([0.5, -0.5])
    cell.info |= {"energy": -3.5, "id": "first", "note": "a b"}
    return cell


def text(kind: str) -> bytes:
    if kind == "cif":
        return str(CRYSTAL.to(fmt="cif")).encode()
    if kind == "poscar":
        return str(CRYSTAL.to(fmt="poscar")).encode()
    file = io.StringIO()
    write(file, [atoms(), atoms()], format="extxyz")
    return file.getvalue().encode()


def outcome(path: Path) -> None:
    """Read a file as a campaign does: what it gives can be computed with, the rest is counted."""
    source = FilesSource({"paths": [path.name], "geometry": "ideal"}, path.parent)
    for candidate in source.generate(np.random.default_rng(0)):
        assert isinstance(candidate.material, Structure)
        if CHECKS.problem(candidate.material) is None:
            assert np.isfinite(fingerprint(candidate.material)).all()
            assert from_plain(to_plain(candidate.material)) is not None
    assert set(source.drops.counts) == set(source.drops.examples)


@pytest.mark.parametrize("kind", ["cif", "poscar", "extxyz"])
def test_a_damaged_text_file_gives_candidates_or_counted_drops(kind: str, folder: Path) -> None:
    good = text(kind)

    @counted(800)
    @given(damaged(good))
    def holds(content: bytes) -> None:
        path = folder / f"some.{kind}"
        path.write_bytes(content)
        outcome(path)

    holds()


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_a_damaged_archive_gives_candidates_or_counted_drops(kind: str, folder: Path) -> None:
    good = PACKERS[kind](text("extxyz"))

    @counted(300)
    @given(damaged(good))
    def holds(content: bytes) -> None:
        path = folder / f"some.extxyz.{kind}"
        path.write_bytes(content)
        outcome(path)

    holds()


def test_a_damaged_ase_database_gives_candidates_or_counted_drops(folder: Path) -> None:
    made = folder / "good.db"
    with ase.db.connect(made) as rows:
        for number in range(3):
            rows.write(atoms(), number=number, data={"a": [1, 2]})
    good = made.read_bytes()

    @counted(700)
    @given(damaged(good))
    def holds(content: bytes) -> None:
        path = folder / "some.db"
        path.write_bytes(content)
        outcome(path)

    holds()


@pytest.mark.parametrize(
    "name", ["a.cif", "POSCAR", "a.extxyz", "a.db", "a.cif.gz", "a.db.xz", "a.xyz.bz2"]
)
def test_any_content_gives_candidates_or_counted_drops(name: str, folder: Path) -> None:
    @counted(100)
    @given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
    def holds(content: bytes) -> None:
        path = folder / name
        path.write_bytes(content)
        outcome(path)

    holds()
