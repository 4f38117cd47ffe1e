"""A single point: energy, forces and stress of the structure as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from leadline.tasks.recipes.recipe import Recipe, RecipeOutcome, RecipeSettings, outcome
from leadline.tasks.settings import validated


class StaticSettings(RecipeSettings):
    """A single point has no settings of its own."""


class Static(Recipe):
    """Energy, forces and stress of the structure as it is."""

    name: ClassVar[str] = "static"

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = validated(StaticSettings, settings, "recipe.settings")

    @property
    def relaxes_cell(self) -> bool:
        """False: nothing moves."""
        return False

    def run(self, atoms: Atoms, calculator: BaseCalculator, directory: Path) -> RecipeOutcome:
        """Compute ``atoms`` once."""
        atoms.calc = calculator
        return outcome(atoms)
