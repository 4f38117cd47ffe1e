"""Geometries that a relaxation passed, so that what was cut goes on where it was.

::

    <calculation>/
    ├── attempt-1/begin.json        where a cheap engine had led before the relaxation began
    ├── attempt-1/geometry.json     the last geometry whose forces were known
    └── attempt-2/geometry.json     … of the attempt that went on from there

The worker imports this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

VOLUME_CHANGE = 3.0
"""Factor of the volume beyond which the structure fell apart or collapsed."""
FILE = "geometry.json"
BEGIN = "begin.json"
Geometry = tuple[dict[str, Any], NDArray[np.float64], NDArray[np.float64]]
"""What a file says, and of that the cell and the positions, Å."""


class Trail:
    """The geometries of one attempt, and of those before it.

    Parameters
    ----------
    directory
        Folder of this attempt, ``…-N`` beside those of the others; without one
        nothing is kept and nothing is found.
    since
        Number of the first attempt whose geometries are used.
    """

    def __init__(self, directory: Path | None = None, since: int = 1) -> None:
        self.directory = directory
        self.since = since
        self.continued_from: dict[str, int] | None = None
        """``attempt`` and ``step`` at which this one began, or None at the start."""
        self.prerelaxed: dict[str, Any] | None = None
        """How a cheap engine relaxed the start, or None."""

    def resume(self, atoms: Atoms) -> None:
        """Move ``atoms`` to the newest geometry of an earlier attempt, where there is one.

        What is cut short, of other atoms, not finite or of a wild volume is passed over.
        """
        for attempt, (plain, cell, positions) in self._earlier(FILE, atoms):
            atoms.set_cell(cell)
            atoms.set_positions(positions)
            self.continued_from = {"attempt": attempt, "step": int(plain["step"])}
            return

    def mark(self, atoms: Atoms, step: int) -> None:
        """Keep a geometry whose forces are known; the start itself needs no mark."""
        if step:
            self._keep(FILE, atoms, {"step": step})

    def begun(self, atoms: Atoms) -> bool:
        """Move ``atoms`` to where an earlier attempt began; True if one left anything to use."""
        for _, (plain, cell, positions) in self._earlier(BEGIN, atoms):
            if isinstance(evidence := plain.get("prerelaxed"), dict):
                atoms.set_cell(cell)
                atoms.set_positions(positions)
                self.prerelaxed = evidence
                return True
        return next(self._earlier(FILE, atoms), None) is not None

    def begin(self, atoms: Atoms, prerelaxed: Mapping[str, Any]) -> None:
        """Keep where a cheap engine led, and how, so that no later attempt needs it again."""
        self.prerelaxed = dict(prerelaxed)
        self._keep(BEGIN, atoms, {"step": 0, "prerelaxed": self.prerelaxed})

    def _keep(self, name: str, atoms: Atoms, words: Mapping[str, Any]) -> None:
        """Write a file; a convenience, so no full disk fails a calculation here."""
        if self.directory is not None:
            with suppress(OSError):
                write_geometry(self.directory / name, atoms, words)

    def _earlier(self, name: str, atoms: Atoms) -> Iterator[tuple[int, Geometry]]:
        """Yield the attempts before this one whose file can be used, the newest first."""
        if self.directory is None:
            return
        stem, _, own = self.directory.name.rpartition("-")
        if not own.isdecimal():
            return
        for number in range(int(own) - 1, self.since - 1, -1):
            with suppress(OSError, ValueError, TypeError, KeyError):
                yield (
                    number,
                    read_geometry(self.directory.with_name(f"{stem}-{number}") / name, atoms),
                )


def write_geometry(file: Path, atoms: Atoms, words: Mapping[str, Any]) -> None:
    """Write a geometry and what is to be said of it, whole or not at all."""
    plain = {
        "numbers": atoms.numbers.tolist(),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
    }
    # Nobody else writes here, so one temporary name serves every step.
    temporary = file.with_name(f"{file.name}.part")
    temporary.write_text(json.dumps({**words, **plain}, allow_nan=False), encoding="utf-8")
    temporary.replace(file)


def read_geometry(file: Path, atoms: Atoms) -> Geometry:
    """Read a geometry of ``atoms``; ValueError, TypeError or KeyError where it can't be one."""
    plain = json.loads(file.read_bytes(), parse_constant=_refuse)
    cell, positions = (np.array(plain[name], dtype=float) for name in ("cell", "positions"))
    if plain["numbers"] != atoms.numbers.tolist() or positions.shape != (len(atoms), 3):
        raise ValueError("of other atoms")
    change = abs(np.linalg.det(cell.reshape(3, 3))) / atoms.get_volume()
    if not np.isfinite(positions).all() or not 1 / VOLUME_CHANGE < change < VOLUME_CHANGE:
        raise ValueError("not finite, or of a volume gone wild")
    plain["step"] = int(plain["step"])
    return plain, cell, positions


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no finite number")
