"""Two drivers on one campaign, and two campaigns on one calculation: real processes, real signals.

The records are in a server, which lets many write: with the embedded store, its
lock alone keeps a second driver out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.tasks.store.records import CalculationState, CampaignState
from leadline.tasks.store.store import Store, open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, WriteFile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SLOW = {"name": "moody-emt", "seconds": 3.0}
BUDGET = {"expected_missed": None, "calculations": 4}
DRIVER = """
import socket, sys
name, beat, stale = sys.argv.pop(1), *map(float, sys.argv.pop(1).split(","))
from leadline.tasks.compute import processes
processes.host = lambda: name
from leadline.flows import lease
lease.BEAT, lease.STALE = beat, stale
from leadline.flows.cli import main
main()
"""
"""The command, on a host of that name, whose lease beats and ages as it is told."""


@pytest.fixture
def uri(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that all processes of a test share, by the environment."""
    from tests.contracts.conftest import WireServer, serving

    with serving(WireServer) as server:
        address = f"mongodb://127.0.0.1:{server.port}/leadline"
        monkeypatch.setenv("LEADLINE_MONGODB_URI", address)
        yield address


@pytest.fixture
def records(uri: str, store: Path) -> Iterator[Store]:
    with open_store(uri, store, write=False) as opened:
        yield opened


@pytest.fixture
def on_host(
    prefect_api: dict[str, str], uri: str, tmp_path: Path, store: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command on a host of some name; none is left behind."""
    from prefect_here import environment

    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: object, lease: str = "0.5,4") -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, name, lease, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(Path()) | prefect_api | {"LEADLINE_STORE": str(store)},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def engines(store: Path) -> list[dict[str, Any]]:
    file = store / "calculations" / "engines.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def starts(store: Path) -> list[str]:
    return [str(line["calculation"]) for line in engines(store) if line["event"] == "start"]


def until(what: Callable[[], object], *processes: subprocess.Popen[str]) -> None:
    """Wait until something is so, while the processes live."""
    deadline = time.monotonic() + 600
    while not what():
        for process in processes:
            assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    words, errors = process.communicate(timeout=600)
    assert "Traceback" not in errors, errors
    return process.returncode, words + errors


def test_a_second_driver_is_told_of_the_first_which_sleeps_and_follows_it_when_it_is_killed(
    leadline: Run, campaign_file: WriteFile, store: Path, records: Store
) -> None:
    file = campaign_file(engine=SLOW, stop=BUDGET)
    first = leadline("run", file)
    until(lambda: starts(store), first)
    first.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
    code, words = ended(leadline("run", file, "--set", "stop.calculations=99"))
    assert code == 2
    assert f"campaign small is driven by process {first.pid} on " in words
    assert f"asleep: `kill -CONT {first.pid}` wakes it" in words
    campaign = records.campaign("small")
    assert campaign is not None
    assert (campaign.state, campaign.versions) == (CampaignState.RUNNING, ())
    first.kill()
    first.wait()
    code, words = ended(leadline("run", file))
    assert (code, "Stopped: " in words) == (0, True), words
    taken = [each for each in records.events("small") if each.kind == "campaign.lease_taken"]
    assert f"/{first.pid}/" in str(taken[-1].details["from"])
    assert {each.state for each in records.by_state(*CalculationState)} == {CalculationState.DONE}


def test_a_driver_that_slept_on_another_host_finds_its_campaign_taken_over_and_lets_go(
    on_host: Callable[..., subprocess.Popen[str]],
    campaign_file: WriteFile,
    store: Path,
    records: Store,
) -> None:
    file = campaign_file(engine=SLOW, stop=BUDGET)
    sleeper = on_host("east", "run", file)
    until(lambda: starts(store), sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    code, words = ended(on_host("west", "run", file))
    assert (code, "Stopped: " in words) == (0, True), words
    sleeper.send_signal(signal.SIGCONT)
    code, words = ended(sleeper)
    assert code == 2
    assert "another has taken campaign small over; it goes on there" in words
    campaign = records.campaign("small")
    assert campaign is not None
    assert (campaign.state, campaign.owner) == (CampaignState.STOPPED, None)
    assert {each.state for each in records.by_state(*CalculationState)} == {CalculationState.DONE}
    assert len(starts(store)) == len(set(starts(store))) == 6
    kinds = [each.kind for each in records.events("small")]
    assert "campaign.resting" not in kinds
    assert kinds.count("round.committed") == len(records.rounds("small"))


def test_two_campaigns_that_want_the_same_share_one_engine_for_each_calculation(
    leadline: Run, campaign_file: WriteFile, store: Path, records: Store
) -> None:
    one, other = (campaign_file(name, engine=SLOW, stop=BUDGET) for name in ("one", "other"))
    runs = [leadline("run", one), leadline("run", other)]
    for run in runs:
        code, words = ended(run)
        assert (code, "Stopped: " in words) == (0, True), words
    asked = [{each.calculation for each in records.proposals(name)} for name in ("one", "other")]
    assert asked[0] == asked[1] == set(starts(store))
    assert len(starts(store)) == 6
    assert {each.state for each in records.by_state(*CalculationState)} == {CalculationState.DONE}
