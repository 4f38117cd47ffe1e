"""From a proposal to a record: answers, losses, remedies, and what stops a campaign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from told import (
    COPPER,
    Answer,
    Wide,
    asked_of,
    fails,
    good,
    lost,
    never,
    physics,
    states,
)

from leadline.tasks.calculate import Desk
from leadline.tasks.calculation import FailureKind, Request, Result
from leadline.tasks.engines.engine import EngineSite
from leadline.tasks.errors import ConfigurationError, StoreError
from leadline.tasks.failed_attempts import last_failure
from leadline.tasks.judge import Judge
from leadline.tasks.remedies import remedy_calculation
from leadline.tasks.store.records import CalculationState
from leadline.tasks.store.store import Store
from leadline.tasks.structures import to_plain


def test_an_answer_is_recorded_and_asked_for_once(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(good)
    outcome = ours.carry(queued, never)
    assert (outcome.state, outcome.failure, outcome.waiting) == (CalculationState.DONE, None, "")
    assert outcome.calculation.energy == -0.03
    again = desk()
    assert again.carry(queued, never).calculation == outcome.calculation
    (request,) = asked_of(ours)
    assert (request.attempt, request.gone, request.structure) == (1, (), to_plain(COPPER))
    assert Path(request.folder).is_dir()


def test_what_was_never_queued_is_an_error(desk: Callable[..., Desk]) -> None:
    with pytest.raises(StoreError, match="must be queued first"):
        desk().carry("0" * 64, never)


def test_a_lost_worker_is_run_again_as_it_was(desk: Callable[..., Desk], queued: str) -> None:
    said: list[str] = []
    ours = desk(lost, lost, good, say=said.append)
    assert ours.carry(queued, never).state is CalculationState.DONE
    assert said == [
        f"Cu {queued[:12]} runs again, as attempt {number}: the engine's own words"
        for number in (2, 3)
    ]
    assert [request.attempt for request in asked_of(ours)] == [1, 2, 3]
    assert {str(request.engine["changes"]) for request in asked_of(ours)} == {"{}"}


def test_losses_in_a_row_wait_for_a_person(desk: Callable[..., Desk], queued: str) -> None:
    outcome = desk(lost, lost, lost, cuts=3).carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert states(outcome.calculation) == ["cut"] * 3
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.REMOTE


def test_losses_count_only_in_a_row(desk: Callable[..., Desk], queued: str) -> None:
    outcome = desk(lost, physics, lost, good, cuts=2).carry(queued, never)
    assert outcome.state is CalculationState.DONE


def test_physics_climbs_the_remedies_then_is_set_aside(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(physics, physics, physics)
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert [request.engine["changes"] for request in asked_of(ours)] == [
        {},
        {"care": 1},
        {"care": 2},
    ]
    assert [each.changes for each in outcome.calculation.attempts][1:] == [
        {"care": 1},
        {"care": 2},
    ]
    failure = last_failure(outcome.calculation)
    assert failure is not None
    assert failure.message == "the engine's own words"


def led(end: str) -> Answer:
    """Fail after a cheap engine has led the way, or has been dropped."""

    def answer(request: Request) -> Result:
        return replace(physics(request), prerelaxed={"engine": "emt", "attempt": 1, "end": end})

    return answer


@pytest.mark.parametrize("end", ["converged", "unfinished"])
def test_what_fails_where_a_cheap_engine_led_is_tried_from_its_own_start_before_it_is_set_aside(
    end: str, desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(led(end), led(end), led(end), lost, good)
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.DONE
    changes = [request.engine["changes"] for request in asked_of(ours)]
    assert changes == [{}, {"care": 1}, *[{"care": 2}] * 3]
    assert [request.since for request in asked_of(ours)] == [1, 1, 1, 4, 4]
    assert outcome.calculation.attempts[3].changes == {"care": 2, "prerelax": False}
    assert outcome.calculation.attempts[3].reason == "changed, after bad"


@pytest.mark.parametrize("last", [physics, led("dropped")])
def test_what_fails_at_its_own_start_is_not_tried_from_there_again(
    last: Answer, desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(led("converged"), led("converged"), last)
    assert ours.carry(queued, never).state is CalculationState.QUARANTINED
    assert {request.since for request in asked_of(ours)} == {1}


def remedied(desk: Callable[..., Desk], queued: str) -> str:
    """Queue what an engine names when it has used up its remedies, and return its id."""
    ours = desk(physics, physics, physics, engine=Wide({}, EngineSite()))
    record = ours.carry(queued, never).calculation
    assert record.state is CalculationState.QUARANTINED
    assert record.remedy is not None
    assert record.remedy["changes"] == {"asap_cutoff": True}
    ours.store.ensure_calculations([remedy_calculation(record, "test")])
    return str(record.remedy["calculation"])


def test_what_would_change_the_physics_is_named_and_no_attempt(
    desk: Callable[..., Desk], queued: str, store: Store
) -> None:
    assert remedied(desk, queued) != queued
    reason = store.events("test")[-2].details["reason"]
    assert reason.endswith(
        "another calculation may converge, with asap_cutoff True (False): it is calmer"
    )


def test_a_remedy_of_the_physics_climbs_a_ladder_of_its_own(
    desk: Callable[..., Desk], queued: str
) -> None:
    remedy = remedied(desk, queued)
    ours = desk(physics, good, engine=Wide({}, EngineSite()))
    assert ours.carry(remedy, never).state is CalculationState.DONE
    assert [request.engine["changes"] for request in asked_of(ours)] == [{}, {"care": 1}]
    assert {request.engine["settings"]["asap_cutoff"] for request in asked_of(ours)} == {True}
    assert asked_of(ours)[0].engine["fingerprint"] != ours.fingerprint


def test_wrong_settings_of_a_remedy_stop_no_campaign(
    desk: Callable[..., Desk], queued: str
) -> None:
    remedy = remedied(desk, queued)
    ours = desk(fails(FailureKind.CONFIGURATION), engine=Wide({}, EngineSite()))
    assert ours.carry(remedy, never).state is CalculationState.QUARANTINED


@pytest.mark.parametrize(("use", "judged"), [("apart", False), ("together", True)])
def test_what_relaxes_apart_is_no_phase(
    desk: Callable[..., Desk], queued: str, store: Store, use: str, judged: bool
) -> None:
    remedy, judge = remedied(desk, queued), Judge(store)
    desk(good, engine=Wide({}, EngineSite()), judge=judge, remedies=use).carry(remedy, never)
    assert bool(judge._phases) == judged


def test_a_remedy_is_kept_when_the_worker_is_lost_after_it(
    desk: Callable[..., Desk], queued: str
) -> None:
    ours = desk(physics, lost, good)
    ours.carry(queued, never)
    assert asked_of(ours)[2].engine["changes"] == {"care": 1}


def test_a_relaxation_that_ran_out_of_steps_goes_on_once_whatever_the_engine(
    desk: Callable[..., Desk], queued: str
) -> None:
    unfinished = fails(FailureKind.PHYSICS, "not-relaxed")
    ours = desk(unfinished, unfinished)
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert [request.engine["changes"] for request in asked_of(ours)] == [{}, {}]
    assert outcome.calculation.attempts[1].reason == "continued, after not-relaxed"


def test_going_on_takes_no_remedy_from_the_engine(desk: Callable[..., Desk], queued: str) -> None:
    ours = desk(fails(FailureKind.PHYSICS, "not-relaxed"), physics, physics, good)
    assert ours.carry(queued, never).state is CalculationState.DONE
    changes = [request.engine["changes"] for request in asked_of(ours)]
    assert changes == [{}, {}, {"care": 1}, {"care": 2}]


def test_where_an_attempt_went_on_is_on_record(desk: Callable[..., Desk], queued: str) -> None:
    begun = {"attempt": 1, "step": 7}

    def gone_on(request: Request) -> Result:
        return replace(good(request), continued_from=begun)

    attempts = desk(lost, gone_on).carry(queued, never).calculation.attempts
    assert [each.continued_from for each in attempts] == [None, begun]


def test_no_convergence_without_a_failure_is_physics(
    desk: Callable[..., Desk], queued: str
) -> None:
    def unconverged(request: Request) -> Result:
        return replace(good(request), converged=False)

    outcome = desk(unconverged, good).carry(queued, never)
    assert states(outcome.calculation) == ["failed", "done"]


def test_configuration_stops_the_campaign_in_the_engines_words(
    desk: Callable[..., Desk], queued: str, store: Store
) -> None:
    with pytest.raises(ConfigurationError, match="bad: the engine's own words"):
        desk(fails(FailureKind.CONFIGURATION)).carry(queued, never)
    record = store.calculation(queued)
    assert record is not None
    assert record.state is CalculationState.FAILED
    assert desk(good).carry(queued, never).state is CalculationState.DONE


def test_what_was_cancelled_counts_against_nothing(desk: Callable[..., Desk], queued: str) -> None:
    stopped = fails(FailureKind.CANCELLED, "stopped")
    outcome = desk(stopped).carry(queued, lambda: True)
    assert outcome.state is CalculationState.CANCELLED
    outcome = desk(lost, good, cuts=2).carry(queued, never)
    assert outcome.state is CalculationState.DONE
