"""Engines by the name that a campaign file gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from leadline.tasks.engines.engine import Engine, EngineSite
from leadline.tasks.tables import named

ENGINES = {
    "emt": "leadline.tasks.engines.emt:EmtEngine",
    "espresso": "leadline.tasks.engines.espresso:EspressoEngine",
    "replay": "leadline.tasks.engines.replay:ReplayEngine",
}


def engine(name: str, settings: Mapping[str, Any], site: EngineSite | None = None) -> Engine:
    """Return the engine called ``name``, at a ``site`` of a machine profile.

    Raises
    ------
    SpecError
        If no engine has that name, or a setting is refused.
    """
    found = named("engine", name, ENGINES, "leadline.engines")
    return cast(Engine, found(settings, site or EngineSite()))
