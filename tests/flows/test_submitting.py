"""Campaigns started from Python on a deployment: a real server, a process that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prefect import flow
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectHTTPStatusError
from pymatgen.analysis.phase_diagram import PhaseDiagram

from leadline.flows.campaign import campaign
from leadline.flows.results import CampaignResult
from leadline.flows.spec_file import read_spec
from leadline.flows.submitting import submit
from leadline.tasks.errors import InputError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.conftest import WriteFile

DEPLOYMENT = "here"
PATIENCE = 900.0
"""Seconds that a run may take on a machine with much else to do."""
WRONG = {"acquisition": {"batch": 0, "bach": 3}}
FOREIGN = {"candidates": [{"source": "files", "paths": ["/etc"], "geometry": "ideal"}]}
Campaign = Callable[..., dict[str, Any]]


@pytest.fixture
def plain(campaign_file: WriteFile) -> Campaign:
    """Return the plain data of a small campaign."""

    def made(name: str = "small", **changes: Any) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load(campaign_file(name, **changes).read_text())
        return loaded

    return made


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("serving")
def test_a_campaign_is_submitted_waited_for_and_read(plain: Campaign) -> None:
    run = submit(plain(), "campaign/here", calculations=4)
    with pytest.raises(TimeoutError, match=f"{run.id} goes on after 0 s"):
        run.wait(timeout=0)
    assert run.wait(timeout=PATIENCE) is run
    assert run.status() == "Resting: This run's 4 calculations are done."

    first = run.result()
    assert (first.name, first.state, len(first.rows)) == ("small", "resting", 4)
    more = asyncio.run(_both(plain()))
    assert (more.state, len(more.rows)) == ("stopped", 14)
    table = more.table
    assert table.index.name == "structure"
    assert set(first.table.index) < set(table.index)
    lowest = table.loc[table["energy_above_hull"] == 0, "formula"]
    stable = {
        each.composition.reduced_formula for each in PhaseDiagram(more.entries).stable_entries
    }
    assert set(lowest) == stable


async def _both(spec: dict[str, Any]) -> CampaignResult:
    result: CampaignResult = await submit(spec, "here")
    return result


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": {"name": "emt", "cutof": 3}}, ["engine.cutof: unknown key"]),
        (FOREIGN, ["candidates[0].paths[0]: found '/etc'", "data_roots: it has none"]),
        ({"description": "mongodb://me:hunter2@db"}, ["description: found a database URI"]),
    ],
)
def test_what_only_the_api_sees_ends_its_run_at_once_in_the_words_of_check(
    plain: Campaign, changes: dict[str, Any], words: list[str]
) -> None:
    run: Any = run_deployment(
        "campaign/here",
        parameters={"spec": plain("refused", **changes)},
        timeout=PATIENCE,
        poll_interval=1,
    )
    assert run.state.is_failed(), run.state
    assert all(each in run.state.message for each in words), run.state.message
    assert "hunter2" not in run.state.message


@pytest.mark.usefixtures("serving")
def test_what_the_schema_knows_to_be_wrong_makes_no_run(plain: Campaign) -> None:
    with pytest.raises(PrefectHTTPStatusError, match="'bach' was unexpected"):
        run_deployment("campaign/here", parameters={"spec": plain(**WRONG)}, timeout=0)


@pytest.mark.usefixtures("serving")
def test_a_wrong_spec_or_deployment_is_refused_before_a_run_is_made(plain: Campaign) -> None:
    with pytest.raises(SpecError, match=r"acquisition\.batch: found 0"):
        submit(plain(**WRONG), "campaign/here")
    with pytest.raises(InputError, match=r"no deployment 'campaign/nightly'.*has: campaign/here"):
        submit(plain(), "nightly")


def test_a_campaign_is_a_subflow_of_another_flow(
    campaign_file: WriteFile, store: Path, served: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADLINE_STORE", str(store))
    spec = read_spec(campaign_file("inner", stop={"expected_missed": None, "calculations": 4}))

    @flow
    def screening() -> list[str]:
        return [each.composition.reduced_formula for each in campaign(spec).entries]

    assert {"Cu", "Au"} <= set(screening())
