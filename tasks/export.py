"""The answers of a campaign as files that other programs read.

``extxyz`` and ``ase-db`` hold the structure at the end of each calculation, with its
energy, forces and stress where ASE looks for them. ``cif`` is a folder: one file a
structure, and ``index.json`` with all numbers. ``json`` holds everything. Each is
written under a temporary name and renamed: no half-written export is ever seen.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from pymatgen.io.cif import CifWriter

from leadline.tasks.engines.atoms import to_atoms
from leadline.tasks.errors import InputError, WriteError
from leadline.tasks.structures import from_plain
from leadline.tasks.writing import explained_writing

Plain = Mapping[str, Any]

VERSION = 1
UNITS = {
    "lattice": "Å",
    "coords": "fractions of the lattice vectors",
    "energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å^3, Voigt order xx yy zz yz xz xy",
    "formation_energy": "eV/atom",
    "energy_above_hull": "eV/atom",
}


@dataclass(frozen=True)
class ExportRow:
    """One finished calculation.

    Parameters
    ----------
    structure, calculation
        Ids.
    formula
        Reduced formula.
    initial, final
        Plain forms (``tasks/structures.py``) before and after; None for ``final``
        where nothing moved.
    energy, forces, stress
        Of the final structure: eV, eV/Å [n][3], eV/Å^3 in Voigt order [6].
    formation_energy, energy_above_hull
        eV/atom, None where the campaign knows no hull.
    properties
        Named numbers in the units of the recipe.
    engine, fingerprint, recipe
        What computed it.
    round
        Round that proposed it, or None.
    provenance
        Where the structure came from; plain JSON values.
    changed
        What a remedy changed of the engine's settings, which the fingerprint then says
        too; '' where the campaign's own gave the answer.
    """

    structure: str
    calculation: str
    formula: str
    initial: Plain
    final: Plain | None
    energy: float
    forces: Sequence[Sequence[float]] | None = None
    stress: Sequence[float] | None = None
    formation_energy: float | None = None
    energy_above_hull: float | None = None
    properties: Mapping[str, float] = field(default_factory=dict)
    engine: str = ""
    fingerprint: str = ""
    recipe: str = ""
    round: int | None = None
    provenance: Plain = field(default_factory=dict)
    changed: str = ""

    @property
    def structure_at_end(self) -> Plain:
        """The structure that the energy belongs to."""
        return self.final or self.initial


def export_campaign(rows: Iterable[ExportRow], format: str, path: Path) -> int:
    """Write rows to ``path`` and return how many they were.

    Parameters
    ----------
    rows
        What to write, in this order.
    format
        ``extxyz``, ``ase-db``, ``cif`` or ``json``.
    path
        A file, replaced if it is there; for ``cif`` a folder that is not there yet.

    Raises
    ------
    InputError
        If the format is not known, there is nothing to write, the folder of the
        path is missing, or the folder for ``cif`` is taken.
    WriteError
        If the disk is full, or the folder may not be written to.
    """
    writer = FORMATS.get(format)
    if writer is None:
        raise InputError(f"format {format!r} is not known; allowed are {', '.join(FORMATS)}")
    all_rows = list(rows)
    if not all_rows:
        raise InputError("there is nothing to export: no calculation has an answer yet")
    _check_place(path, folder=format == "cif")
    with explained_writing(path):
        room = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            written = room / f"export{path.suffix}"
            with _explained_database(path):
                writer(all_rows, written)
            _sync(written)
            written.replace(path)
        finally:
            shutil.rmtree(room, ignore_errors=True)
    return len(all_rows)


@contextmanager
def _explained_database(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a disk into an error for people: it is no OSError."""
    try:
        yield
    except sqlite3.Error as error:
        raise WriteError(
            f"{path} cannot be written: {error}; free some space, and run again"
        ) from error


def _sync(written: Path) -> None:
    for each in [*written.iterdir()] if written.is_dir() else [written]:
        with each.open("rb+") as file:
            os.fsync(file.fileno())


