"""Drivers lost on a Dask scheduler that outlives them: engines are found again."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from yard import Yard

from leadline.tasks.store.records import Calculation, CalculationState, CampaignState
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, WriteFile

MOODY = Path(__file__).parents[1] / "plugins" / "moody_emt"
WHOLE = {
    "acquisition": {"batch": 2},
    "start": {"random": 2},
    "compute": {"profile": "yard"},
    "stop": {"expected_missed": None, "calculations": 2},
}
"""Two references and two picks, in two rounds of two engines each."""


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A scheduler with two workers, which gives a silent worker up after some seconds."""
    folder = tmp_path / "yard"
    folder.mkdir()
    variables = {"PYTHONPATH": str(MOODY), "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s"}
    opened = Yard(folder, os.environ | variables)
    (folder / "yard.yaml").write_text(yaml.safe_dump({"cluster": opened.cluster}))
    monkeypatch.setenv("LEADLINE_PROFILES", str(folder))
    yield opened
    opened.close()


def log(store: Path) -> list[dict[str, Any]]:
    file = store / "calculations" / "engines.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def alive(store: Path) -> list[str]:
    """Return the calculations whose engines work now, by the engines' own log."""
    ended = {each["calculation"] for each in log(store) if each["event"] == "end"}
    return [each["calculation"] for each in log(store) if each["calculation"] not in ended]


def until(driver: subprocess.Popen[str] | None, true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        if driver is not None and driver.poll() is not None:
            out, err = driver.communicate()
            raise AssertionError(f"the driver ended too early: {out}{err}")
        time.sleep(0.05)


def finished(driver: subprocess.Popen[str], store: Path) -> list[Calculation]:
    """Let a driver come to its end, and return the calculations."""
    out, err = driver.communicate(timeout=400)
    assert driver.returncode == 0, out + err
    assert "Traceback" not in out + err
    with open_store(None, store, write=False) as opened:
        assert [each.state for each in opened.campaigns()] == [CampaignState.STOPPED]
        records = list(opened.by_state(*CalculationState))
    assert len(records) == 4
    assert {each.state for each in records} == {CalculationState.DONE}
    assert not alive(store)
    return records


def starts(store: Path) -> list[str]:
    return sorted(each["calculation"] for each in log(store) if each["event"] == "start")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("yard")
def test_engines_outlive_a_killed_driver_and_the_next_run_takes_them_in(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(engine={"name": "moody-emt", "seconds": 20.0}, **WHOLE)
    driver = leadline("run", file)
    until(driver, lambda: len(alive(store)) == 2, 200)
    first = set(alive(store))
    driver.kill()
    driver.communicate()
    second = leadline("run", file)
    records = finished(second, store)
    assert first <= {each.id for each in records}
    assert starts(store) == sorted(each.id for each in records)
    assert [len(each.attempts) for each in records] == [1] * 4


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("yard")
def test_answers_that_came_while_nobody_listened_are_taken_in(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    file = campaign_file(engine={"name": "moody-emt", "seconds": 3.0}, **WHOLE)
    driver = leadline("run", file)
    until(driver, lambda: len(alive(store)) == 2, 200)
    driver.kill()
    driver.communicate()
    until(None, lambda: not alive(store), 200)
    records = finished(leadline("run", file), store)
    assert starts(store) == sorted(each.id for each in records)
    assert [len(each.attempts) for each in records] == [1] * 4
