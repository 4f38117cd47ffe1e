"""Settings of a campaign that runs, changed by a form in Prefect: `leadline set` as a flow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from leadline.flows.asking import said
from leadline.flows.run_parameters import CampaignName, Who, Why, explained
from leadline.flows.setting import ask_for
from leadline.flows.spec import ReviewSpec
from leadline.tasks.errors import InputError

CanBeOff = Literal[
    "compute.workers",
    "review",
    "stop.calculations",
    "stop.expected_missed",
    "stop.hours",
    "stop.node_hours",
    "stop.rounds_without_discovery",
]


class Settings(BaseModel):
    """New values; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    batch: int | None = Field(default=None, ge=1, le=1000, description="picks of a round")
    workers: int | None = Field(default=None, ge=1, description="calculations at once")
    calculations: int | None = Field(default=None, ge=1, description="calculations at most")
    hours: float | None = Field(default=None, gt=0, description="wall time of all runs, in hours")
    node_hours: float | None = Field(default=None, gt=0, description="node-hours of engines")
    rounds_without_discovery: int | None = Field(
        default=None, ge=1, description="rounds in a row that found nothing new"
    )
    expected_missed: float | None = Field(
        default=None, gt=0, description="stop when fewer finds than this are expected missing"
    )
    review: ReviewSpec | None = Field(default=None, description="a person's verdict on the picks")
    switch_off: list[CanBeOff] = Field(
        default_factory=list, description="rules that are to hold no more"
    )

    @property
    def changes(self) -> dict[str, Any]:
        """The new values by key of the campaign file."""
        given = self.model_dump(mode="json", exclude_none=True, exclude={"switch_off"})
        return {_KEYS[name]: value for name, value in given.items()} | dict.fromkeys(
            self.switch_off
        )


NewValues = Annotated[Settings, Field(description="new values; what is left out stays as it is")]
_KEYS = {
    "batch": "acquisition.batch",
    "workers": "compute.workers",
    "calculations": "stop.calculations",
    "hours": "stop.hours",
    "node_hours": "stop.node_hours",
    "rounds_without_discovery": "stop.rounds_without_discovery",
    "expected_missed": "stop.expected_missed",
    "review": "review",
}


@flow(name="set", flow_run_name="set {name}", retries=0, persist_result=False)
@explained
def change_settings(
    name: CampaignName, settings: NewValues, by: Who = "", why: Why = ""
) -> State[str]:
    """Change settings of a campaign, while it runs or for its next run.

    Raises
    ------
    LeadlineError
        If a value is refused, or there is no such campaign; nothing is changed.
    """
    if not settings.changes:
        raise InputError("no setting was given a new value; fill in at least one")
    who = said(why, "the form in Prefect", by)
    return Completed(message=ask_for(name, settings.changes, who))
