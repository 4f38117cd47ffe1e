"""What the form of Prefect's UI offers where a campaign names something: all that is installed."""

from __future__ import annotations

from typing import Any

from leadline.tasks.tables import known_names

JSON_INPUT = 'the form shows its name alone: choose "Use JSON input" in the menu beside it'
"""How a section whose keys depend on a name is edited in the form."""

Schema = dict[str, Any]


def sources(schema: Schema) -> None:
    """Offer the sources of candidates."""
    from leadline.tasks.candidates.table import SOURCES

    schema["enum"] = known_names(SOURCES, "leadline.candidates")


def engines(schema: Schema) -> None:
    """Offer the engines."""
    from leadline.tasks.engines.table import ENGINES

    schema["enum"] = known_names(ENGINES, "leadline.engines")


def recipes(schema: Schema) -> None:
    """Offer the recipes."""
    from leadline.tasks.recipes.table import RECIPES

    schema["enum"] = known_names(RECIPES, "leadline.recipes")


def descriptors(schema: Schema) -> None:
    """Offer the descriptors."""
    from leadline.surrogate.descriptors.table import descriptor_names

    schema["enum"] = descriptor_names()


def acquisitions(schema: Schema) -> None:
    """Offer the acquisitions."""
    from leadline.surrogate.acquisition import ACQUISITIONS

    schema["enum"] = known_names(ACQUISITIONS, "leadline.acquisitions")
