"""What a campaign shows in Prefect while it runs, as a real server has it afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from leadline.flows.courier import Courier
from leadline.flows.events import STOPPED
from leadline.flows.process_settings import process_settings
from leadline.tasks.store.records import CalculationState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


def asked(client: SyncPrefectClient, path: Any, **question: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.request("POST", path, json=question).json()
    return found


def artifacts(client: SyncPrefectClient, key: str) -> list[dict[str, Any]]:
    return asked(client, "/artifacts/filter", artifacts={"key": {"any_": [key]}})


def events(client: SyncPrefectClient, campaign: str, until: str = "") -> list[dict[str, Any]]:
    """Return the events of a campaign; a server keeps them some seconds after it took them."""
    question = {"resource": {"labels": {"leadline.campaign": [campaign]}}}
    deadline = time.monotonic() + 60
    while True:
        answer = client.request("POST", "/events/filter", json={"filter": question, "limit": 50})
        found: list[dict[str, Any]] = answer.json()["events"]
        if not until or any(each["event"] == until for each in found):
            return found
        assert time.monotonic() < deadline, f"no {until} among {found}"
        time.sleep(0.5)


def test_a_run_shows_its_name_its_progress_its_page_its_log_and_its_events(
    command: Command, campaign_file: WriteFile, store: Path, client: SyncPrefectClient
) -> None:
    moody = {"name": "moody-emt", "nan": ["AuCu3"]}
    ran = command("run", campaign_file("shown", engine=moody), "--calculations", 8)
    assert ran.code == 0, ran.err
    again = command("run", campaign_file("shown", engine=moody))
    assert again.code == 0, again.err
    runs = asked(client, "/flow_runs/filter", flow_runs={"name": {"like_": "shown, round"}})
    assert len(runs) == 2
    _has_one_version_for_each_run(client)
    _has_a_page_that_tells_all(client, store)
    _repeats_no_page_in_an_event(client)
    _has_a_lab_book(client, store, [each["id"] for each in runs])
    _has_told_each_thing_once(client, store)


def _has_one_version_for_each_run(client: SyncPrefectClient) -> None:
    for key in ("campaign-shown", "campaign-shown-progress"):
        assert len({each["flow_run_id"] for each in artifacts(client, key)}) == 2
        assert len(artifacts(client, key)) == 2
    done = max(artifacts(client, "campaign-shown-progress"), key=lambda each: str(each["created"]))
    assert float(done["data"]) == 100.0
    assert done["description"].startswith("12 of 12 calculations; ")


def _has_a_page_that_tells_all(client: SyncPrefectClient, store: Path) -> None:
    page = max(artifacts(client, "campaign-shown"), key=lambda each: str(each["created"]))["data"]
    report = store / "reports" / "shown.html"
    assert report.read_text().startswith("<!doctype html>")
    for words in (f"`{report}`", "## Found", "## Why it stopped", "## What was picked, and why"):
        assert words in page


def _repeats_no_page_in_an_event(client: SyncPrefectClient) -> None:
    question = {"event": {"prefix": ["prefect.artifact"]}}
    answer = client.request("POST", "/events/filter", json={"filter": question, "limit": 50})
    sizes = [len(str(each["payload"])) for each in answer.json()["events"]]
    assert sizes
    assert max(sizes) < 1_000


def _has_a_lab_book(client: SyncPrefectClient, store: Path, runs: list[str]) -> None:
    written = asked(client, "/logs/filter", logs={"flow_run_id": {"any_": runs}}, limit=200)
    lines = [each["message"] for each in written]
    results = [line for line in lines if " eV/atom" in line]
    with open_store(None, store, write=False) as opened:
        assert len(results) == len(opened.by_state(CalculationState.DONE)) > 8
    assert any(line.startswith("Round 1 opens with 4 picks.\n") for line in lines)
    assert any(line.startswith("Round 1 is closed: ") for line in lines)
    assert not any(
        line.startswith("Finished in state Completed") for line in lines if "wall" in line
    )
    assert len(lines) < 60


def _has_told_each_thing_once(client: SyncPrefectClient, store: Path) -> None:
    told = events(client, "shown", until=STOPPED.name)
    counts = Counter(each["event"] for each in told)
    with open_store(None, store, write=False) as opened:
        rounds = opened.rounds("shown")
        state = opened.campaign("shown")
    assert counts["leadline.round.closed"] == len(rounds)
    assert counts["leadline.campaign.resting"] == 1
    assert counts["leadline.campaign.stopped"] == 1
    things = [(each["event"], each["resource"]["prefect.resource.id"]) for each in told]
    assert len(set(things)) == len(things)
    (stopped,) = (each for each in told if each["event"] == "leadline.campaign.stopped")
    assert state is not None
    assert stopped["payload"]["reason"] == state.reason
    aside = stopped["payload"]["quarantined"]
    assert (stopped["payload"]["computed"] + aside, aside > 0) == (12, True)
    assert aside == counts["leadline.calculation.quarantined"]
    assert aside == max(each.counts["quarantined"] for each in rounds)


def test_what_no_server_took_the_next_run_tells(
    command: Command, campaign_file: WriteFile, monkeypatch: pytest.MonkeyPatch,
    client: SyncPrefectClient, store: Path,
) -> None:  # fmt: skip
    def refused(*_: object) -> None:
        raise ConnectionError("nobody is there")

    with monkeypatch.context() as away:
        away.setattr(Courier, "_send", refused)
        assert command("run", campaign_file("late"), "--calculations", 6).code == 0
    assert events(client, "late") == []
    assert command("run", campaign_file("late")).code == 0
    counts = Counter(each["event"] for each in events(client, "late", until=STOPPED.name))
    assert counts["leadline.campaign.resting"] == counts["leadline.campaign.stopped"] == 1
    with open_store(None, store, write=False) as opened:
        assert counts["leadline.round.closed"] == len(opened.rounds("late"))


def test_a_server_that_refuses_connections_delays_nothing() -> None:
    kept: list[str] = []
    with process_settings({"PREFECT_API_URL": "http://127.0.0.1:9/api"}):
        courier = Courier("0" * 32, kept.extend)
        with courier.working():
            courier.name("a, round 1")
            courier.show("campaign-a", "markdown", "# a", "Campaign a")
            courier.tell("key", {"event": "leadline.round.closed"})
    assert kept == []
    assert courier.words().startswith("it does not answer")


def test_only_the_versions_of_the_latest_runs_stay(client: SyncPrefectClient) -> None:
    for number in range(12):
        made = {"key": "campaign-old", "type": "markdown", "data": str(number)}
        client.request("POST", "/artifacts/", json=made)
    courier = Courier("0" * 32, lambda keys: None)
    courier._forget_old(client, "campaign-old")
    left = sorted(int(each["data"]) for each in artifacts(client, "campaign-old"))
    assert left == list(range(2, 12))
