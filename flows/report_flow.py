"""The report of a campaign as a flow: on a schedule of its own, or from Prefect's page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from leadline.flows.publishing import write_report
from leadline.flows.run_parameters import explained
from leadline.flows.store_of import open_for

CampaignName = Annotated[str, Field(description="name of a campaign in the store")]
ReportPath = Annotated[
    str | None,
    Field(description="file to write; reports/NAME.html in the folder of the store without it"),
]


@flow(name="report", retries=0, persist_result=False)
@explained
def report(name: CampaignName, path: ReportPath = None) -> str:
    """Write the report of a campaign: one page of HTML that needs nothing else.

    Returns
    -------
    str
        Where it is.
    """
    with open_for(write=False) as store:
        return str(write_report(store, name, None if path is None else Path(path)))
