"""What tests of engines share: a calculation from its settings to its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from ase import Atoms

from leadline.tasks.calculation import Request, Result
from leadline.tasks.engines.compute import compute

STATIC = {"name": "static", "settings": {}}


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
        plain: dict[str, Any] = {
            "lattice": atoms.cell.array.tolist(),
            "species": list(atoms.symbols),
            "coords": atoms.get_scaled_positions().tolist(),
        }
        if moments:
            plain["site_properties"] = {"magmom": moments}
        request = Request(
            calculation="c",
            attempt=1,
            structure_id="s",
            structure=plain,
            engine={"name": engine, "settings": settings},
            recipe=recipe,
            site=site or {},
            folder="",
            time_limit=time_limit,
            keep="all",
        )
        return compute(request, tmp_path)

    return run
