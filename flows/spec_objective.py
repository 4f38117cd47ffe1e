"""What a campaign looks for, as its file says it: a hull with its references, or a property."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from leadline.flows.spec_section import Section
from leadline.tasks.quantities import EnergyPerAtom


class ComputedReferences(Section):
    """Elements computed by the campaign's own engine: the lowest of the phases named."""

    kind: Literal["computed"] = Field(default="computed", description="by this campaign's engine")
    phases: dict[str, list[str]] = Field(
        default_factory=dict,
        description="phases to try for each element, e.g. {Fe: [bcc, fcc]}; "
        "without an entry, the element's structure at room temperature",
    )


class GivenReferences(Section):
    """Energies of the elements, computed elsewhere with the same settings."""

    kind: Literal["values"] = Field(description="given here")
    values: dict[str, float] = Field(description="energy of each element, eV/atom")
    fingerprint: str = Field(
        default="", description="fingerprint of the engine that gave them; must be the campaign's"
    )


class FittedReferences(Section):
    """Energies of the elements fitted to the labels: no claim about hulls."""

    kind: Literal["fitted"] = Field(description="fitted to the labels")


References = Annotated[
    ComputedReferences | GivenReferences | FittedReferences, Field(discriminator="kind")
]


class HullObjective(Section):
    """Find every phase on, or within ``tolerance`` of, the convex hull."""

    kind: Literal["hull"] = Field(default="hull", description="phases on the convex hull")
    tolerance: EnergyPerAtom = Field(
        default=0.001, ge=0, le=1, description="eV/atom above the hull that still counts as found"
    )
    references: References = Field(
        default_factory=ComputedReferences, description="energies of the elements"
    )

    @model_validator(mode="after")
    def _references_carry_a_hull(self) -> HullObjective:
        if self.references.kind == "fitted":
            raise ValueError(
                "found references.kind 'fitted', which makes no claim about a hull; "
                "allowed for kind hull: computed, values"
            )
        return self


EXCLUDED = {
    "window": ("threshold", "best", "target", "direction maximise"),
    "target": ("threshold", "direction maximise"),
    "threshold": ("best",),
}
"""Keys of a property's objective, and those that ask for something else beside them."""
OTHERWISE = "a direction and how many of the best are looked for (best, 1 by default)"


class PropertyObjective(Section):
    """Find the lowest or the highest values of one property, or those near a value."""

    kind: Literal["property"] = Field(description="one property at its best")
    property: str = Field(description="name of the property as the engine or data set gives it")
    direction: Literal["minimise", "maximise"] = Field(
        default="minimise", description="which way is better, without target or window"
    )
    threshold: float | None = Field(
        default=None, description="a value this good counts as found, in the property's unit"
    )
    best: int = Field(
        default=1,
        ge=1,
        description="without threshold or window: how many of the best are looked for",
    )
    target: float | None = Field(
        default=None, description="in place of a direction: the value that the best come near"
    )
    window: tuple[float, float] | None = Field(
        default=None, description="lowest and highest value that count as found, e.g. [1.5, 3]"
    )

    @model_validator(mode="after")
    def _one_thing_is_asked_for(self) -> PropertyObjective:
        asked = {
            "threshold": self.threshold is not None,
            "window": self.window is not None,
            "best": self.best > 1,
            "target": self.target is not None,
            "direction maximise": self.direction == "maximise",
        }
        for one, others in EXCLUDED.items():
            if asked[one] and (beside := [other for other in others if asked[other]]):
                raise ValueError(
                    f"found {one} and {beside[0]}; allowed: {one} alone, {beside[0]} alone, or "
                    f"without them {OTHERWISE}"
                )
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(
                f"found window {list(self.window)}; allowed: the lower value first, e.g. [1.5, 3]"
            )
        return self


Objective = Annotated[HullObjective | PropertyObjective, Field(discriminator="kind")]