def _check_place(path: Path, folder: bool) -> None:
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} is not there; make it, or name another")
    if path.is_dir() and (not folder or any(path.iterdir())):
        raise InputError(f"{path} is a folder with files in it; name a path that is free")
    if folder and path.is_file():
        raise InputError(f"{path} is a file and cif writes a folder; name a path that is free")


def _write_extxyz(rows: Sequence[ExportRow], path: Path) -> None:
    frames = [_atoms(row) for row in rows]
    for atoms, row in zip(frames, rows, strict=True):
        flat = {name: value for name, value in _data(row).items() if _is_flat(value)}
        # A formula would be read as a number (NaN) or a truth (F); the atoms have it.
        atoms.info |= {name: value for name, value in flat.items() if name != "formula"}
        # ASE's reader takes a backslash away and its writer does not double it.
        provenance = json.dumps(row.provenance, sort_keys=True)
        atoms.info["provenance"] = provenance.replace("\\", "\\\\")
    write(path, frames, format="extxyz")


def _write_ase_db(rows: Sequence[ExportRow], path: Path) -> None:
    # The type is given: the path's suffix is the user's own.
    with connect(path, type="db", use_lock_file=False) as database:
        for row in rows:
            database.write(_atoms(row), key_value_pairs=_searchable(row), data=_data(row))


def _write_cif(rows: Sequence[ExportRow], path: Path) -> None:
    path.mkdir()
    for number, row in enumerate(rows, start=1):
        text = str(CifWriter(from_plain(row.structure_at_end)))
        name = f"{number:05d}-{row.formula}.cif"
        (path / name).write_text(_comments(row) + text, encoding="utf-8")
    _write_json(rows, path / "index.json")


def _write_json(rows: Sequence[ExportRow], path: Path) -> None:
    content = {
        "format": "leadline-export",
        "version": VERSION,
        "units": UNITS,
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


FORMATS: dict[str, Callable[[Sequence[ExportRow], Path], None]] = {
    "extxyz": _write_extxyz,
    "ase-db": _write_ase_db,
    "cif": _write_cif,
    "json": _write_json,
}


def _atoms(row: ExportRow) -> Atoms:
    """Return the final structure with its results where ASE looks for them."""
    atoms = to_atoms(row.structure_at_end)
    results = {"energy": row.energy, "forces": row.forces, "stress": row.stress}
    atoms.calc = SinglePointCalculator(
        atoms, **{name: value for name, value in results.items() if value is not None}
    )
    return atoms


def _data(row: ExportRow) -> dict[str, Any]:
    """Return all of a row that is not in the atoms; its properties by their own names."""
    held = {"final", "energy", "forces", "stress", "properties"}
    plain = {name: value for name, value in asdict(row).items() if name not in held}
    return {f"property_{name}": value for name, value in row.properties.items()} | plain


def _is_flat(value: Any) -> bool:
    return isinstance(value, str | int | float) and value != ""


def _searchable(row: ExportRow) -> dict[str, Any]:
    """Return what a selection in an ASE database may ask for."""
    values = {
        "structure_id": row.structure,
        "calculation_id": row.calculation,
        "fingerprint": row.fingerprint,
        "recipe": row.recipe,
        "engine": row.engine,
        "formation_energy": row.formation_energy,
        "energy_above_hull": row.energy_above_hull,
        "round": row.round,
        "changed": row.changed,
    }
    return {name: value for name, value in values.items() if _is_flat(value) and _is_word(value)}


def _is_word(value: Any) -> bool:
    """Return False for text that reads as a number or a truth: ASE's database refuses it."""
    if not isinstance(value, str):
        return True
    with suppress(ValueError):
        float(value)
        return False
    return value not in {"True", "False"}


def _comments(row: ExportRow) -> str:
    numbers = {
        "energy (eV)": row.energy,
        "formation energy (eV/atom)": row.formation_energy,
        "energy above hull (eV/atom)": row.energy_above_hull,
        "structure": row.structure,
        "calculation": row.calculation,
        "computed with": row.changed or None,
    }
    lines = [f"# {name}: {value}" for name, value in numbers.items() if value is not None]
    return "\n".join(lines) + "\n"
