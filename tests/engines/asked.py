"""What a worker is asked to compute, from atoms: for tests of engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase import Atoms

from leadline.tasks.calculation import Request

STATIC: Mapping[str, Any] = {"name": "static", "settings": {}}


def asked(
    engine: Mapping[str, Any],
    atoms: Atoms,
    *,
    site: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] = STATIC,
    moments: list[float] | None = None,
    time_limit: float | None = None,
) -> Request:
    """Return the request of one calculation, whose raw files all stay."""
    plain: dict[str, Any] = {
        "lattice": atoms.cell.array.tolist(),
        "species": list(atoms.symbols),
        "coords": atoms.get_scaled_positions().tolist(),
    }
    if moments:
        plain["site_properties"] = {"magmom": moments}
    return Request(
        calculation="c",
        attempt=1,
        structure_id="s",
        structure=plain,
        engine=engine,
        recipe=recipe,
        site=site or {},
        folder="",
        time_limit=time_limit,
        keep="all",
    )
