"""A served run whose driver, runner and Prefect server die: one `reconcile` makes all agree."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectNotFound

from leadline.flows.loopback_server import HOST, Server
from leadline.flows.process_settings import process_settings
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import WriteFile

LIMIT = 1200.0
"""Seconds that anything here may take on a machine with much else to do."""


@dataclass
class MortalServer:
    """A Prefect server that is ended and started again, with its database, where it was."""

    home: Path
    server: Server

    @classmethod
    def at(cls, home: Path, port: int = 0) -> MortalServer:
        log = home / "server.log"
        server = Server.start({"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}, log, first=port)
        server.wait_until_it_answers(log)
        return cls(home, server)

    @property
    def variables(self) -> Mapping[str, str]:
        api = f"http://{HOST}:{self.server.port}/api"
        return {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": api, "DO_NOT_TRACK": "1"}


@pytest.fixture
def mortal(laid_out_home: Path, tmp_path: Path) -> Iterator[list[MortalServer]]:
    """The servers of a test, the last of which lives."""
    servers = [MortalServer.at(Path(shutil.copytree(laid_out_home, tmp_path / "mortal")))]
    yield servers
    servers[-1].server.end()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def engine_starts(store: Path) -> int:
    file = store / "calculations" / "engines.log"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return sum(line["event"] == "start" for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_served_run_whose_driver_and_runner_are_killed_and_whose_server_came_back_is_settled(
    mortal: list[MortalServer], campaign_file: WriteFile, store: Path, tmp_path: Path
) -> None:
    from prefect_here import MAIN, environment

    file = campaign_file(engine={"name": "moody-emt", "seconds": 3000.0})
    variables = {**environment(Path()), **mortal[0].variables, "LEADLINE_STORE": str(store)}

    def leadline(*arguments: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=variables,
            start_new_session=True,
        )

    serving = leadline("serve", file)
    with process_settings(mortal[0].variables):
        run = _begun()
        until(lambda: engine_starts(store) >= 2)
        driver = _driver(store)
        for victim in (serving.pid, driver):
            os.kill(victim, signal.SIGKILL)
        serving.wait()
        assert serving.stdout is not None
        serving.stdout.close()
        mortal[0].server.end()
        mortal.append(MortalServer.at(mortal[0].home, mortal[0].server.port))
        assert mortal[1].server.port == mortal[0].server.port
        until(lambda: "Nothing was to be settled" in _told(leadline("reconcile")))
        _agree(run, store)


def _begun() -> UUID:
    """Begin a run of the deployment once it is there."""
    with get_client(sync_client=True) as client:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with suppress(ObjectNotFound):
                found = client.read_deployment_by_name("campaign/small")
                return client.create_flow_run_from_deployment(found.id).id
            time.sleep(0.5)
    raise AssertionError("the campaign was not registered")


def _driver(store: Path) -> int:
    with open_store(None, store, write=False) as records:
        (campaign,) = records.campaigns()
        assert campaign.owner is not None
        return int(campaign.owner.split("/")[2])


def _told(process: subprocess.Popen[str]) -> str:
    words, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, words
    return words


def _agree(run: UUID, store: Path) -> None:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
    assert state is not None
    assert (state.name, "was killed; `leadline run` carries" in (state.message or "")) == (
        "Crashed",
        True,
    )
    assert [each.name for each in tasks if not each.state or not each.state.is_final()] == []
    with open_store(None, store, write=False) as records:
        (campaign,) = records.campaigns()
        assert (campaign.state, campaign.owner) == (CampaignState.RESTING, None)
        assert records.by_state(CalculationState.CLAIMED, CalculationState.RUNNING) == []
