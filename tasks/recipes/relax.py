"""Relaxation of the positions and, unless told otherwise, of the cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa
from pydantic import Field

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.recipes.recipe import (
    Instrument,
    Recipe,
    RecipeOutcome,
    outcome,
)
from leadline.tasks.recipes.recipe_settings import RelaxingSettings
from leadline.tasks.recipes.trail import VOLUME_CHANGE, Trail

NOT_RELAXED = "not-relaxed"
"""Reason of a relaxation that ran out of steps: going on from there may end it."""
RAN_AWAY = frozenset({"not-finite", "cell-fell-apart"})
"""Reasons of a relaxation that went where no geometry on its way is worth anything."""


class RelaxSettings(RelaxingSettings):
    """Settings of ``relax``."""

    fmax: float = Field(default=0.02, gt=0, le=1)
    """Largest force at the end, eV/Å; for the cell, eV per atom and unit strain."""
    max_steps: int = Field(default=200, ge=1)
    """Ionic steps after which it is given up."""
    cell: bool = True
    """Relax lattice and volume too."""
    pressure: float = 0.0
    """GPa, held while the cell relaxes."""


class Relax(Recipe):
    """Minimise the energy by BFGS over positions and cell.

    The k-mesh and basis stay those of the start, so that energies compare on the
    way. What an earlier attempt reached is gone on from, with them.
    """

    name: ClassVar[str] = "relax"
    Settings: ClassVar[type[RelaxSettings]] = RelaxSettings
    settings: RelaxSettings

    @property
    def relaxes_cell(self) -> bool:
        """True unless ``cell: false``."""
        return self.settings.cell

    @property
    def pressure(self) -> float:
        """GPa that the cell is relaxed to."""
        return self.settings.pressure

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Relax ``atoms``; each step is a line of ``relax.log``."""
        atoms.calc = instrument.calculator(atoms)
        steps, failure = minimise(atoms, self.settings, instrument.directory, instrument.trail)
        return outcome(atoms, steps, self.settings.pressure, failure)


def minimise(
    atoms: Atoms, how: RelaxSettings, directory: Path, trail: Trail | None = None
) -> tuple[int, Failure | None]:
    """Move ``atoms`` to a minimum of the energy of their calculator.

    The cell moves in the logarithm of the deformation gradient
    (``ase.filters.FrechetCellFilter``), in which the gradient is exact.

    Returns
    -------
    tuple[int, Failure | None]
        Steps taken, and why this is no minimum, or None.
    """
    start, trail = atoms.get_volume(), trail or Trail()
    trail.resume(atoms)
    failure: Failure | None = None
    converged = False
    moving: Any = atoms
    if how.cell:
        moving = FrechetCellFilter(atoms, scalar_pressure=how.pressure * GPa)
    with BFGS(moving, logfile=str(directory / "relax.log")) as optimiser:
        for step in optimiser.irun(fmax=how.fmax, steps=how.max_steps):
            converged, failure = bool(step), _astray(atoms, start)
            if failure:
                break
            trail.mark(atoms, optimiser.nsteps)
        steps = optimiser.nsteps
    if failure is None and not converged:
        failure = _unfinished(atoms, how, steps)
    return steps, failure


def _unfinished(atoms: Atoms, how: RelaxSettings, steps: int) -> Failure:
    largest = float((atoms.get_forces() ** 2).sum(axis=1).max() ** 0.5)
    return Failure(
        FailureKind.PHYSICS,
        NOT_RELAXED,
        f"after {steps} steps the largest force is {largest:.3g} eV/Å and cell or positions "
        f"still move; asked for was fmax {how.fmax:g} within {how.max_steps} steps",
    )


def _astray(atoms: Atoms, start: float) -> Failure | None:
    """Say why no further step makes sense: numbers that are none, or a volume gone wild."""
    if not np.isfinite(atoms.get_forces()).all():
        return Failure(FailureKind.PHYSICS, "not-finite", "the engine gave no finite forces")
    now = atoms.get_volume()
    if start / VOLUME_CHANGE < now < start * VOLUME_CHANGE:
        return None
    return Failure(
        FailureKind.PHYSICS,
        "cell-fell-apart",
        f"the volume went from {start:.4g} to {now:.4g} Å^3, more than a factor {VOLUME_CHANGE:g}",
    )
