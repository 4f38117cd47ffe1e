"""Recipes by the name that a campaign file gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.tables import named

RECIPES = {
    "static": "leadline.tasks.recipes.static:Static",
    "relax": "leadline.tasks.recipes.relax:Relax",
}


def recipe(name: str, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe called ``name``.

    Raises
    ------
    SpecError
        If no recipe has that name, or a setting is refused.
    """
    return cast(Recipe, named("recipe", name, RECIPES, "leadline.recipes")(settings))
