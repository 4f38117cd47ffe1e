"""A run ended from elsewhere: real drivers, real engines, real second processes, a real server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil
import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from leadline.flows.process_settings import process_settings
from leadline.tasks.store.records import CalculationState, CampaignState
from tests.flows.steered import campaign_of, ended, engines, reading, running, until

if TYPE_CHECKING:
    from tests.flows.conftest import Run, Said, WriteFile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.usefixtures("served"),
]
Command = Callable[..., "Said"]

SLOW = {"name": "moody-emt", "seconds": 90.0}  # the last run waits for it
BUDGET = {"expected_missed": None, "calculations": 4}
SERVE = """
from prefect import serve
from prefect.deployments.runner import EntrypointType
from leadline.flows.campaign import campaign
serve(campaign.to_deployment("cancelled", entrypoint_type=EntrypointType.MODULE_PATH))
"""


def counts(store: Path) -> dict[CalculationState, int]:
    with reading(store) as opened:
        found = {each: len(opened.by_state(each)) for each in CalculationState}
    return {each: number for each, number in found.items() if number}


def last_run(store: Path) -> str:
    with reading(store) as opened:
        events = [each for each in opened.events("small") if each.kind == "campaign.run_began"]
    return events[-1].subject


def states_in_prefect(client: SyncPrefectClient, run: str) -> tuple[str, list[str]]:
    """How Prefect shows a run, and the calculations in it, once it has all of them."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    tasks = until(lambda: len(found := client.read_task_runs(flow_run_filter=mine)) > 1 and found)
    flow = client.read_flow_run(UUID(run))
    calculations = [each for each in tasks if not each.name.startswith(("learn", "propose"))]
    return str(flow.state_name), sorted(str(each.state_name) for each in calculations)


def is_cancelled(store: Path, reason: str, prefect_api: dict[str, str]) -> None:
    campaign = campaign_of(store)
    assert (campaign.state, campaign.owner) == (CampaignState.CANCELLED, None)
    assert reason in campaign.reason
    assert counts(store) == {CalculationState.CANCELLED: 2}
    with process_settings(prefect_api), get_client(sync_client=True) as client:
        flow, calculations = states_in_prefect(client, last_run(store))
    assert (flow, calculations) == ("Cancelled", ["Cancelled", "Cancelled"])


def test_a_run_is_cancelled_by_the_command_and_in_prefect_and_goes_on_later(
    leadline: Run,
    command: Command,
    campaign_file: WriteFile,
    store: Path,
    prefect_api: dict[str, str],
) -> None:
    file = campaign_file(engine=SLOW, stop=BUDGET)
    nothing = command("cancel", "small")
    assert (nothing.code, "store" in nothing.err) == (2, True)
    _by_the_command(leadline, command, file, store, prefect_api)
    _in_prefect(leadline, file, store, prefect_api)
    words = ended(leadline("run", file, "--set", "engine.seconds=0"))
    assert "carrying on 2 calculations" in words
    assert campaign_of(store).state is CampaignState.STOPPED
    assert counts(store) == {CalculationState.DONE: 6}
    again = command("cancel", "small")
    assert again.code == 2
    assert "no run works on campaign 'small', which is stopped (" in again.err


def _by_the_command(
    leadline: Run, command: Command, file: Path, store: Path, prefect_api: dict[str, str]
) -> None:
    driver = leadline("run", file)
    alive = until(lambda: running(store), driver)
    canceller = leadline("cancel", "small", "--why", "the node is needed")
    _, left = psutil.wait_procs(alive, timeout=200)
    assert left == []
    said = ended(canceller)
    words = ended(driver)
    assert "small is cancelled: By " in said
    assert "(the node is needed)" in said
    assert "; ending what runs" in words
    assert "Cancelled: By " in words
    is_cancelled(store, "(the node is needed)", prefect_api)
    with reading(store) as opened:
        (heard,) = [each for each in opened.events("small") if each.kind == "inbox.stop"]
        gone = max(each.attempts[-1].ended for each in opened.by_state(CalculationState.CANCELLED))  # type: ignore[type-var]
    assert gone is not None
    assert (gone - heard.time).total_seconds() < 10


def _in_prefect(leadline: Run, file: Path, store: Path, prefect_api: dict[str, str]) -> None:
    before = len(engines(store))
    driver = leadline("run", file)
    until(lambda: len(engines(store)) >= before + 2 and running(store), driver)
    with process_settings(prefect_api), get_client(sync_client=True) as client:
        client.set_flow_run_state(last_run(store), Cancelling(), force=True)
    words = ended(driver)
    assert "cancelled in Prefect; ending what runs" in words
    is_cancelled(store, "In Prefect.", prefect_api)


def test_a_run_that_is_asked_to_rest_finishes_what_runs_and_starts_nothing_more(
    leadline: Run, command: Command, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(engine={"name": "moody-emt", "seconds": 8.0}, stop=BUDGET)
    driver = leadline("run", file)
    until(lambda: running(store), driver)
    said = command("cancel", "small", "--rest", "--why", "lunch")
    assert "finishes what runs, and starts nothing more" in said.out, said.err
    words = ended(driver)
    assert "Resting: Asked to rest by " in words
    assert campaign_of(store).state is CampaignState.RESTING
    assert counts(store) == {CalculationState.DONE: 2}


def test_a_run_of_a_deployment_that_is_cancelled_leaves_states_that_say_so(
    run_script: Run, campaign_file: WriteFile, store: Path, prefect_api: dict[str, str]
) -> None:
    spec = yaml.safe_load(campaign_file(engine=SLOW, stop=BUDGET).read_text())
    server = run_script(SERVE, **prefect_api, LEADLINE_STORE=str(store))
    try:
        with process_settings(prefect_api), get_client(sync_client=True) as client:
            until(lambda: "cancelled" in {each.name for each in client.read_deployments()}, server)
            run: Any = run_deployment("campaign/cancelled", parameters={"spec": spec}, timeout=0)
            until(lambda: running(store), server)
            client.set_flow_run_state(run.id, Cancelling())
            until(lambda: client.read_flow_run(run.id).state.is_final(), server)  # type: ignore[union-attr]
        until(lambda: campaign_of(store).owner is None)
    finally:
        _ended_by_hand(server)
    is_cancelled(store, "Prefect", prefect_api)


def _ended_by_hand(server: subprocess.Popen[str]) -> None:
    server.terminate()
    server.communicate()
