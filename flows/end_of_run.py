"""How Prefect shows the end of a campaign's run."""

from __future__ import annotations

from typing import cast

from prefect.states import Cancelled

from leadline.flows.summary import CampaignSummary
from leadline.tasks.store.records import CampaignState


def end_of_run(summary: CampaignSummary) -> CampaignSummary:
    """Return what a flow returns: what it came to, or for Prefect that it was cancelled."""
    if summary.state == CampaignState.CANCELLED:
        return cast(CampaignSummary, Cancelled(message=summary.reason))
    return summary
