"""A single point: energy, forces and stress of the structure as it is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from leadline.tasks.recipes.recipe import Recipe, RecipeOutcome, RecipeSettings, outcome


class StaticSettings(RecipeSettings):
    """A single point has no settings of its own."""


class Static(Recipe):
    """Energy, forces and stress of the structure as it is."""

    name: ClassVar[str] = "static"
    Settings: ClassVar[type[StaticSettings]] = StaticSettings
    settings: StaticSettings

    @property
    def relaxes_cell(self) -> bool:
        """False: nothing moves."""
        return False

    def run(self, atoms: Atoms, calculator: BaseCalculator, directory: Path) -> RecipeOutcome:
        """Compute ``atoms`` once."""
        atoms.calc = calculator
        return outcome(atoms)
