"""How a run of a campaign ends, as Prefect shows it: by names that say so."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.flow_engine import run_flow

from leadline.flows.campaign import campaign
from leadline.flows.spec import CampaignSpec
from leadline.flows.spec_file import read_spec
from leadline.tasks.errors import LeaseError, SpecError
from leadline.tasks.store.owner import this_process
from leadline.tasks.store.records import Campaign
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from leadline.flows.summary import CampaignSummary
    from tests.flows.conftest import WriteFile

pytestmark = [pytest.mark.usefixtures("served", "here"), pytest.mark.timeout(1200)]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, store: Path) -> None:
    monkeypatch.setenv("LEADLINE_STORE", str(store))


def spec(**stop: object) -> CampaignSpec:
    from prefect_here import small_campaign

    changes: dict[str, Any] = {"start": {"random": 2}, "acquisition": {"batch": 2}}
    rules = {"expected_missed": None, "calculations": 4} | stop
    return CampaignSpec.model_validate(small_campaign(**changes, stop=rules))


def state_of(given: CampaignSpec, calculations: int | None = None) -> State[CampaignSummary]:
    return campaign(given, calculations, return_state=True)


def shown(state: State[CampaignSummary]) -> tuple[str, StateType]:
    return state.name or "", state.type


def opened_clusters(store: Path) -> int:
    with open_store(None, store, write=False) as records:
        return sum(each.kind == "cluster.opened" for each in records.events("small"))


def test_a_run_rests_then_stops_and_a_later_one_ends_at_once_until_the_rule_leaves_room(
    store: Path,
) -> None:
    rests = state_of(spec(), calculations=4)
    assert shown(rests) == ("Resting", StateType.COMPLETED)
    assert rests.message == "This run's 4 calculations are done."
    stops = state_of(spec())
    assert shown(stops) == ("Stopped", StateType.COMPLETED)
    assert (stops.message or "").startswith("The budget is spent: 4 of 4 calculations.")
    assert opened_clusters(store) == 2

    for given in (spec(), spec(calculations=3)):
        over = campaign(given)
        assert (over.end, over.state, over.computed) == ("AlreadyStopped", "stopped", 4)
        assert f"of {given.stop.calculations} calculations" in over.reason
        assert "nothing was run" in over.reason
        change = f"stop.calculations={2 * (given.stop.calculations or 0)}"
        assert f"`leadline run FILE --set {change}`" in over.reason
        assert over.found == campaign(spec()).found
    assert shown(state_of(spec())) == ("AlreadyStopped", StateType.COMPLETED)
    assert opened_clusters(store) == 2

    goes_on = campaign(spec(calculations=5))
    assert (goes_on.end, goes_on.computed) == ("Stopped", 5)
    assert opened_clusters(store) == 3


def test_a_second_run_ends_in_a_state_that_names_the_first(store: Path) -> None:
    owner = this_process()
    with open_store(None, store) as records:
        records.create_campaign(Campaign("small", spec().model_dump(mode="json")))
        records.take_lease("small", owner)
        state = state_of(spec())
        assert shown(state) == ("DrivenElsewhere", StateType.CANCELLED)
        assert f"campaign small is driven by process {os.getpid()} on " in (state.message or "")
        with pytest.raises(LeaseError, match="campaign small is driven by process"):
            campaign(spec())


def test_a_run_of_a_deployment_that_finds_another_at_work_says_so_without_a_traceback(
    store: Path,
) -> None:
    kept, runs = Kept(), logging.getLogger("prefect.flow_runs")
    with open_store(None, store) as records, get_client(sync_client=True) as client:
        records.create_campaign(Campaign("small", spec().model_dump(mode="json")))
        records.take_lease("small", this_process())
        run = client.create_flow_run(campaign, parameters={"spec": spec().model_dump(mode="json")})
        runs.addHandler(kept)
        try:
            with pytest.raises(LeaseError):  # as the process does that Prefect starts for a run
                run_flow(campaign, run, {"spec": spec()}, error_logger=runs)
        finally:
            runs.removeHandler(kept)
    said = [each.getMessage() for each in kept.log]
    told = [each.partition("(")[0] for each in said if "is driven by process" in each]
    assert told == ["Finished in state DrivenElsewhere"]
    assert [each for each in kept.log if each.exc_info] == []


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.log.append(record)


def test_a_spec_that_is_wrong_fails_the_run_at_once_in_the_words_of_the_command_line(
    campaign_file: WriteFile,
) -> None:
    wrong = spec().model_dump(mode="json") | {"engine": {"name": "emt", "cutof": 3}}
    with pytest.raises(SpecError) as said:
        read_spec(campaign_file(**wrong))
    state = campaign(wrong, return_state=True)
    assert shown(state) == ("Failed", StateType.FAILED)
    assert str(said.value).splitlines()[1:] == (state.message or "").splitlines()[1:]
    assert "engine.cutof: unknown key" in (state.message or "")


def test_a_limit_in_which_nothing_can_be_done_is_refused_in_the_words_of_the_command_line() -> None:
    state = campaign(spec(), node_hours=0.0, return_state=True)
    assert shown(state) == ("Failed", StateType.FAILED)
    assert "--node-hours: found 0; allowed: more than 0" in (state.message or "")


def test_a_run_waits_while_another_process_writes_to_its_store(store: Path) -> None:
    with ThreadPoolExecutor(1) as executor, open_store(None, store) as other:
        waiting = executor.submit(campaign, spec(), 1)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=20)
        other.close()
        assert waiting.result().end == "Resting"
