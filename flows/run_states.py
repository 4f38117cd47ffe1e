"""The states in which Prefect shows how a campaign's run ended: their names say it.

========================  =========  =====================================================
name                      type       what it says
========================  =========  =====================================================
``Stopped``               Completed  a stop rule answered: the campaign is over
``AlreadyStopped``        Completed  it was over before; nothing was run
``Resting``               Completed  the run's own limit; the next run goes on
``Cancelled``             Cancelled  what ran was ended at once; the next run goes on
``DrivenElsewhere``       Cancelled  another process has the campaign or its store: who
``Failed``                Failed     the campaign cannot run as it is set up
========================  =========  =====================================================
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, cast

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from leadline.flows.console_logging import leave_to_states
from leadline.flows.summary import CampaignSummary, RunEnd
from leadline.tasks.errors import LeaseError, StoreLockedError

P = ParamSpec("P")

DRIVEN_ELSEWHERE = "DrivenElsewhere"
"""Name of the state of a run that found another at work: no failure of the campaign."""


def ends_in_states(run: Callable[P, CampaignSummary]) -> Callable[P, CampaignSummary]:
    """Let a flow end in the state that says how its campaign's run ended.

    Who calls the flow still gets the summary. A run that was cancelled raises Prefect's
    ``CancelledRun``, and one that found another driver its LeaseError or StoreLockedError;
    where Prefect calls the flow, it logs no traceback of them.
    """

    @wraps(run)
    def ended(*args: P.args, **kwargs: P.kwargs) -> CampaignSummary:
        leave_to_states()
        try:
            state = state_of_run(run(*args, **kwargs))
        except (LeaseError, StoreLockedError) as error:
            state = Cancelled(name=DRIVEN_ELSEWHERE, message=str(error), data=error)
        # Prefect takes a state that a flow returns, and hands what it carries to the caller.
        return cast(CampaignSummary, state)

    return ended


def state_of_run(summary: CampaignSummary) -> State[CampaignSummary]:
    """Return the state that says how a run ended, and why."""
    if summary.end is RunEnd.CANCELLED:
        return Cancelled(message=f"{summary.reason} The next run carries the campaign on.")
    return Completed(name=summary.end, message=summary.reason, data=summary)
