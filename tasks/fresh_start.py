"""A last attempt from the structure itself, where what a cheap engine reached fails its own engine.

A pre-relaxation must never cost an answer: before a calculation is set aside, it is tried once
from where it would have begun without one. The attempt says so by ``prerelax: false`` among what
it changes, which every further attempt keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leadline.tasks.store.records import Attempt, Calculation

PRERELAX = "prerelax"
"""Key of the change: of the recipe, where all others are the engine's."""


def fresh_start(record: Calculation) -> Mapping[str, Any] | None:
    """Return what the next attempt changes to begin at the structure itself.

    None where the last one began there already.
    """
    found = record.attempts[-1].prerelaxed
    return None if found is None or found["end"] == "dropped" else {PRERELAX: False}


def begun_afresh(attempts: Sequence[Attempt]) -> int:
    """Return the number of the attempt that began at the structure itself, 1 where all may."""
    afresh = (each.number for each in attempts if PRERELAX in each.changes)
    return next(afresh, 1)


def engine_changes(attempt: Attempt) -> dict[str, Any]:
    """Return what an attempt changes of its engine's settings."""
    return {key: value for key, value in attempt.changes.items() if key != PRERELAX}
