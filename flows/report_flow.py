"""The report of a campaign as a flow: on a schedule of its own, or from Prefect's page."""

from __future__ import annotations

from prefect import flow

from leadline.flows.publishing import write_report
from leadline.flows.run_parameters import CampaignName, explained
from leadline.flows.store_of import open_for


@flow(name="report", retries=0, persist_result=False)
@explained
def report(name: CampaignName) -> str:
    """Write the report of a campaign: one page of HTML that needs nothing else.

    Returns
    -------
    str
        Where it is: ``reports/NAME.html`` in the folder of the store.
    """
    with open_for(write=False) as store:
        return str(write_report(store, name))
