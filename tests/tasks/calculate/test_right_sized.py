"""What a calculation's next attempt asks for, why, and what is learnt from those that ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from told import Answer, Told, fails, good, lost, never

from leadline.tasks.calculate import Desk
from leadline.tasks.calculation import FailureKind, Request, Result
from leadline.tasks.compute.estimates import MARGIN, Estimates, Measured
from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.compute.right_sizing import ANY, Need, RightSizing, Rule
from leadline.tasks.needs import measured, measured_in
from leadline.tasks.store.records import Attempt, Calculation, CalculationState

RULES = RightSizing(Rule(1.5, after=2, least=60), Rule(1.5, after=2, least=1e8))
FULL = Resources(memory=64e9, walltime=43200)


def cut_by(reason: str, wall: float) -> Answer:
    """Answer as a job that asked for a part of what the profile gives, and had too little."""

    def answer(request: Request) -> Result:
        asked = Need(walltime=100.0, memory=1e9)
        return replace(
            fails(FailureKind.REMOTE, reason)(request),
            asked=asked.asked(asked.within(FULL, 10), FULL),
            times={"wall": wall},
            used={"memory": 9e8},
        )

    return answer


def knowing(seconds: float, memory: float, number: int = 2) -> Estimates:
    estimates = Estimates()
    estimates.note_all([Measured(4, 1, seconds, memory)] * number)
    return estimates


def test_what_had_too_little_asks_for_more_at_once_and_says_why(
    desk: Callable[..., Desk], queued: str
) -> None:
    answers = (cut_by("walltime", 110.0), cut_by("out-of-memory", 20.0), good)
    ours = desk(*answers, rules=RULES, estimates=knowing(60.0, 5e8), cuts=1)
    outcome = ours.carry(queued, never)
    assert outcome.state is CalculationState.DONE
    needs = cast(Told, ours.dispatcher).needs
    assert [each.walltime for each in needs] == pytest.approx([90.0, 220.0, 220.0])
    assert [each.memory for each in needs] == pytest.approx([7.5e8, 7.5e8, 2.8e9])
    first, second, third = outcome.calculation.attempts
    assert (first.asked["walltime"], first.times["wall"], first.used["memory"]) == (120, 110, 9e8)
    assert second.reason.startswith("again with more walltime, after walltime: asked for 2 min")
    assert third.reason.startswith("again with more memory, after out-of-memory: asked for 2 min")


def test_too_little_with_all_that_the_profile_gives_waits_for_a_person(
    desk: Callable[..., Desk], queued: str
) -> None:
    def full(request: Request) -> Result:
        asked = ANY.asked(FULL, FULL)
        return replace(fails(FailureKind.REMOTE, "walltime")(request), asked=asked)

    outcome = desk(full, full, rules=RULES, cuts=2).carry(queued, never)
    assert outcome.state is CalculationState.QUARANTINED
    assert outcome.calculation.attempts[1].reason == "again as it was, after walltime"


def test_a_finished_calculation_is_known_to_the_next(
    desk: Callable[..., Desk], queued: str
) -> None:
    def used(request: Request) -> Result:
        return replace(good(request), used={"memory": 3e8, "cores": 1.0}, times={"wall": 40.0})

    ours = desk(lost, used)
    record = ours.store.calculation(queued)
    assert ours.expects(record) == 0.0
    ours.carry(queued, never)
    assert ours.expects(record) == ours.expects(None) == pytest.approx(MARGIN * 40.0)
    assert ours.carry(queued, never).state is CalculationState.DONE
    assert ours.estimates.count(1) == 1
    sizes, recipe = ours.sizes, {"name": "static", "settings": {}}
    fingerprint = ours.engine.fingerprint()
    found = list(measured_in(ours.store, sizes, fingerprint, recipe))
    assert found == [Measured(4.0, 1, 40.0, 3e8)]
    assert not list(measured_in(ours.store, sizes, "other", recipe))
    assert not list(measured_in(ours.store, sizes, fingerprint, {**recipe, "name": "relax"}))


def test_what_went_on_from_another_attempt_took_the_time_of_both() -> None:
    begun = {"attempt": 1, "step": 3}
    first = Attempt(1, times={"wall": 30.0})
    lost_, second = Attempt(2, times={}), Attempt(3, times={"wall": 12.0}, continued_from=begun)
    record = Calculation("c", "s", {}, {}, "f", attempts=(first, lost_, second))
    record = replace(record, used={"cores": 2.0})
    assert measured(record, 4.0) == Measured(4.0, 2, 42.0)
    unknown = (replace(first, times={}), lost_, second)
    assert measured(replace(record, attempts=unknown), 4.0) is None
    assert measured(replace(record, attempts=()), 4.0) is None
