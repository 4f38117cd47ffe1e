"""A driver killed at random moments: nothing that was computed is lost, or computed twice."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leadline.tasks.compute.attempt_files import read_result
from leadline.tasks.store.records import CalculationState, CampaignState, Proposal
from leadline.tasks.store.store import Store, open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Run, WriteFile

KILLS = 10


def read(store: Path) -> Store:
    return open_store(None, store, write=False)


def computed(store: Path) -> dict[str, float]:
    """What stands complete in the folders, beside any store: energy by calculation."""
    found = {}
    for file in (store / "calculations").glob("*/attempt-*/result.json"):
        result = read_result(file.parent.parent, int(file.parent.name.partition("-")[2]))
        if result is not None and result.complete and result.energy is not None:
            found[result.calculation] = result.energy
    return found


def picked(store: Path) -> dict[tuple[int, int], str]:
    if not (store / "store.sqlite").exists():
        return {}
    with read(store) as opened:
        return {(each.round, each.rank): each.structure for each in opened.proposals("small")}


def engine_log(store: Path) -> list[dict[str, object]]:
    file = store / "calculations" / "engines.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_for_engines(driver: subprocess.Popen[str], store: Path, lines: int) -> None:
    """Wait until the engines' log has so many lines, or the driver ends."""
    deadline = time.monotonic() + 120
    while driver.poll() is None and len(engine_log(store)) < lines and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_lose_no_result_and_start_no_engine_twice(
    leadline: Run, campaign_file: WriteFile, store: Path
) -> None:
    chance = random.Random(20)
    file = campaign_file(
        engine={"name": "moody-emt", "seconds": 0.15},
        stop={"expected_missed": None, "calculations": 27},
    )
    results: dict[str, float] = {}
    picks: dict[tuple[int, int], str] = {}
    for kill in range(KILLS):
        lines = len(engine_log(store)) + chance.randint(1, 5)
        driver = leadline("run", file)
        wait_for_engines(driver, store, lines)
        time.sleep(chance.uniform(0, 0.5))
        driver.kill()
        words, errors = driver.communicate()
        assert driver.returncode == -9, f"it ended before kill {kill}: {words} {errors}"
        results |= computed(store)
        picks |= picked(store)
    driver = leadline("run", file)
    words, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, words + errors
    assert len(results) > KILLS
    with read(store) as opened:
        assert [each.state for each in opened.campaigns()] == [CampaignState.STOPPED]
        records = opened.calculations(computed(store))
        rounds = [each for each in opened.events("small") if each.kind == "round.committed"]
        proposals: list[Proposal] = opened.proposals("small")
    for calculation, energy in results.items():
        assert records[calculation].state is CalculationState.DONE
        assert records[calculation].energy == energy
    final = {(each.round, each.rank): each.structure for each in proposals}
    assert picks.items() <= final.items()
    assert len({*final.values()}) == len(final) == 29
    assert len({each.subject for each in rounds}) == len(rounds)
    check_log(engine_log(store), store)


def check_log(lines: list[dict[str, object]], store: Path) -> None:
    """One engine at a time for each calculation, and none after its answer.

    An engine that is ended before it could say that it starts leaves an end alone.
    """
    of: defaultdict[object, list[tuple[object, int]]] = defaultdict(list)
    for line in lines:
        of[line["calculation"]].append((line["event"], int(str(line["attempt"]))))
    for calculation, events in of.items():
        alive, last = 0, 0
        for event, attempt in events:
            assert alive in ((0,) if event == "start" else (0, attempt)), events
            assert attempt > last or (event, alive) == ("end", attempt), events
            alive, last = attempt if event == "start" else 0, attempt
        assert not alive, events
        for attempt in range(1, last):
            left = read_result(store / "calculations" / str(calculation), attempt)
            assert left is None or not left.complete
