"""Effective medium theory that is slow, or fails, where a test wants it to.

Its folder on PYTHONPATH makes ``moody-emt`` an engine of every process started then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.emt import EmtEngine
from leadline.tasks.engines.engine import EngineSettings
from leadline.tasks.errors import ConfigurationError


class MoodySettings(EngineSettings):
    seconds: float = 0.0
    """Time that each single point takes."""
    nan: tuple[str, ...] = ()
    """Formulas (of the cell) whose energy is no number."""
    refuses: tuple[str, ...] = ()
    """Formulas that it has no settings for."""
    fails: tuple[str, ...] = ()
    """Formulas that fail until the remedies are exhausted."""
    care: int = 0
    """What its remedies raise."""


class MoodyEmt(EmtEngine):
    name: ClassVar[str] = "moody-emt"
    layout_keys: ClassVar[frozenset[str]] = frozenset({"seconds"})
    path_keys: ClassVar[frozenset[str]] = frozenset({"care"})
    Settings: ClassVar[type[MoodySettings]] = MoodySettings  # type: ignore[assignment]
    settings: MoodySettings  # type: ignore[assignment]

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        formula = atoms.get_chemical_formula()
        if formula in self.settings.refuses:
            raise ConfigurationError(f"moody-emt has no parameters for {formula}: install them")
        if formula in self.settings.fails:
            raise RuntimeError(f"{formula} does not converge with care {self.settings.care}")
        return _Moody(self.settings.seconds, nan=formula in self.settings.nan)

    def classify(self, error: BaseException, directory: Path) -> Failure:
        return Failure(FailureKind.PHYSICS, "moody-emt-failed", str(error))

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        return {"care": attempt} if failure.reason == "moody-emt-failed" and attempt < 3 else None


class _Moody(EMT):
    def __init__(self, seconds: float, *, nan: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seconds, self._nan = seconds, nan

    def calculate(self, *given: Any, **named: Any) -> None:
        time.sleep(self._seconds)
        super().calculate(*given, **named)  # type: ignore[no-untyped-call]
        if self._nan:
            self.results = {**self.results, "energy": math.nan, "free_energy": math.nan}
