"""A person's verdict on the picks of a campaign, by a form in the Prefect UI.

The flow shows what waits, pauses for the form, and sends what was decided to the campaign.
It runs beside the campaign: whatever becomes of it, that one goes on by its own rule for
silence. Run it as a Prefect deployment, from the UI or by an event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field, create_model

from leadline.flows.asking import said
from leadline.flows.run_parameters import CampaignName, explained
from leadline.flows.setting import ask_for
from leadline.flows.store_of import open_for
from leadline.flows.verdicts import Decision, Waiting, WaitingPick, send_decision, what_waits
from leadline.surrogate.errors import LeadlineError
from leadline.tasks.errors import InputError
from leadline.tasks.report.formatting import counted, formula, in_markdown

POLL_S = 2
"""Seconds between two looks at whether the form was filled in."""
HOW = "the form in Prefect"


class Veto(BaseModel):
    """A pick that is not to be calculated, nor what is much like it."""

    model_config = ConfigDict(extra="forbid")

    rank: str = Field(description="rank of the pick, as in the list above")
    why: str = Field(description="why not: kept with the pick")


class Verdicts(RunInput):
    """What you decide. What you leave out waits on, and silence does what the campaign says."""

    approve_all: bool = Field(
        default=False, description="approve every pick that you do not veto below"
    )
    approve: list[str] = Field(default_factory=list, description="or approve these alone, by rank")
    veto: list[Veto] = Field(default_factory=list, description="picks that are not to be run")
    add: list[str] = Field(
        default_factory=list,
        description="candidates to calculate as well: a formula, or the start of an id",
    )
    order: list[str] = Field(
        default_factory=list, description="ranks in the order in which they are to start"
    )
    batch: int | None = Field(
        default=None, ge=1, le=1000, description="picks of a round from the next one on"
    )
    by: str = Field(default="", description="your name, for the record")
    why: str = Field(default="", description="a reason for all of it, for the record")

    @property
    def decision(self) -> Decision:
        """The verdicts by rank."""
        return Decision(
            approve=["all"] if self.approve_all else self.approve,
            veto={each.rank: each.why for each in self.veto},
            add=self.add,
            order=self.order,
        )


OpenFor = Annotated[
    float,
    Field(gt=0, description="hours that the form stays open; then the rule for silence holds"),
]


@flow(name="review", flow_run_name="review {name}", retries=0, persist_result=False)
@explained
def review(name: CampaignName, hours: OpenFor = 24.0) -> State[str]:
    """Show the picks that wait for review, and take a person's verdicts."""
    problem, number = "", 0
    while True:
        with open_for(write=False) as store:
            waiting = what_waits(store, name)
        if not waiting.picks:
            return Completed(message=f"no picks of {name} wait for review")
        get_run_logger().info("%s", _listed(waiting))
        try:
            verdicts = pause_flow_run(
                wait_for_input=form(waiting, problem),
                timeout=round(hours * 3600),
                poll_interval=POLL_S,
                key=f"review-{number}",
            )
        except FlowPauseTimeout:
            return Completed(message=f"nobody decided: {waiting.silence}")
        try:
            return Completed(message=_sent(waiting, verdicts))
        except LeadlineError as error:  # the form comes again, and says what was wrong
            problem, number = str(error), number + 1
            get_run_logger().warning("%s", problem)


def form(waiting: Waiting, problem: str = "") -> type[Verdicts]:
    """Return the form for the picks that wait, which stand in the help of its first field.

    What Prefect itself would show above a form gets no height where the fields fill the window.
    In a field's help it makes a space of each newline that no other follows, so they are doubled.
    """
    plain = Verdicts.model_fields["approve_all"].description
    words = f"{page(waiting, problem)}\n\n{plain}".replace("\n", "\n\n")
    shown = Field(default=False, description=words)
    return create_model("Verdicts", __base__=Verdicts, approve_all=(bool, shown))


def page(waiting: Waiting, problem: str = "") -> str:
    """Return what a person decides about, in Markdown: a list, since tables are cut off."""
    return "\n".join(
        [
            *([f"**Not taken: {in_markdown(problem)}**", ""] if problem else []),
            f"{_opening(waiting)}:",
            "",
            *(_shown(each) for each in waiting.picks),
        ]
    )


def _listed(waiting: Waiting) -> str:
    """Return the same for Prefect's log."""
    picks = [f"  {each.line}" for each in waiting.picks]
    return "\n".join([f"{_opening(waiting)}:", *picks, "Press Resume to decide."])


def _opening(waiting: Waiting) -> str:
    rounds = " and ".join(f"round {each}" for each in waiting.rounds)
    picks = counted(len(waiting.picks), "pick")
    return f"{picks} of {waiting.campaign} for {rounds} ({waiting.silence})"


def _shown(pick: WaitingPick) -> str:
    about = f"{formula(pick.formula)}, {in_markdown(pick.space_group)}, `{pick.structure[:12]}`"
    return f"- **{pick.rank}**: {about}. *{in_markdown(pick.words)}*"


def _sent(waiting: Waiting, verdicts: Verdicts) -> str:
    """Send what was decided; return what became of it."""
    decision, told = verdicts.decision, []
    if decision.empty and verdicts.batch is None:
        raise InputError("nothing was decided; approve, veto or add something")
    by = verdicts.by or f"somebody in Prefect at {datetime.now(UTC):%H:%M} UTC"
    if not decision.empty:
        with open_for(write=False) as store:
            told.append(send_decision(store, waiting, decision, verdicts.why, HOW, by))
    if verdicts.batch is not None:
        changes = {"acquisition.batch": verdicts.batch}
        told.append(ask_for(waiting.campaign, changes, said(verdicts.why, HOW, by)))
    for words in told:
        get_run_logger().info("%s", words)
    return "; ".join(told)
