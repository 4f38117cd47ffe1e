"""A single point: energy, forces and stress of the structure as it is."""

from __future__ import annotations

from typing import ClassVar

from ase import Atoms

from leadline.tasks.recipes.recipe import (
    Instrument,
    Recipe,
    RecipeOutcome,
    outcome,
)
from leadline.tasks.recipes.recipe_settings import RecipeSettings


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

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Compute ``atoms`` once."""
        atoms.calc = instrument.calculator(atoms)
        return outcome(atoms)
