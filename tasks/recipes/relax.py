"""Relaxation of the positions and, unless told otherwise, of the cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa
from pydantic import Field

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.recipes.recipe import Recipe, RecipeOutcome, RecipeSettings, outcome

VOLUME_CHANGE = 3.0
"""Factor of the volume beyond which the structure fell apart or collapsed."""


class RelaxSettings(RecipeSettings):
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

    The cell moves in the logarithm of the deformation gradient
    (``ase.filters.FrechetCellFilter``), in which the gradient is exact.
    """

    name: ClassVar[str] = "relax"
    Settings: ClassVar[type[RelaxSettings]] = RelaxSettings
    settings: RelaxSettings

    @property
    def relaxes_cell(self) -> bool:
        """True unless ``cell: false``."""
        return self.settings.cell

    def run(self, atoms: Atoms, calculator: BaseCalculator, directory: Path) -> RecipeOutcome:
        """Relax ``atoms``; each step is a line of ``relax.log``."""
        atoms.calc = calculator
        start = atoms.get_volume()
        failure: Failure | None = None
        converged = False
        with BFGS(self._moving(atoms), logfile=str(directory / "relax.log")) as optimiser:
            for step in optimiser.irun(fmax=self.settings.fmax, steps=self.settings.max_steps):
                converged, failure = bool(step), _astray(atoms, start)
                if failure:
                    break
            steps = optimiser.nsteps
        if failure is None and not converged:
            failure = self._unfinished(atoms, steps)
        return outcome(atoms, steps, self.settings.pressure, failure)

    def _moving(self, atoms: Atoms) -> Any:
        if not self.settings.cell:
            return atoms
        return FrechetCellFilter(atoms, scalar_pressure=self.settings.pressure * GPa)

    def _unfinished(self, atoms: Atoms, steps: int) -> Failure:
        forces = atoms.get_forces()
        largest = float((forces**2).sum(axis=1).max() ** 0.5)
        return Failure(
            FailureKind.PHYSICS,
            "not-relaxed",
            f"after {steps} steps the largest force is {largest:.3g} eV/Å and cell or positions "
            f"still move; asked for was fmax {self.settings.fmax:g} within "
            f"{self.settings.max_steps} steps",
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
