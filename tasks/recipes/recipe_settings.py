"""Settings of recipes as a campaign file gives them, and what of them names a recipe.

A worker imports this module: neither prefect nor mongoengine nor torch here.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from leadline.tasks.settings import Named


class RecipeSettings(BaseModel):
    """Settings of a recipe; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def identity(self) -> dict[str, Any]:
        """Return what of the settings decides where a calculation ends, as JSON values."""
        return self.model_dump(mode="json")


class CheapEngine(Named):
    """An engine that relaxes before the campaign's own."""

    name: str
    """As ``engine.name``."""


class Prerelax(RecipeSettings):
    """A relaxation by a cheap engine, from whose end the campaign's own engine starts."""

    engine: CheapEngine
    """Its ``name`` and settings, as those of the campaign's engine."""
    fmax: float = Field(default=0.1, gt=0, le=1)
    """Largest force at its end, eV/Å; for the cell, eV per atom and unit strain."""
    max_steps: int = Field(default=100, ge=1)
    """Ionic steps after which it ends."""
    fingerprint: str | None = None
    """Of the cheap engine: found when a campaign is opened, and refused where it differs."""


class RelaxingSettings(RecipeSettings):
    """Settings of a recipe that relaxes."""

    prerelax: Prerelax | None = Field(default=None, exclude_if=lambda value: value is None)
    """Relax by a cheap engine first."""

    @model_validator(mode="after")
    def _something_relaxes(self) -> RelaxingSettings:
        if self.prerelax is not None and not getattr(self, "relax", True):
            raise ValueError(
                "relax is false and keeps the cell as it is, and prerelax would change it; "
                "leave one of them out"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Leave the cheap engine to its fingerprint: how it is launched decides nothing."""
        plain = super().identity()
        if self.prerelax is not None and self.prerelax.fingerprint is not None:
            del plain["prerelax"]["engine"]
        return plain


def recipe_id(name: str, settings: RecipeSettings) -> str:
    """Return ``name-`` and twelve hex digits of the hash of all settings that decide."""
    text = json.dumps(settings.identity(), sort_keys=True)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
