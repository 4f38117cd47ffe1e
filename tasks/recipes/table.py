"""Recipes by the name that a campaign file gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from leadline.tasks.recipes.recipe import Recipe
from leadline.tasks.recipes.recipe_settings import RecipeSettings
from leadline.tasks.settings import validated
from leadline.tasks.tables import named

RECIPES = {
    "static": "leadline.tasks.recipes.static:Static",
    "relax": "leadline.tasks.recipes.relax:Relax",
    "relax+static": "leadline.tasks.recipes.relax_static:RelaxStatic",
    "equation_of_state": "leadline.tasks.recipes.equation_of_state:EquationOfState",
    "elastic": "leadline.tasks.recipes.elastic:Elastic",
    "band_gap": "leadline.tasks.recipes.band_gap:BandGap",
}


def recipe(name: str, settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe called ``name``.

    Raises
    ------
    SpecError
        If no recipe has that name, or a setting is refused.
    """
    return recipe_class(name)(settings)


def recipe_settings(name: str, settings: Mapping[str, Any]) -> RecipeSettings:
    """Return the settings of the recipe called ``name``, checked; SpecError as above."""
    return validated(recipe_class(name).Settings, settings, "recipe")


def recipe_class(name: str) -> type[Recipe]:
    """Return what the recipe called ``name`` is; SpecError as above."""
    return cast(type[Recipe], named("recipe.name", name, RECIPES, "leadline.recipes"))
