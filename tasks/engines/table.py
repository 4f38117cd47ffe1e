"""Engines by the name that a campaign file gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from leadline.tasks.engines.engine import Engine, EngineSettings, EngineSite
from leadline.tasks.settings import validated
from leadline.tasks.tables import named

ENGINES = {
    "abinit": "leadline.tasks.engines.abinit:AbinitEngine",
    "ase": "leadline.tasks.engines.ase:AseEngine",
    "cp2k": "leadline.tasks.engines.cp2k:Cp2kEngine",
    "emt": "leadline.tasks.engines.emt:EmtEngine",
    "espresso": "leadline.tasks.engines.espresso:EspressoEngine",
    "gpaw": "leadline.tasks.engines.gpaw:GpawEngine",
    "vasp": "leadline.tasks.engines.vasp:VaspEngine",
    "chgnet": "leadline.tasks.engines.potentials.chgnet:ChgnetEngine",
    "sevennet": "leadline.tasks.engines.potentials.sevennet:SevennetEngine",
    "replay": "leadline.tasks.engines.replay:ReplayEngine",
}


def engine(name: str, settings: Mapping[str, Any], site: EngineSite | None = None) -> Engine:
    """Return the engine called ``name``, at a ``site`` of a machine profile.

    Raises
    ------
    SpecError
        If no engine has that name, or a setting is refused.
    """
    return engine_class(name)(settings, site or EngineSite())


def engine_settings(name: str, settings: Mapping[str, Any]) -> EngineSettings:
    """Return the settings of the engine called ``name``, checked; SpecError as above."""
    return validated(engine_class(name).Settings, settings, "engine")


def engine_class(name: str) -> type[Engine]:
    """Return what the engine called ``name`` is; SpecError as above."""
    return cast(type[Engine], named("engine.name", name, ENGINES, "leadline.engines"))
