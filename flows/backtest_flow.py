"""The backtest of a campaign as a flow: from Prefect's page, with its summary as an artifact."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from leadline.flows.backtesting import run_backtest_of, summary_table
from leadline.flows.publishing import report_path
from leadline.flows.receiving import received
from leadline.flows.run_parameters import Spec, explained

Seeds = Annotated[int, Field(ge=1, description="runs of each policy")]


@flow(name="backtest", retries=0, persist_result=False, validate_parameters=False)
@explained
def backtest(spec: Spec, seeds: Seeds = 20) -> dict[str, Any]:
    """Run the loop over a finished data set, beside random, greedy and uncertainty.

    Returns
    -------
    dict
        The summary by policy, as `leadline backtest` prints it; every pick is in
        ``reports/backtest-NAME.json`` in the folder of the store.
    """
    given = received(spec)
    out = report_path(f"backtest-{given.name}").with_suffix(".json")
    sha256 = hashlib.sha256(given.model_dump_json().encode()).hexdigest()
    result = run_backtest_of(given, seeds, out, sha256)
    create_markdown_artifact(
        f"```text\n{summary_table(result)}\n```",
        key=f"backtest-{given.name}",
        description=f"Backtest of {given.name}",
    )
    summary: dict[str, Any] = result["summary"]
    return summary
