"""Effective medium theory by ASE: metals in milliseconds, for demonstrations and tests."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import ase
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from pydantic import Field

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import Engine, EngineSettings
from leadline.tasks.errors import ConfigurationError

METALS = frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"})
"""Elements that the parameters of Jacobsen, Stoltze and Nørskov were made for.

ASE has entries for H, C, N and O too, "not for any serious use": they are refused.
"""


class EmtSettings(EngineSettings):
    """Settings of ``emt``."""

    asap_cutoff: bool = Field(default=False)
    """Cut off by the largest atom of the cell rather than of the whole table.

    True is what ASAP does; energies of cells with different elements then come
    from different cutoffs, by some meV/atom, and make a poor hull.
    """


class EmtEngine(Engine):
    """ASE's effective medium theory (Jacobsen et al., Surf. Sci. 366, 394 (1996))."""

    name: ClassVar[str] = "emt"
    Settings: ClassVar[type[EmtSettings]] = EmtSettings
    settings: EmtSettings

    def elements(self) -> frozenset[str]:
        """Return the seven metals."""
        return METALS

    def version(self) -> str:
        """Return ASE's version: the code is part of it."""
        return str(ase.__version__)

    def check(self, elements: frozenset[str]) -> list[str]:
        """Refuse elements that EMT lacks."""
        lacking = sorted(elements - METALS)
        if lacking:
            raise ConfigurationError(
                f"the engine emt lacks {', '.join(lacking)}; it computes "
                f"{', '.join(sorted(METALS))}: choose among them, or another engine"
            )
        return []

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        """Return a calculator; EMT writes no file."""
        self.check(frozenset(atoms.get_chemical_symbols()))
        return EMT(asap_cutoff=self.settings.asap_cutoff)

    def classify(self, error: BaseException, directory: Path) -> Failure:
        """Call whatever EMT raises physics: it has neither binary nor files."""
        return Failure(FailureKind.PHYSICS, "emt-failed", f"{type(error).__name__}: {error}")
