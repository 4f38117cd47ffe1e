"""A remedy that changes the physics: the calculation that an engine names where it gives up.

It has a fingerprint of its own, so its energy is none of the structure's own calculation.
What names it stands with the record in quarantine (``Calculation.remedy``), so that whoever
reads the record can queue it: its id follows from what it is, and no second insert succeeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from leadline.tasks.calculation import Failure, calculation_id
from leadline.tasks.engines.engine import Engine
from leadline.tasks.errors import ConfigurationError, SpecError
from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.store.records import Calculation

Use = Literal["never", "apart", "together"]
"""What a campaign does with remedies of the physics: ``remedies.physics`` of its spec."""


def named_remedy(
    engine: Engine, recipe: Recipe, record: Calculation, failure: Failure
) -> dict[str, Any] | None:
    """Return the remedy of the physics that an engine names for a failure, or None.

    Returns
    -------
    dict or None
        JSON values: ``changes`` of the engine's settings, ``why``, and ``fingerprint`` and
        id (``calculation``) of the calculation that they make. None also where the engine
        advises, from the files of a run, what no campaign file can say.

    Raises
    ------
    ConfigurationError
        If the settings that it names are the same calculation.
    """
    named = engine.physics_remedy(failure)
    if named is None:
        return None
    try:
        other = type(engine)({**record.engine["settings"], **named.changes}, engine.site)
    except SpecError:
        return None
    fingerprint = other.fingerprint()
    if fingerprint == record.fingerprint:
        raise ConfigurationError(
            f"the engine {engine.name} names {dict(named.changes)} as a remedy of the physics, "
            "which leaves its fingerprint as it is; its remedies by path keys are the place for it"
        )
    settings = other.settings.model_dump(mode="json")
    return {
        "changes": {key: settings[key] for key in named.changes},
        "why": named.why,
        "fingerprint": fingerprint,
        "calculation": calculation_id(record.structure, recipe.id, fingerprint, record.check),
    }


def remedy_calculation(original: Calculation, campaign: str) -> Calculation:
    """Return the calculation that the remedy of one in quarantine is, to be queued."""
    remedy = dict(original.remedy or {})
    settings = {**original.engine["settings"], **remedy["changes"]}
    return Calculation(
        id=remedy["calculation"],
        structure=original.structure,
        engine={**original.engine, "settings": settings},
        recipe=original.recipe,
        fingerprint=remedy["fingerprint"],
        check=original.check,
        campaign=campaign,
        remedy_of=original.id,
    )


def changed_words(original: Calculation) -> str:
    """Return what the remedy of a calculation changes, e.g. ``degauss 0.04 (0.02)``; or ''."""
    if original.remedy is None:
        return ""
    found = _differences(original.engine["settings"], original.remedy["changes"])
    return ", ".join(f"{key} {_told(new)} ({_told(old)})" for key, old, new in found)


def remedy_words(original: Calculation) -> str:
    """Return what the remedy of a calculation changes, and why that may help; or ''."""
    why = "" if original.remedy is None else f": {original.remedy['why']}"
    return changed_words(original) + why


def use_of(spec: Mapping[str, Any]) -> Use:
    """Return what a stored spec does with remedies; one of before the key knew of none."""
    said: Use = (spec.get("remedies") or {}).get("physics", "never")
    return said if said in get_args(Use) else "never"


def _differences(
    before: Mapping[str, Any], changes: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each key that changes with its old and new value; of maps, their own keys."""
    for key, new in changes.items():
        old = before.get(key)
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            both = {each: new.get(each) for each in (*old, *new)}
            yield from _differences(old, both)
        elif new != old:
            yield key, old, new


def _told(value: Any) -> str:
    return "not set" if value is None else str(value)
