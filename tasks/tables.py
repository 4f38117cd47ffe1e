"""Names in a campaign file, looked up: in a table of ours, then in entry points.

A name from a spec is never imported as a dotted path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from leadline.tasks.errors import SpecError


def known_names(table: Iterable[str], group: str) -> list[str]:
    """Return the names in ``table`` and those of the entry points of ``group``, sorted."""
    return sorted({*table, *(entry.name for entry in entry_points(group=group))})


def named(key: str, name: str, table: Mapping[str, str], group: str) -> Any:
    """Return what ``name`` stands for in ``table``, or in the entry points of ``group``.

    Parameters
    ----------
    key
        Key of the campaign file that holds the name, e.g. ``engine.name``.
    name
        The name to look up.
    table
        Name to ``module:Class``.
    group
        Entry points of outside packages, e.g. ``leadline.engines``.

    Raises
    ------
    SpecError
        If neither knows the name; the message lists the names that are known.
    """
    if name in table:
        module, attribute = table[name].split(":")
        return getattr(import_module(module), attribute)
    outside: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=group)}
    if name in outside:
        return outside[name].load()
    known = ", ".join(known_names(table, group))
    raise SpecError(
        f"{key}: {name!r} is not known; known are: {known}. "
        f"Others come from packages with an entry point in the group {group!r}"
    )
