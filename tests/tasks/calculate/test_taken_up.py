"""What earlier and other drivers began is taken up, waited for, shared, or run again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from told import (
    answer_of,
    asked_of,
    dead,
    earlier_attempt,
    fails,
    good,
    lost,
    never,
    physics,
    states,
)

from leadline.tasks import calculate
from leadline.tasks.calculate import Desk
from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute import attempt, attempt_files
from leadline.tasks.compute.attempt_files import attempt_folder, write_result
from leadline.tasks.compute.guardian import LOST
from leadline.tasks.store.records import CalculationState


def test_a_result_that_an_earlier_driver_left_is_taken_in(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk()
    request = earlier_attempt(ours, queued, dead())
    write_result(good(request), attempt_folder(Path(request.folder), 1))
    outcome = ours.carry(queued, never)
    assert (outcome.state, outcome.calculation.energy) == (CalculationState.DONE, -0.03)
    assert asked_of(ours) == []


def test_a_failure_that_an_earlier_driver_left_is_taken_in(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(good)
    request = earlier_attempt(ours, queued, dead(), pid=2**22 + 1)
    write_result(physics(request), attempt_folder(Path(request.folder), 1))
    outcome = ours.carry(queued, never)
    assert states(outcome.calculation) == ["failed", "done"]
    assert asked_of(ours)[0].gone == (1,)


def test_an_engine_that_ended_with_the_worker_of_a_killed_driver_names_the_driver(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours, driver = desk(good), dead()
    request = earlier_attempt(ours, queued, driver, pid=2**22 + 1)
    left = replace(physics(request), failure=LOST)
    write_result(left, attempt_folder(Path(request.folder), 1))
    outcome = ours.carry(queued, never)
    assert states(outcome.calculation) == ["cut", "done"]
    failure = outcome.calculation.attempts[0].failure
    assert failure is not None
    assert failure["reason"] == "worker-lost"
    pid, host = driver.split("/")[2], driver.split("/")[0]
    assert failure["message"] == (
        f"its driver, process {pid} on {host}, ended; the worker ended, and its engine with it"
    )


def test_an_attempt_whose_driver_and_engine_are_gone_is_run_again(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(good)
    earlier_attempt(ours, queued, dead(), pid=2**22 + 1)
    outcome = ours.carry(queued, never)
    assert states(outcome.calculation) == ["cut", "done"]
    assert outcome.calculation.attempts[0].failure is not None
    assert outcome.calculation.attempts[0].failure["reason"] == "driver-lost"
    assert asked_of(ours)[0].gone == (1,)


def test_a_claim_that_never_started_is_run_again(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(good)
    ours.store.claim(queued, dead())
    assert states(ours.carry(queued, never).calculation) == ["cut", "done"]
    assert (attempt_folder(ours.folder(queued), 1) / "stop").exists()


def test_a_claim_of_a_driver_that_may_live_waits(
    desk: Callable[..., Desk], queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calculate, "STALL_SECONDS", 0.6)
    ours = desk()
    ours.store.claim(queued, "elsewhere/boot/7/1.00/token")
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.CLAIMED
    words = "attempt 1 was claimed by process 7 on elsewhere and has not started"
    assert outcome.waiting == words


def test_what_another_driver_computes_is_waited_for_and_shared(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk()
    other = "elsewhere/boot/7/1.00/token"
    claimed = ours.store.claim(queued, other)
    assert claimed is not None
    answers = threading.Timer(1.0, lambda: ours.store.finish(queued, 1, answer_of(queued)))
    answers.start()
    outcome = ours.carry(queued, never)
    answers.join()
    assert (outcome.state, outcome.calculation.energy) == (CalculationState.DONE, -0.03)
    assert asked_of(ours) == []


def test_whoever_records_an_answer_first_is_heard_by_the_other(
    desk: Callable[..., Desk], queued: str
) -> None:
    def late(request: Request) -> Result:
        ours.store.finish(queued, request.attempt, replace(good(request), energy=-0.05))
        return good(request)

    ours = desk(late)
    outcome = ours.carry(queued, never)
    assert (outcome.state, outcome.calculation.energy) == (CalculationState.DONE, -0.05)
    assert len(outcome.calculation.attempts) == 1


def test_an_attempt_on_another_host_without_proof_waits(
    desk: Callable[..., Desk], queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STALL_SECONDS", 0.5)
    ours = desk()
    earlier_attempt(ours, queued, dead(), host="elsewhere")
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.CLAIMED
    assert "on elsewhere: not signed off" in outcome.waiting
    assert asked_of(ours) == []


def test_a_calculation_that_another_campaign_finished_needs_no_engine(
    desk: Callable[..., Desk], queued: str
) -> None:
    desk(good).carry(queued, never)
    other = desk()
    assert other.carry(queued, never).state is CalculationState.DONE
    assert asked_of(other) == []


def test_attempts_that_never_start_are_no_cuts_and_end_for_this_run(
    desk: Callable[..., Desk], queued: str
) -> None:
    refused, idle = (fails(FailureKind.REMOTE, why) for why in ("start-refused", "not-started"))
    outcome = desk(idle, refused, idle).carry(queued, never)
    assert states(outcome.calculation) == ["cut", "cut", "cut"]
    assert outcome.state is CalculationState.CUT
    assert "3 attempts in a row came to nothing before an engine started" in outcome.waiting
    assert "the engine's own words" in outcome.waiting
    outcome = desk(idle, lost, idle, lost, good).carry(queued, never)
    assert outcome.state is CalculationState.DONE
    assert len(outcome.calculation.attempts) == 8


def test_engines_that_are_lost_count_though_some_attempts_never_started(
    desk: Callable[..., Desk], queued: str
) -> None:
    idle = fails(FailureKind.REMOTE, "not-started")
    outcome = desk(lost, idle, lost, idle, lost).carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert len(outcome.calculation.attempts) == 5


def test_an_engine_that_works_on_elsewhere_is_left_to_finish(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk()
    request = earlier_attempt(ours, queued, dead(), host="elsewhere")
    folder = attempt_folder(Path(request.folder), 1)
    (folder / "heartbeat").write_text("1")

    def work() -> None:
        (folder / "heartbeat").write_text("2")
        time.sleep(1.0)
        write_result(good(request), folder)
        attempt_files.sign_off(Path(request.folder), 1, "its guardian saw everything end")

    engine = threading.Timer(0.5, work)
    engine.start()
    outcome = ours.carry(queued, never)
    engine.join()
    assert (outcome.state, states(outcome.calculation)) == (CalculationState.DONE, ["done"])
    assert asked_of(ours) == []


def test_an_engine_that_works_on_is_ended_when_the_run_is_stopped_at_once(
    desk: Callable[..., Desk], queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadline.tasks.compute.dispatcher.STOP_SECONDS", 0.5)
    ours = desk()
    request = earlier_attempt(ours, queued, dead())
    outcome = ours.carry(queued, lambda: True)
    assert outcome.state is CalculationState.CLAIMED
    assert (attempt_folder(Path(request.folder), 1) / "stop").exists()


def test_a_driver_with_another_folder_waits_for_what_runs_in_the_first(
    desk: Callable[..., Desk], queued: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STALL_SECONDS", 0.5)
    first = desk()
    where = {"folder": str(first.folder(queued))}
    earlier_attempt(first, queued, dead(), where, host="elsewhere")
    second = replace(desk(good), root=tmp_path / "another", watch=first.watch)
    assert "on elsewhere" in second.carry(queued, never).waiting
    assert asked_of(second) == []


def test_a_driver_with_another_folder_takes_the_answer_of_the_first(
    desk: Callable[..., Desk], queued: str, tmp_path: Path
) -> None:
    first = desk()
    where = {"folder": str(first.folder(queued))}
    request = earlier_attempt(first, queued, dead(), where, start=1.0)
    lost = Failure(FailureKind.REMOTE, "worker-lost", "it was lost")
    first.store.fail(queued, 1, lost, CalculationState.CUT)
    write_result(good(request), attempt_folder(Path(request.folder), 1))
    second = replace(desk(), root=tmp_path / "another")
    assert states(second.carry(queued, never).calculation) == ["cut", "done"]
