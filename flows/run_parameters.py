"""Parameters of the flows, and their help in the form of Prefect's UI."""

from __future__ import annotations

from collections.abc import Callable
from inspect import cleandoc, signature
from typing import Annotated, Any, ParamSpec, TypeVar

from pydantic import Field

from leadline.flows.spec import CampaignSpec

P = ParamSpec("P")
R = TypeVar("R")

Spec = Annotated[
    CampaignSpec,
    Field(description="the campaign, key by key as in a campaign file"),
]
Calculations = Annotated[
    int | None,
    Field(ge=1, description="calculations that this run may start; then the campaign rests"),
]
WallHours = Annotated[
    float | None,
    Field(gt=0, description="hours that this run may take; it starts nothing that would not end"),
]
NodeHours = Annotated[
    float | None,
    Field(gt=0, description="node-hours that this run may spend; then the campaign rests"),
]

CampaignName = Annotated[str, Field(description="name of the campaign")]
Who = Annotated[str, Field(description="your name, for the record")]
Why = Annotated[str, Field(description="the reason, for the record")]


def explained(run: Callable[P, R]) -> Callable[P, R]:
    """Give a flow the docstring from which Prefect's form takes the help of its parameters.

    That is Google's style and no other; the words are those of the annotations.
    """
    helps = {
        name: help_
        for name, each in signature(run, eval_str=True).parameters.items()
        if (help_ := _help(each.annotation))
    }
    first = cleandoc(run.__doc__ or "").partition("\n\n")[0]
    lines = [f"    {name}: {help_}" for name, help_ in helps.items()]
    run.__doc__ = "\n".join([first, "", "Args:", *lines])
    return run


def _help(annotation: Any) -> str:
    said = (getattr(each, "description", None) for each in getattr(annotation, "__metadata__", ()))
    return next((each for each in said if each), "")
