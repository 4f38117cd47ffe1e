"""Relaxation, then a single point of the final cell with k-mesh and basis made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ase import Atoms

from leadline.tasks.recipes.recipe import Instrument, RecipeOutcome, outcome
from leadline.tasks.recipes.relax import Relax, minimise


class RelaxStatic(Relax):
    """Relax, then compute the final cell afresh: that energy is the answer.

    While a cell relaxes, its plane waves and k-points are those of the start, so
    that energies compare on the way; those of different cells compare better once
    each has its own. The stress that is left then shows what that changed.
    """

    name: ClassVar[str] = "relax+static"

    def run(self, atoms: Atoms, instrument: Instrument) -> RecipeOutcome:
        """Relax ``atoms``, and compute them once more."""
        atoms.calc = instrument.calculator(atoms)
        steps, failure = minimise(atoms, self.settings, instrument.directory, instrument.trail)
        relaxed = outcome(atoms, steps, self.settings.pressure, failure)
        if relaxed.failure is not None:
            return relaxed
        fresh = atoms.copy()
        fresh.calc = instrument.calculator(fresh)
        found = outcome(fresh, steps, self.settings.pressure)
        change = found.properties["energy_per_atom"] - relaxed.properties["energy_per_atom"]
        return replace(found, properties={**found.properties, "fresh_basis_change": change})
