"""Which processes have driven a campaign: the store's log knows each by its name."""

from __future__ import annotations

from leadline.tasks.store.store import Store

BEGAN = "campaign.run_began"
"""Kind of the event by which a driver says which flow run is its own."""


def log_run(store: Store, campaign: str, flow_run: str, owner: str) -> None:
    """Say in the store's log which process drives a flow run."""
    store.log(campaign, BEGAN, flow_run, {"owner": owner})


def owners_of_runs(store: Store, campaign: str) -> dict[str, str]:
    """Return the process that drove each flow run of a campaign, by the run's id, in order."""
    began = (each for each in store.events(campaign) if each.kind == BEGAN)
    return {each.subject: str(each.details["owner"]) for each in began}
