"""A Prefect server that stops, dies or forgets while a campaign computes: real processes.

The campaign goes on, all of it is kept, and what Prefect does not know is one sentence.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.flows.loopback_server import HOST, Process, Server, is_free
from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import WriteFile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MAIN = "from leadline.flows.cli import main; main()"
PLUGINS = Path(__file__).parents[1] / "plugins" / "moody_emt"
BUDGET = {"expected_missed": None, "calculations": 6}
SLOW = {"name": "moody-emt", "seconds": 2.0}
Start = Callable[..., "Run"]


class Run:
    """A campaign in a process of its own, and the server that records it."""

    def __init__(self, process: subprocess.Popen[str], home: Path, store: Path) -> None:
        self.process, self.home, self.store = process, home, store
        self.server: Server | None = None

    def wait_for_starts(self, number: int) -> None:
        log, deadline = self.store / "calculations" / "engines.log", time.monotonic() + 200
        while not log.exists() or log.read_text().count('"start"') < number:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def send_to_server(self, number: signal.Signals) -> None:
        server = self.server or self._own()
        os.killpg(server.process.pid, number)
        while number is signal.SIGKILL and not is_free(server.port):
            time.sleep(0.01)

    def _own(self) -> Server:
        (register,) = self.home.glob("leadline/*/server.json")
        plain = json.loads(register.read_text())["server"]
        return Server(Process(**plain["process"]), plain["port"])

    def ended(self) -> str:
        """Return what it said, once it has ended well, with all it was to compute in the store."""
        words, errors = self.process.communicate(timeout=400)
        assert self.process.returncode == 0, words + errors
        assert "Computed 6 of 29 candidates." in words, words + errors
        for noise in ("Traceback", "Event(", "Still processing", "httpx", "--- Error logging"):
            assert noise not in words + errors
        with open_store(None, self.store, write=False) as store:
            (campaign,) = store.campaigns()
            assert campaign.state is CampaignState.STOPPED
            assert len(store.by_state(CalculationState.DONE)) == 8
        return " ".join((words + errors).split())

    def states(self) -> list[tuple[str, int]]:
        """Return the states of the flow run and the number of its completed task runs."""
        with closing(sqlite3.connect(self.home / "prefect.db")) as database:
            query = (
                "select f.state_type, count(t.id) from flow_run f left join task_run t "
                "on t.flow_run_id = f.id and t.state_type = 'COMPLETED' group by f.id"
            )
            return [(str(state), int(count)) for state, count in database.execute(query)]


@pytest.fixture
def start(
    prefect_home: Path, store: Path, tmp_path: Path, campaign_file: WriteFile
) -> Iterator[Start]:
    """Start a campaign; with ``named`` it is recorded by a server of the test's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    variables = kept | {
        "PREFECT_HOME": str(prefect_home),
        "PREFECT_CLIENT_MAX_RETRIES": "2",  # or the test waits a minute where no server comes back
        "LEADLINE_STORE": str(store),
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PLUGINS), kept.get("PYTHONPATH")])),
    }
    runs: list[Run] = []

    def begin(*, named: bool, **more: str) -> Run:
        server = serve(variables, tmp_path / "server.log") if named else None
        named_by = {"PREFECT_API_URL": f"http://{HOST}:{server.port}/api"} if server else {}
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "run", str(campaign_file(engine=SLOW, stop=BUDGET))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=variables | named_by | more,
            start_new_session=True,
        )
        run = Run(process, prefect_home, store)
        run.server = server
        runs.append(run)
        return run

    yield begin
    for run in runs:
        run.process.kill()
        run.process.communicate()
        if run.server:
            run.server.end()


def serve(variables: dict[str, str], log: Path, port: int = 0) -> Server:
    server = Server.start(variables, log, first=port)
    server.wait_until_it_answers(log)
    return server


def test_a_server_that_stops_for_a_while_has_the_whole_record_in_the_end(start: Start) -> None:
    run = start(named=True)
    run.wait_for_starts(3)
    run.send_to_server(signal.SIGSTOP)
    time.sleep(15)
    run.send_to_server(signal.SIGCONT)
    said = run.ended()
    assert "did not record" not in said
    ((state, completed),) = run.states()
    assert state == "COMPLETED"
    assert completed >= 8


def test_a_server_of_ours_that_is_killed_is_started_again_on_its_record(start: Start) -> None:
    run = start(named=False, PREFECT_CLIENT_MAX_RETRIES="5")
    run.wait_for_starts(3)
    run.send_to_server(signal.SIGKILL)
    said = run.ended()
    assert "the Prefect server does not answer: the campaign goes on" in said
    assert "did not record the end" not in said
    ((state, _),) = run.states()
    assert state == "COMPLETED"
    assert not list(run.home.glob("leadline/*/server.json"))


def test_a_named_server_that_is_gone_for_good_is_told_in_a_sentence_and_holds_no_run(
    start: Start,
) -> None:
    run = start(named=True, PREFECT_CLIENT_MAX_RETRIES="5")
    run.wait_for_starts(3)
    run.send_to_server(signal.SIGKILL)
    said = run.ended()
    with open_store(None, run.store, write=False) as store:
        (stopped,) = [each for each in store.events("small") if each.kind == "campaign.stopped"]
    # Prefect's five retries alone take 62 s; a busy machine takes ten to end a process.
    assert datetime.now(UTC) - stopped.time < timedelta(seconds=50)
    assert "the Prefect server does not answer: the campaign goes on" in said
    assert "Prefect's server did not record the end of this run: it does not answer" in said
    assert "0 of " in said


def test_a_server_that_comes_back_empty_is_told_in_a_sentence(
    start: Start, laid_out_home: Path, tmp_path: Path
) -> None:
    run = start(named=True)
    run.wait_for_starts(3)
    run.process.send_signal(signal.SIGSTOP)  # or it might have ended before the server is back
    run.send_to_server(signal.SIGKILL)
    assert run.server is not None
    empty = Path(shutil.copytree(laid_out_home, tmp_path / "empty"))
    variables = dict(os.environ) | {"PREFECT_HOME": str(empty), "DO_NOT_TRACK": "1"}
    again = serve(variables, tmp_path / "again.log", run.server.port)
    run.process.send_signal(signal.SIGCONT)
    try:
        said = run.ended()
    finally:
        again.end()
    assert again.port == run.server.port
    assert (
        "Prefect's server did not record the end of this run: it no longer knows this run" in said
    )
    assert "task runs: it no longer knows this run" in said
