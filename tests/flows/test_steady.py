"""Campaigns in steady mode: no worker waits for the driver, and no pick for its reasons."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from leadline.flows import loop
from leadline.tasks.learn import learn
from leadline.tasks.store.records import Calculation, CalculationState, Proposal
from leadline.tasks.store.store import open_store

if TYPE_CHECKING:
    from tests.flows.conftest import Said, WriteFile

pytestmark = pytest.mark.usefixtures("served")
Command = Callable[..., "Said"]
STEADY = {"mode": "steady", "workers": 2}
LEARNING_S = 1.0


def rounds_of(store: Path) -> list[tuple[float, list[tuple[Proposal, Calculation]]]]:
    """Return when each round was stored, its picks and their calculations."""
    with open_store(None, store, write=False) as opened:
        picks = opened.proposals("small")
        records = opened.calculations(str(each.calculation) for each in picks)
        return [
            (
                round_.created.timestamp(),
                [
                    (each, records[str(each.calculation)])
                    for each in picks
                    if each.round == round_.number
                ],
            )
            for round_ in opened.rounds("small")
            if round_.created is not None
        ]


def test_each_free_worker_is_refilled_and_has_at_most_one_pick_waiting(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    said = command("run", campaign_file(compute=STEADY))
    assert said.code == 0, said.err
    status: dict[str, Any] = json.loads(command("status", "small", "--json").out)
    assert (status["state"], status["computed"]) == ("stopped", 12)
    assert (status["running"], status["waiting"]) == (0, 0)
    rounds = [picks for _, picks in rounds_of(store)]
    assert [len(picks) for picks in rounds[:2]] == [2, 4]
    assert {len(picks) for picks in rounds[2:]} <= {1, 2, 3, 4}
    assert {each.state for picks in rounds for _, each in picks} == {CalculationState.DONE}


def test_engines_start_while_the_driver_learns_each_from_a_pick_that_is_stored(
    command: Command, campaign_file: WriteFile, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[tuple[float, float]] = []

    def slowly(*given: Any) -> Any:
        begun = time.time()
        time.sleep(LEARNING_S)
        found = learn(*given)
        learned.append((begun, time.time()))
        return found

    monkeypatch.setattr(loop, "learn", slowly)
    moody = {"name": "moody-emt", "seconds": LEARNING_S / 4}
    said = command("run", campaign_file(compute=STEADY, engine=moody))
    assert said.code == 0, said.err
    starts = []
    for stored, picks in rounds_of(store):
        starts += [each.times["start"] for _, each in picks]
        assert all(each.times["start"] > stored for _, each in picks)
    meanwhile = [start for start in starts if any(a < start < b for a, b in learned)]
    assert len(meanwhile) >= len(learned) > 2


def test_workers_beyond_the_start_are_filled_before_the_first_answer(
    command: Command, campaign_file: WriteFile, store: Path
) -> None:
    moody = {"name": "moody-emt", "seconds": 3.0}
    five = {"mode": "steady", "workers": 5}
    stop = {"expected_missed": None, "calculations": 4}
    file = campaign_file(compute=five, engine=moody, start={"random": 2}, stop=stop)
    said = command("run", file)
    assert said.code == 0, said.err
    rounds = [picks for _, picks in rounds_of(store)]
    assert [len(picks) for picks in rounds] == [2, 2, 1, 1]
    first_end = min(each.times["end"] for picks in rounds for _, each in picks)
    begun = [each.times["start"] < first_end for picks in rounds for _, each in picks]
    assert begun.count(True) == 5
