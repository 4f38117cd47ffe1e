"""An engine for tests, as an outside package would bring it: it does what it is told.

Its folder on PYTHONPATH makes ``stand-in`` an engine of every process started then.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator

from leadline.tasks.calculation import Failure, FailureKind
from leadline.tasks.engines.engine import Engine, EngineSettings


class StandInSettings(EngineSettings):
    energy: float = -1.0
    seconds: float = 0.0
    grandchild: str | None = None
    """Shell command that runs beside it, its pid in ``grandchild.pid``."""
    escape: bool = False
    """The grandchild leads a session of its own."""
    ends_by: int | None = None
    """Number of the signal that it sends itself."""
    exit_status: int | None = None
    says: str | None = None
    cuts_result: bool = False
    """Leaves half a result.json, as a full disk would, and goes."""


class StandIn(Engine):
    name: ClassVar[str] = "stand-in"
    scratch: ClassVar[tuple[str, ...]] = ("wave-functions", "licensed")
    Settings: ClassVar[type[StandInSettings]] = StandInSettings
    settings: StandInSettings

    def version(self) -> str:
        return "1.0"

    def check(self, elements: frozenset[str]) -> list[str]:
        return []

    def calculator(self, atoms: Atoms, directory: Path) -> BaseCalculator:
        return _Acting(self.settings, directory)

    def classify(self, error: BaseException, directory: Path) -> Failure:
        return Failure(FailureKind.PHYSICS, "stand-in-failed", str(error))

    def remedies(self, failure: Failure, attempt: int) -> Mapping[str, Any] | None:
        return None


class _Acting(Calculator):
    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, settings: StandInSettings, directory: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._settings, self._raw = settings, directory

    def calculate(self, *given: Any, **named: Any) -> None:
        super().calculate(*given, **named)  # type: ignore[no-untyped-call]
        _act(self._settings, self._raw.parent)
        self.results = {
            "energy": self._settings.energy,
            "forces": np.zeros((len(given[0]), 3)),
            "stress": np.zeros(6),
        }


def _act(settings: StandInSettings, directory: Path) -> None:
    if settings.says:
        sys.stdout.write(settings.says)
    if settings.grandchild:
        child = subprocess.Popen(
            ["sh", "-c", settings.grandchild], start_new_session=settings.escape
        )
        (directory / "grandchild.pid").write_text(str(child.pid))
    (directory / "acting").write_text(str(os.getpid()))
    time.sleep(settings.seconds)
    if settings.cuts_result:
        (directory / "result.json").write_text('{"calculation": "')
        os._exit(0)
    if settings.ends_by is not None:
        os.kill(os.getpid(), settings.ends_by)
        time.sleep(60)
    if settings.exit_status is not None:
        os._exit(settings.exit_status)
