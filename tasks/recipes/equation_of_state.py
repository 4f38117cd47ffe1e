"""Energy against volume: equilibrium volume, bulk modulus and its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.eos import EquationOfState as AseEquationOfState
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
from leadline.tasks.recipes.relax import RelaxSettings, minimise


class EquationOfStateSettings(RelaxingSettings):
    """Settings of ``equation_of_state``."""

    relax: bool = True
    """Relax cell and positions first; else the volumes lie around the cell as it is."""
    fmax: float = Field(default=0.02, gt=0, le=1)
    """Largest force at the end of each relaxation, eV/Å."""
    max_steps: int = Field(default=200, ge=1)
    """Ionic steps after which a relaxation is given up."""
    span: float = Field(default=0.06, gt=0, le=0.3)
    """Largest change of the volume to either side, as a fraction."""
    points: int = Field(default=7, ge=5, le=25)
    """Volumes, evenly spaced."""


class EquationOfState(Recipe):
    """Fit Birch and Murnaghan's third-order equation of state (Phys. Rev. 71, 809 (1947)).

    The cell keeps its shape, atoms relax at each volume. The answer is the cell in
    the midst, with its energy; a minimum outside of the volumes is none.
    """

    name: ClassVar[str] = "equation_of_state"
    Settings: ClassVar[type[EquationOfStateSettings]] = EquationOfStateSettings
    settings: EquationOfStateSettings

    @property
    def relaxes_cell(self) -> bool:
        """True unless ``relax: false``."""
        return self.settings.relax

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Compute the volumes around ``atoms``."""
        middle = in_equilibrium(atoms, self._how(cell=True), instrument, self.settings.relax)
        if middle.failure is not None:
            return middle
        center = middle.atoms
        assert center.calc is not None
        assert middle.energy is not None
        calculator, answer = center.calc, middle.energy
        scales = 1 + self.settings.span * np.linspace(-1, 1, self.settings.points)
        energies, steps = [], middle.steps
        for scale in scales:
            if np.isclose(scale, 1):
                energies.append(answer)
                continue
            point = self._at(center, scale, calculator, instrument)
            if point.failure is not None or point.energy is None:
                return replace(middle, failure=point.failure)
            energies.append(point.energy)
            steps += point.steps
        return replace(_fitted(middle, center.get_volume() * scales, energies), steps=steps)

    def _how(self, *, cell: bool) -> RelaxSettings:
        chosen = self.settings
        return RelaxSettings(fmax=chosen.fmax, max_steps=chosen.max_steps, cell=cell)

    def _at(
        self, center: Atoms, scale: float, calculator: BaseCalculator, instrument: Instrument
    ) -> RecipeOutcome:
        """Compute the cell at a volume; k-mesh and cutoffs are those of ``center``."""
        atoms = center.copy()
        atoms.set_cell(center.cell * scale ** (1 / 3), scale_atoms=True)
        atoms.calc = calculator
        steps, failure = minimise(atoms, self._how(cell=False), instrument.directory)
        return outcome(atoms, steps, failure=failure)


def in_equilibrium(
    atoms: Atoms, how: RelaxSettings, instrument: Instrument, relax: bool
) -> RecipeOutcome:
    """Return the cell that properties are computed around, with a calculator made for it.

    Relaxed first where ``relax`` says so; ``atoms`` as they are otherwise.
    """
    steps = 0
    if relax:
        atoms.calc = instrument.calculator(atoms)
        steps, failure = minimise(atoms, how, instrument.directory, instrument.trail)
        if failure is not None:
            return outcome(atoms, steps, failure=failure)
    fresh = atoms.copy()
    fresh.calc = instrument.calculator(fresh)
    found = outcome(fresh, steps)
    return replace(found, properties={**found.properties, **instrument.observed()})


def _fitted(middle: RecipeOutcome, volumes: np.ndarray, energies: Sequence[float]) -> RecipeOutcome:
    """Add what the fit gives, or why there is none."""
    count, lowest = len(middle.atoms), int(np.argmin(energies))
    if lowest in (0, len(volumes) - 1):
        return replace(middle, failure=_no_minimum(volumes / count, "the lowest lies at their end"))
    curve = AseEquationOfState(volumes, energies, eos="birchmurnaghan")
    try:
        with np.errstate(invalid="ignore"):
            volume, _, modulus = curve.fit(warn=False)
    except (RuntimeError, ValueError) as error:
        return replace(middle, failure=_no_minimum(volumes / count, f"the fit failed: {error}"))
    if not (volumes.min() < volume < volumes.max() and modulus > 0):
        words = f"the fit has it at {volume / count:.4g} Å^3/atom"
        return replace(middle, failure=_no_minimum(volumes / count, words))
    misfit = curve.func(volumes, *curve.eos_parameters) - np.asarray(energies)
    found = {
        "equilibrium_volume": float(volume) / count,
        "bulk_modulus": float(modulus / GPa),
        "bulk_modulus_derivative": float(curve.eos_parameters[2]),
        "eos_residual": float(np.sqrt(np.mean(misfit**2))) / count,
    }
    return replace(middle, properties={**middle.properties, **found})


def _no_minimum(volumes: np.ndarray, words: str) -> Failure:
    return Failure(
        FailureKind.PHYSICS,
        "no-minimum",
        f"no minimum of the energy between {volumes.min():.4g} and {volumes.max():.4g} Å^3/atom: "
        f"{words}; widen `span`, or relax the cell first",
    )
