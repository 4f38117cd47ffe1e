"""Structures from files: CIF, POSCAR, extended XYZ, ASE databases, compressed or not.

Files are a stranger's: each reader either yields structures or says in one line
why not, within bounded memory, and never runs anything that a file names.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import ase.db
import numpy as np
from ase import Atoms
from ase.io.extxyz import read_xyz
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifParser
from pymatgen.io.vasp import Poscar

from leadline.tasks.errors import CandidateError

MAX_SINGLE = 16 << 20
"""Bytes of a file with one or a few structures (CIF, POSCAR), or of one frame, decompressed."""
MAX_MANY = 4 << 30
"""Bytes of a file with many structures (extended XYZ, ASE database), decompressed."""
MAX_NUMBER = 1e6
"""Å of a lattice vector, and cells of a coordinate: what is larger, or no number, is no crystal."""
_WIDE = re.compile(r":\s*([\d_+]{4,})")
"""Within the properties of an extended XYZ: a thousand columns or more."""
MAX_FIRST_LINE = 80
MAX_FRAME_SITES = 100_000

OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
FORMATS = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".db": "ase-db",
}


class Unreadable(Exception):  # noqa: N818 - a finding about a file, caught by each caller
    """A file, or one structure of it, cannot be used; the text says why.

    ``reason`` is a short stable name to count by.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


Frame = tuple[Structure, dict[str, Any]] | Unreadable
"""A structure with what its file says about it, or why there is none."""


def file_format(path: Path) -> str | None:
    """Return ``cif``, ``poscar``, ``extxyz`` or ``ase-db`` by the name, or None."""
    name = path.name
    if path.suffix.lower() in OPENERS:
        name = path.stem
    if name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return FORMATS.get(Path(name).suffix.lower())


def read_frames(path: Path) -> Iterator[Frame]:
    """Yield every structure of a file with its info, or why one cannot be used.

    Warnings of the parsers are taken in: what they would warn of and still
    return is checked like any other candidate.
    """
    readers = {"cif": _cif, "poscar": _poscar, "extxyz": _extxyz, "ase-db": _database}
    kind = file_format(path)
    if kind is None:
        yield Unreadable("unknown format", f"{path.name}: known are {', '.join(FORMATS)}, POSCAR")
        return
    frames = readers[kind](path)
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                frame = _finite(next(frames, None), path)
            except Unreadable as problem:
                frame, frames = problem, iter(())
            except Exception as error:  # a parser may fail in any way on a stranger's bytes
                frame, frames = _unreadable(path, error), iter(())
        if frame is None:
            return
        yield frame


def read_structure(path: Path) -> Structure:
    """Return the first structure of a file.

    Raises
    ------
    CandidateError
        If the file is not there or holds no structure that can be used.
    """
    if not path.is_file():
        raise CandidateError(f"{path}: no such file")
    frame = next(read_frames(path), Unreadable("empty", f"{path.name} holds no structure"))
    if isinstance(frame, Unreadable):
        raise CandidateError(f"{path}: {frame.reason}: {frame}; give a CIF, POSCAR or extended XYZ")
    return frame[0]


def _finite(frame: Frame | None, path: Path) -> Frame | None:
    """Return a frame, or why its numbers are none that one could compute with."""
    if not isinstance(frame, tuple):
        return frame
    numbers = (frame[0].lattice.matrix, frame[0].frac_coords)
    if all((np.abs(each) < MAX_NUMBER).all() for each in numbers):  # False for nan, too
        return frame
    return Unreadable("absurd numbers", f"{path.name}: a lattice vector or a coordinate")


def _unreadable(path: Path, error: Exception) -> Unreadable:
    words = " ".join(str(error).split())[:200]
    return Unreadable("unreadable", f"{path.name}: {type(error).__name__}: {words}")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    opener = OPENERS.get(path.suffix.lower())
    with opener(path) if opener else path.open("rb") as file:
        yield cast(BinaryIO, file)


def _text(path: Path) -> str:
    with _opened(path) as file:
        content = file.read(MAX_SINGLE + 1)
    if len(content) > MAX_SINGLE:
        raise Unreadable("too large", f"{path.name} holds more than {MAX_SINGLE >> 20} MiB")
    return content.decode("utf-8", errors="replace")


def _cif(path: Path) -> Iterator[Frame]:
    for structure in CifParser(io.StringIO(_text(path))).parse_structures(primitive=False):
        yield _usable(structure, path.name), {}


def _poscar(path: Path) -> Iterator[Frame]:
    poscar = Poscar.from_str(_text(path), read_velocities=False)
    if not poscar.true_names:
        raise Unreadable("no species", f"{path.name} names no elements on its sixth line")
    yield _usable(poscar.structure, path.name), {}


