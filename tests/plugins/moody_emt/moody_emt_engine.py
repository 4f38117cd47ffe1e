"""Effective medium theory that is slow, or fails, where a test wants it to.

Its folder on PYTHONPATH makes ``moody-emt`` an engine of every process started then.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSettings, PhysicsRemedy
from leadline.tasks.errors import ConfigurationError


class MoodySettings(EngineSettings):
    seconds: float = 0.0
    """Time that each single point takes."""
    spread: float = 0.0
    """Sigma of the log-normal distribution of these times about their median, by structure."""
    nan: tuple[str, ...] = ()
    """Formulas (of the cell) whose energy is no number."""
    refuses: tuple[str, ...] = ()
    """Formulas that it has no settings for."""
    fails: tuple[str, ...] = ()
    """Formulas that fail until the remedies are exhausted."""
    care: int = 0
    """What its remedies raise."""
    sloshes: tuple[str, ...] = ()
    """Formulas that converge with a width of 0.2 alone."""
    width: float = 0.1
    """Shifts each energy by its hundredth part an atom beyond 0.1: it is physics."""


class SloshingError(RuntimeError):
    """The SCF finds no rest."""


class MoodyEmt(EmtEngine):
    name: ClassVar[str] = "moody-emt"
    layout_keys: ClassVar[frozenset[str]] = frozenset({"seconds", "spread"})
    path_keys: ClassVar[frozenset[str]] = frozenset({"care"})
    Settings: ClassVar[type[MoodySettings]] = MoodySettings  # type: ignore[assignment]
    settings: MoodySettings  # type: ignore[assignment]

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        formula = atoms.get_chemical_formula()
        if formula in self.settings.refuses:
            raise ConfigurationError(f"moody-emt has no parameters for {formula}: install them")
        if formula in self.settings.fails:
            raise RuntimeError(f"{formula} does not converge with care {self.settings.care}")
        if formula in self.settings.sloshes and self.settings.width < 0.2:
            raise SloshingError(f"{formula} sloshes at a width of {self.settings.width}")
        shift = 0.01 * (self.settings.width - 0.1) * len(atoms)
        chance = random.Random(f"{formula} {atoms.positions.round(4).tolist()}")
        seconds = self.settings.seconds * chance.lognormvariate(0.0, self.settings.spread)
        return _Moody(seconds, shift, nan=formula in self.settings.nan)

    def classify(self, error: BaseException, directory: Path) -> Failure:
        reason = "sloshing" if isinstance(error, SloshingError) else "moody-emt-failed"
        return Failure(FailureKind.PHYSICS, reason, str(error))

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        most = {"moody-emt-failed": 2, "sloshing": 1}.get(failure.reason, 0)
        return {"care": attempt} if attempt <= most else None

    def physics_remedy(self, failure: Failure) -> PhysicsRemedy | None:
        if failure.reason != "sloshing":
            return None
        return PhysicsRemedy({"width": 0.2}, "twice the width calms what sloshes")


class _Moody(EMT):
    def __init__(self, seconds: float, shift: float, *, nan: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seconds, self._shift, self._nan = seconds, shift, nan

    def calculate(self, *given: Any, **named: Any) -> None:
        time.sleep(self._seconds)
        super().calculate(*given, **named)  # type: ignore[no-untyped-call]
        energy = math.nan if self._nan else self.results["energy"] + self._shift
        self.results = {**self.results, "energy": energy, "free_energy": energy}
