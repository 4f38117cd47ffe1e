"""What tests of engines share: a calculation from its settings to its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from ase import Atoms
from asked import STATIC, asked

from leadline.tasks.calculation import Result
from leadline.tasks.engines.compute import compute


class Computed(Protocol):
    """Compute atoms with an engine; raw files stay in ``raw``."""

    def __call__(
        self,
        engine: str,
        settings: Mapping[str, Any],
        atoms: Atoms,
        *,
        site: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] = STATIC,
        moments: list[float] | None = None,
        time_limit: float | None = None,
    ) -> Result: ...


@pytest.fixture
def computed(tmp_path: Path) -> Computed:
    def run(
        engine: str,
        settings: Mapping[str, Any],
        atoms: Atoms,
        *,
        site: Mapping[str, Any] | None = None,
        recipe: Mapping[str, Any] = STATIC,
        moments: list[float] | None = None,
        time_limit: float | None = None,
    ) -> Result:
        request = asked(
            {"name": engine, "settings": settings},
            atoms,
            site=site,
            recipe=recipe,
            moments=moments,
            time_limit=time_limit,
        )
        return compute(request, tmp_path)

    return run