def _usable(structure: Structure, name: str) -> Structure:
    if not structure.is_ordered:
        raise Unreadable("partial occupancies", f"{name}: sites are shared by species")
    return Structure(
        structure.lattice,
        [site.specie.symbol for site in structure],
        structure.frac_coords,
    )


def _extxyz(path: Path) -> Iterator[Frame]:
    with _opened(path) as file:
        number = 0
        while (block := _frame(file, path)) is not None:
            where = f"{path.name}, frame {number}"
            try:
                yield _parsed(block, where)
            except Unreadable as problem:
                yield problem
            number += 1


def _frame(file: BinaryIO, path: Path) -> str | None:
    """Return the text of the next frame, or None at the end."""
    start = file.tell()
    first = file.readline(MAX_FIRST_LINE)
    while first and not first.strip():
        first = file.readline(MAX_FIRST_LINE)
    if not first:
        return None
    sites = int(first)
    if not 0 < sites <= MAX_FRAME_SITES:
        raise Unreadable("too large", f"{path.name}: a frame of {sites} atoms")
    lines = [first]
    for _ in range(sites + 1):
        lines.append(file.readline(MAX_SINGLE))
        if not lines[-1]:
            raise Unreadable("cut short", f"{path.name} ends inside a frame")
        if file.tell() - start > MAX_SINGLE or file.tell() > MAX_MANY:
            raise Unreadable("too large", f"{path.name}, or one frame of it")
    return b"".join(lines).decode("utf-8", errors="replace")


def _parsed(block: str, where: str) -> Frame:
    if wide := _WIDE.search(block.split("\n", 2)[1]):
        # ASE makes room for as many columns as the frame says that it has, for each atom.
        return Unreadable("too large", f"{where}: Properties of {wide[1][:20]} columns")
    try:
        atoms = next(read_xyz(io.StringIO(block), slice(0, 1)))
    except Exception as error:  # as above: one bad frame must not lose the others
        return Unreadable("unreadable", f"{where}: {type(error).__name__}: {error}")
    # ASE takes its own keys out of the info: the energy is with the calculator then.
    results = atoms.calc.results if atoms.calc else {}
    energy = {"energy": float(results["energy"])} if "energy" in results else {}
    return structure_from_atoms(atoms, where), {**energy, **atoms.info}


def _database(path: Path) -> Iterator[Frame]:
    with tempfile.TemporaryDirectory() as folder:
        local = path
        if path.suffix.lower() in OPENERS:
            local = Path(folder) / "rows.db"
            _decompress(path, local)
        _refuse_other_databases(local, path.name)
        for row in ase.db.connect(local, type="db", use_lock_file=False).select():
            atoms = Atoms(row.numbers, row.positions, cell=row.cell, pbc=row.pbc)
            if "initial_magmoms" in row:
                atoms.set_initial_magnetic_moments(row.initial_magmoms)
            try:
                frame = structure_from_atoms(atoms, f"{path.name}, row {row.id}")
                energy = {"energy": row.energy} if "energy" in row else {}
                yield frame, {"row": int(row.id), **energy, **row.key_value_pairs}
            except Unreadable as problem:
                yield problem


def _refuse_other_databases(path: Path, name: str) -> None:
    """Look before ASE opens it: ASE adds its tables to a database that has none."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        query = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'systems'"
        if not database.execute(query).fetchone()[0]:
            raise Unreadable("unreadable", f"{name} is a database, and not one of ASE's")


def _decompress(path: Path, target: Path) -> None:
    with _opened(path) as source, target.open("wb") as sink:
        shutil.copyfileobj(_Limited(source, path.name), sink)


class _Limited:
    """A reader that refuses to give more than ``MAX_MANY`` bytes."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name, self.left = file, name, MAX_MANY

    def read(self, size: int = -1) -> bytes:
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise Unreadable("too large", f"{self.name} holds more than {MAX_MANY >> 30} GiB")
        return content


def structure_from_atoms(atoms: Atoms, where: str) -> Structure:
    """Return ASE's atoms as a periodic structure, initial moments included.

    Raises
    ------
    Unreadable
        If there is no atom, no cell with a volume, or no element.
    """
    if not len(atoms):
        raise Unreadable("no atoms", f"{where} is empty")
    if not np.isfinite(atoms.cell.array).all() or abs(atoms.cell.volume) < 1e-6:
        raise Unreadable("no cell", f"{where} has no cell with a volume")
    if not (atoms.numbers > 0).all():
        raise Unreadable("no species", f"{where} has an atom that is no element")
    moments = atoms.get_initial_magnetic_moments()
    properties = {"magmom": moments.tolist()} if np.any(moments) and moments.ndim == 1 else {}
    return Structure(
        Lattice(atoms.cell.array),
        atoms.get_chemical_symbols(),
        atoms.get_scaled_positions(wrap=False),
        site_properties=properties,
    )
