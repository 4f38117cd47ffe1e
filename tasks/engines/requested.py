"""The engines of a request, as this machine has them: refused where they are others."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from leadline.tasks.calculation import Request
from leadline.tasks.engines.engine import Engine, EngineSite
from leadline.tasks.engines.table import engine
from leadline.tasks.errors import ConfigurationError
from leadline.tasks.settings import validated


def requested_engine(request: Request) -> Engine:
    """Return the engine of a request, with the changes of this attempt.

    Raises
    ------
    LeadlineError
        If a setting is refused, a change touches the physics, or this machine's
        files and code give another fingerprint than the request names.
    """
    asked = request.engine
    changes = asked.get("changes") or {}
    chosen = _at(request.site, asked["name"], {**asked["settings"], **changes})
    physics = sorted(set(changes) - chosen.path_keys)
    if physics:
        raise ConfigurationError(
            f"a further attempt may not change {', '.join(physics)} of {chosen.name}; "
            f"allowed are {', '.join(sorted(chosen.path_keys)) or 'no settings'}: another value "
            "is a calculation of its own"
        )
    _refuse_another(chosen, asked.get("fingerprint"))
    return chosen


def requested_prerelaxer(request: Request) -> Engine | None:
    """Return the cheap engine that relaxes first, or None where none is asked for.

    Raises
    ------
    LeadlineError
        As :func:`requested_engine`; the message names ``recipe.prerelax``.
    """
    asked = request.recipe["settings"].get("prerelax")
    if asked is None:
        return None
    settings = {key: value for key, value in asked["engine"].items() if key != "name"}
    try:
        chosen = _at(request.prerelax_site, asked["engine"]["name"], settings)
        _refuse_another(chosen, asked.get("fingerprint"))
    except ConfigurationError as error:
        raise ConfigurationError(f"recipe.prerelax.engine: {error}") from error
    return chosen


def _at(site: Mapping[str, Any], name: str, settings: Mapping[str, Any]) -> Engine:
    return engine(name, settings, validated(EngineSite, site, "site"))


def _refuse_another(chosen: Engine, expected: str | None) -> None:
    if expected and chosen.fingerprint() != expected:
        raise ConfigurationError(
            f"{chosen.name} {chosen.version()} on {platform.node()} has another fingerprint than "
            "the campaign: its major version or a pseudopotential differs; install the same ones"
        )
