"""Where the calculations of a campaign run, as its file says it, and what their jobs ask for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from leadline.flows.spec_section import Section
from leadline.tasks.quantities import Bytes, Hours, Seconds

PROFILE = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"


class _Sizing(Section):
    margin: float = Field(default=1.5, ge=1, le=100, description="factor on the prediction")
    after: int = Field(
        default=5, ge=1, description="finished calculations from which a prediction is trusted"
    )


class WalltimeSizing(_Sizing):
    """How the walltime of batch jobs follows what is predicted."""

    least: Seconds = Field(
        default=600.0, ge=1, description="seconds that a calculation is given at least"
    )


class MemorySizing(_Sizing):
    """How the memory of batch jobs follows what is predicted."""

    least: Bytes = Field(
        default=1e9, ge=1e6, description="bytes that a calculation is given at least"
    )


class RightSizingSpec(Section):
    """What batch jobs ask for; without a part, all that the profile says of it."""

    walltime: WalltimeSizing | None = Field(default=None, description="lets walltime follow")
    memory: MemorySizing | None = Field(default=None, description="lets memory follow")


class ComputeSpec(Section):
    """Where calculations run; the machine itself is described by a profile."""

    profile: str = Field(
        default="local",
        pattern=PROFILE,
        description="name of a machine profile",
    )
    workers: int | None = Field(
        default=None, ge=1, le=10_000, description="calculations at once; default: the profile's"
    )
    learn: str | None = Field(
        default=None,
        pattern=PROFILE,
        description="machine profile on which the model is trained; default: in the driver",
    )
    mode: Literal["batch", "steady"] = Field(
        default="batch", description="batch waits for a round; steady refills each free worker"
    )
    time_limit: Hours | None = Field(
        default=None, gt=0, description="hours after which one calculation is ended"
    )
    cuts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="losses in a row before a calculation waits for a person",
    )
    keep: Literal["all", "failed", "none"] = Field(
        default="failed", description="raw files of which calculations stay"
    )
    right_sizing: RightSizingSpec = Field(
        default_factory=RightSizingSpec, description="what batch jobs ask for"
    )
