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


class PropertyObjective(Section):
    """Find the lowest or the highest values of one property."""

    kind: Literal["property"] = Field(description="one property at its best")
    property: str = Field(description="name of the property as the engine or data set gives it")
    direction: Literal["minimise", "maximise"] = Field(
        default="minimise", description="which way is better"
    )
    threshold: float | None = Field(
        default=None, description="a value this good counts as found, in the property's unit"
    )
    best: int = Field(
        default=1, ge=1, description="without a threshold: how many of the best are looked for"
    )

    @model_validator(mode="after")
    def _either_is_asked_for(self) -> PropertyObjective:
        if self.threshold is not None and self.best > 1:
            raise ValueError(
                f"found threshold {self.threshold:g} and best {self.best}; allowed: one of them, "
                "a value that counts as found or how many of the best do"
            )
        return self


Objective = Annotated[HullObjective | PropertyObjective, Field(discriminator="kind")]
