"""A structure is relaxed by a cheap engine before the campaign's own engine starts.

It saves ionic steps of the expensive one, and never costs an answer: the cheap
engine runs in a process of its own, so that neither its crash nor its memory is
the calculation's, and what it made worse is dropped. Only one that is set up wrong
on this machine fails the calculation, as the campaign's own would.

The worker imports this module: neither prefect nor mongoengine nor torch here.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from ase import Atoms
from ase.units import GPa

from leadline.tasks.calculation import Failure, FailureKind, Request
from leadline.tasks.candidates.checks import Checks
from leadline.tasks.engines.aftermath import failure_of, remove_scratch
from leadline.tasks.engines.atoms import moved
from leadline.tasks.engines.engine import Engine
from leadline.tasks.engines.requested import requested_prerelaxer
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.match import has_symmetry, left_prototype
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.recipes.relax import RAN_AWAY, RelaxSettings, minimise
from leadline.tasks.recipes.trail import Trail, read_geometry, write_geometry
from leadline.tasks.structures import from_plain

FOLDER = "prerelax"
"""Of the cheap engine's files, in that of the campaign's own."""
REACHED, END = "reached.json", "end.json"
"""Files there: the best geometry so far, and how it ended."""
SHARE = 0.25
"""Of the time that a calculation has, what a cheap engine may take: more would not be cheap."""
PATIENCE = 1.2
"""Times its share, after which it is ended in the midst of a step."""
VOLUME_CHANGE = 2.0
"""Factor beyond which no cheap engine is believed.

