"""Geometries that a relaxation passed, so that what was cut goes on where it was.

::

    <calculation>/
    ├── attempt-1/geometry.json     the last geometry whose forces were known
    └── attempt-2/geometry.json     … of the attempt that went on from there

The worker imports this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from ase import Atoms

VOLUME_CHANGE = 3.0
"""Factor of the volume beyond which the structure fell apart or collapsed."""
FILE = "geometry.json"


class Trail:
    """The geometries of one attempt, and of those before it.

    Parameters
    ----------
    directory
        Folder of this attempt, ``…-N`` beside those of the others; without one
        nothing is kept and nothing is found.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self.continued_from: dict[str, int] | None = None
        """``attempt`` and ``step`` at which this one began, or None at the start."""

    def resume(self, atoms: Atoms) -> None:
        """Move ``atoms`` to the newest geometry of an earlier attempt, where there is one.

        What is cut short, of other atoms, not finite or of a wild volume is passed over.
        """
        for attempt, file in self._earlier():
            with suppress(OSError, ValueError, TypeError, KeyError):
                step, cell, positions = _read(file, atoms)
                atoms.set_cell(cell)
                atoms.set_positions(positions)
                self.continued_from = {"attempt": attempt, "step": step}
                return

    def mark(self, atoms: Atoms, step: int) -> None:
        """Keep a geometry whose forces are known; the start itself needs no mark.

        A convenience, so no disk that takes no more files fails a calculation here.
        """
        if self.directory is None or step == 0:
            return
        words = json.dumps(
            {
                "step": step,
                "numbers": atoms.numbers.tolist(),
                "cell": atoms.cell.array.tolist(),
                "positions": atoms.positions.tolist(),
            }
        )
        # Nobody else writes here, so one temporary name serves every step.
        temporary = self.directory / f"{FILE}.part"
        with suppress(OSError):
            temporary.write_text(words, encoding="utf-8")
            temporary.replace(self.directory / FILE)

    def _earlier(self) -> Iterator[tuple[int, Path]]:
        """Yield number and file of the attempts before this one, the newest first."""
        if self.directory is None:
            return
        stem, _, own = self.directory.name.rpartition("-")
        if not own.isdecimal():
            return
        for number in range(int(own) - 1, 0, -1):
            yield number, self.directory.with_name(f"{stem}-{number}") / FILE


def _read(file: Path, atoms: Atoms) -> tuple[int, np.ndarray, np.ndarray]:
    """Return step, cell (Å) and positions (Å); ValueError where they can't be of ``atoms``."""
    plain = json.loads(file.read_bytes())
    cell, positions = (np.array(plain[name], dtype=float) for name in ("cell", "positions"))
    if plain["numbers"] != atoms.numbers.tolist() or positions.shape != (len(atoms), 3):
        raise ValueError("of other atoms")
    change = abs(np.linalg.det(cell.reshape(3, 3))) / atoms.get_volume()
    if not np.isfinite(positions).all() or not 1 / VOLUME_CHANGE < change < VOLUME_CHANGE:
        raise ValueError("not finite, or of a volume gone wild")
    return int(plain["step"]), cell, positions
