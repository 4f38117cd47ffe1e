"""What chaos looks for at the end would be seen, were it there."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import invariants
import pytest
from faults import FAULTS
from invariants import CONVERGED, _agree, labels, violations
from plan import (
    DATABASE_WEIGHTS,
    DISK_WEIGHTS,
    HERE,
    QUEUE_PROFILE,
    QUEUE_WEIGHTS,
    SERVER_WEIGHTS,
    WEIGHTS,
    YARD_WEIGHTS,
    campaign,
    drawn,
)
from stage import Stage

from leadline.tasks.calculation import Failure, FailureKind, Result
from leadline.tasks.compute.attempt_files import write_result
from leadline.tasks.store.records import Calculation, CalculationState, Campaign, CampaignState
from leadline.tasks.store.store import Store, open_store

ID = "a" * 64


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(invariants, "LAST_WORDS", 0.2)
    made = Stage(tmp_path / "stage", campaign("static"), {"PREFECT_HOME": str(tmp_path)})
    yield made
    made.end_all()


@pytest.fixture
def store(stage: Stage) -> Iterator[Store]:
    """A campaign that stopped after one calculation, which was answered at once."""
    with open_store(None, stage.store) as opened:
        opened.create_campaign(Campaign("chaos", {}))
        made = Calculation(ID, "s", {}, {}, "f", campaign="chaos")
        opened.ensure_calculations([made])
        opened.claim(ID, "somebody")
        opened.finish(ID, 1, answered(1))
        opened.set_campaign_state("chaos", CampaignState.STOPPED, "")
        yield opened


def answered(attempt: int) -> Result:
    return Result(ID, attempt, converged=True, energy=-1.0)


def said(stage: Stage, *lines: tuple[str, int]) -> None:
    stage.calculations.mkdir(exist_ok=True)
    words = [{"event": each, "calculation": ID, "attempt": attempt} for each, attempt in lines]
    text = "".join(f"{json.dumps(line)}\n" for line in words)
    (stage.calculations / "engines.log").write_text(text)


def test_a_seed_is_the_same_plan_each_time_and_every_fault_is_known() -> None:
    assert drawn(7) == drawn(7) != drawn(8)
    weights = (
        *(WEIGHTS, SERVER_WEIGHTS, YARD_WEIGHTS, QUEUE_WEIGHTS),
        *(DATABASE_WEIGHTS, DISK_WEIGHTS),
    )
    assert {name for table in weights for name in table} == FAULTS.keys()
    assert drawn(7).campaign()["compute"]["profile"] in (HERE, "yard")


def test_one_seed_of_eight_computes_on_a_queue_and_both_ways_come_up() -> None:
    ways = [drawn(seed).queue for seed in range(1, 33)]
    assert ways.count("") == 28
    assert {"workers", "jobs"} < set(ways)
    assert drawn(ways.index("jobs") + 1).campaign()["compute"]["profile"] == QUEUE_PROFILE


def test_what_is_right_is_not_called_wrong(stage: Stage, store: Store) -> None:
    said(stage, ("start", 1), ("end", 1))
    found = violations(stage, None)
    assert found == ["0 picks, and not 14"]


def test_two_engines_at_a_time_are_seen(stage: Stage, store: Store) -> None:
    said(stage, ("start", 1), ("start", 2), ("end", 1), ("end", 2))
    assert f"{ID}: attempt 2 started while 1 was alive" in violations(stage, None)
    stage.unguarded.add((ID, 1))
    assert f"{ID}: attempt 2 started while 1 was alive" not in violations(stage, None)


def test_an_engine_after_an_answer_is_seen(stage: Stage, store: Store) -> None:
    said(stage, ("start", 1), ("end", 1), ("start", 2), ("end", 2))
    folder = stage.calculations / ID / "attempt-1"
    folder.mkdir(parents=True)
    write_result(answered(1), folder)
    assert f"{ID}: attempt 1 had finished, and 2 was started" in violations(stage, None)


def test_a_loss_with_a_job_that_is_put_down_to_something_else_is_seen(
    stage: Stage, store: Store
) -> None:
    two = Calculation("b" * 64, "t", {}, {}, "f", campaign="chaos")
    store.ensure_calculations([two])
    store.claim(two.id, "somebody")
    failure = Failure(FailureKind.REMOTE, "disk-full", "no room")
    store.fail(two.id, 1, failure, CalculationState.CUT)
    stage.lost_jobs = {(ID, 1), (two.id, 1)}
    (found,) = (each for each in violations(stage, None) if "lost with its job" in each)
    assert "disk-full" in found


def test_an_answer_that_was_lost_is_seen(stage: Stage, store: Store) -> None:
    stage.results = {"b": -2.0, ID: -2.0}
    found = violations(stage, None)
    assert "b had finished, and is None" in found
    assert f"{ID} had finished with -2.0, and says -1.0" in found


def test_events_that_tell_of_no_legal_way_are_seen(stage: Stage, store: Store) -> None:
    store.log("chaos", "calculation.claimed", ID)
    store.log("chaos", "calculation.queued", "b")
    told = "['queued', 'claimed', 'done', 'claimed']"
    found = violations(stage, None)
    assert f"{ID} is done, and its events tell {told}" in found
    assert "events tell of b, which is not there" in found


def test_only_a_job_that_came_as_its_driver_was_killed_is_waited_for(
    stage: Stage, store: Store
) -> None:
    queue = Queue(submitted_at=1000.0, ends=time.monotonic() + 3)
    stage.slurm = queue  # type: ignore[assignment]
    said_so = "job 5 is left in the queue, RUNNING"
    stage.deaths = [990.0]
    assert said_so in violations(stage, None)
    stage.deaths = [990.0, 1001.0]
    assert said_so not in violations(stage, None)


@dataclass
class Queue:
    """A queue with one job, which ends by itself."""

    submitted_at: float
    ends: float

    def jobs(self) -> dict[str, str]:
        return {"5": "RUNNING"} if time.monotonic() < self.ends else {}

    def jobs_on_the_node(self) -> set[str]:
        return set(self.jobs())

    def submitted(self) -> dict[str, float]:
        return dict.fromkeys(self.jobs(), self.submitted_at)

    def end_jobs(self) -> None:
        self.ends = 0.0


def test_other_labels_are_seen(stage: Stage, store: Store) -> None:
    assert labels(store) == {}
    (found,) = (each for each in violations(stage, {"s": ("done", -1.0)}) if "labels" in each)
    assert "missing {'s': ('done', -1.0)}" in found


def test_a_relaxation_that_went_on_may_differ_by_what_convergence_leaves_open(
    stage: Stage, store: Store
) -> None:
    two = Calculation("b" * 64, "t", {}, {}, "f", campaign="chaos")
    store.ensure_calculations([two])
    store.claim(two.id, "somebody")
    from_there = {"attempt": 1, "step": 3}
    store.finish(
        two.id, 1, Result(two.id, 1, converged=True, energy=-1.0, continued_from=from_there)
    )
    found = violations(stage, None)
    assert f"{two.id}: attempt 1 went on from {from_there}" in found
    assert not _agree(("done", -1.0), ("done", -1.0 + 1e-6), 0.0)
    assert _agree(("done", -1.0), ("done", -1.0 + 1e-6), CONVERGED)
    assert not _agree(("done", -1.0), ("quarantined", None), CONVERGED)


def test_a_process_that_is_left_is_seen(stage: Stage, store: Store) -> None:
    left = subprocess.Popen(["sleep", "60"], env=stage.environment)
    assert f"process {left.pid} is left: sleep 60" in violations(stage, None)
    stage.end_all()
    left.wait()