Cells as they are built, by Vegard's law or from radii, are off by tens of per
cent. At twice or half the volume another kind of bonding begins, and a potential
that gets there has left what it was fitted to.
"""
OUT_OF_TIME = Failure(
    FailureKind.REMOTE,
    "out-of-time",
    f"it took {SHARE:.0%} of the time that a calculation may take",
)


class _OutOfTimeError(Exception):
    """A cheap engine used up its share."""


def prerelax(atoms: Atoms, request: Request, steps: Recipe, raw: Path, trail: Trail) -> None:
    """Move ``atoms`` to where the cheap engine of the recipe leads, and note how in ``trail``.

    Nothing is computed where no such engine is asked for, or an earlier attempt did
    it already, left a geometry to go on from, or failed where it had led.

    Raises
    ------
    ConfigurationError
        If the cheap engine is set up wrong on this machine.
    """
    cheap, asked = requested_prerelaxer(request), steps.prerelax
    if cheap is None or asked is None or request.since > 1 or trail.begun(atoms):
        return
    how = RelaxSettings(
        fmax=asked.fmax, max_steps=asked.max_steps, cell=steps.relaxes_cell, pressure=steps.pressure
    )
    folder, began = raw / FOLDER, time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        failure = _run(cheap, atoms, how, folder, request.time_limit)
    finally:
        remove_scratch(cheap, folder)
    found = _take(atoms, request, folder, failure)
    whose = {"engine": cheap.name, "attempt": request.attempt}
    trail.begin(atoms, {**whose, **found, "seconds": time.monotonic() - began})


def _run(
    cheap: Engine, atoms: Atoms, how: RelaxSettings, folder: Path, time_limit: float | None
) -> Failure | None:
    """Relax a copy of ``atoms`` in a process of its own; return why it did not converge."""
    seconds = None if time_limit is None else SHARE * time_limit
    cheap.deadline = None if seconds is None else time.monotonic() + seconds
    # Forked, which costs milliseconds: the thread that watches memory has nothing it would need.
    process = multiprocessing.get_context("fork").Process(
        target=_relax, args=(cheap, atoms.copy(), how, folder)
    )
    process.start()
    process.join(None if seconds is None else PATIENCE * seconds)
    if process.is_alive():
        _kill(process)
        return OUT_OF_TIME
    end = _end(folder, process.exitcode)
    if end is not None and end.kind is FailureKind.CONFIGURATION:
        raise ConfigurationError(f"recipe.prerelax.engine: {end.message}")
    return end


def _relax(cheap: Engine, atoms: Atoms, how: RelaxSettings, folder: Path) -> None:
    """Relax ``atoms``, keep the best geometry in ``folder``, and how it ended beside it."""
    progress = _Progress(folder, how.pressure, cheap.deadline)
    try:
        atoms.calc = cheap.calculator(atoms, folder)
        steps, failure = minimise(atoms, how, folder, progress)
        if failure is None:
            progress.keep(atoms, steps)
    except _OutOfTimeError:
        failure = OUT_OF_TIME
    except Exception as error:
        failure = failure_of(cheap, error, folder)
    plain = None if failure is None else failure.to_plain()
    (folder / END).write_text(json.dumps(plain), encoding="utf-8")


class _Progress(Trail):
    """Keeps the geometry of the lowest enthalpy, and ends what takes too long."""

    def __init__(self, folder: Path, pressure: float, deadline: float | None) -> None:
        super().__init__()
        self._file, self._pressure, self._deadline = folder / REACHED, pressure * GPa, deadline
        self._lowest = math.inf

    def mark(self, atoms: Atoms, step: int) -> None:
        """Keep the geometry if it is the best so far."""
        enthalpy = atoms.get_potential_energy() + self._pressure * atoms.get_volume()
        if enthalpy < self._lowest:
            self._lowest = enthalpy
            self.keep(atoms, step)
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise _OutOfTimeError

    def keep(self, atoms: Atoms, step: int) -> None:
        """Write the geometry down."""
        largest = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        write_geometry(self._file, atoms, {"step": step, "largest_force": largest})


def _end(folder: Path, code: int | None) -> Failure | None:
    """Return what the process said of its end, or that it said nothing."""
    try:
        plain = json.loads((folder / END).read_bytes())
    except (OSError, ValueError):
        how = f"signal {-code}" if code and code < 0 else f"status {code}"
        return Failure(FailureKind.PHYSICS, "engine-crashed", f"its process ended with {how}")
    return None if plain is None else Failure.from_plain(plain)


def _take(atoms: Atoms, request: Request, folder: Path, failure: Failure | None) -> dict[str, Any]:
    """Move ``atoms`` to what was reached, unless it is to be dropped; return the evidence."""
    why = "" if failure is None else failure.message
    try:
        plain, cell, positions = read_geometry(folder / REACHED, atoms)
    except (OSError, ValueError, TypeError, KeyError):
        return {"end": "dropped", "why": why or "it left no geometry", "steps": 0}
    found = {"steps": plain["step"], "largest_force": plain["largest_force"]}
    reached = atoms.copy()
    reached.set_cell(cell)
    reached.set_positions(positions)
    found["volume_change"] = float(reached.get_volume() / atoms.get_volume()) - 1
    ran_away = failure is not None and (failure.reason in RAN_AWAY or not plain["step"])
    if dropped := why if ran_away else _astray(request, reached):
        return {"end": "dropped", "why": dropped, **found}
    atoms.set_cell(cell)
    atoms.set_positions(positions)
    return {"end": "converged" if failure is None else "unfinished", "why": why, **found}


def _astray(request: Request, reached: Atoms) -> str:
    """Say why a geometry is no place to start from, or ''."""
    start, now = (
        from_plain(each) for each in (request.structure, moved(request.structure, reached))
    )
    change = now.volume / start.volume
    if not 1 / VOLUME_CHANGE < change < VOLUME_CHANGE:
        return (
            f"the volume changed to {change:.2f} of what it was, beyond a factor {VOLUME_CHANGE:g}"
        )
    if problem := Checks(max_sites=len(now)).problem(now):
        return ": ".join(problem)
    # Without symmetry there is no prototype's to leave: it may be found.
    return left_prototype(start, now, symmetry=has_symmetry(start)) or ""


def _kill(process: BaseProcess) -> None:
    """Kill a process with all that it started."""
    with suppress(psutil.Error):  # whatever of it ends by itself this moment
        for each in psutil.Process(process.pid).children(recursive=True):
            each.kill()
    process.kill()
    process.join()
