"""What batch jobs ask for, by numbers: within the profile, by prediction and by what was lost."""

from __future__ import annotations

import pytest

from leadline.tasks.compute.estimates import MARGIN, Estimates, Measured
from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.compute.right_sizing import (
    ANY,
    OWN_MEMORY,
    Need,
    RightSizing,
    Rule,
    asked_in_words,
    is_own_doing,
    largest,
    more_in_words,
    need_of,
)
from leadline.tasks.store.records import Attempt

FULL = Resources(ranks=4, memory=64e9, walltime=12 * 3600)
RULES = RightSizing(Rule(1.5, after=3, least=600), Rule(2.0, after=3, least=1e9))


def known(number: int = 3, seconds: float = 1000.0, memory: float = 4e9) -> Estimates:
    """Return estimates from calculations of eight atoms on four cores."""
    estimates = Estimates()
    estimates.note_all([Measured(8, 4, seconds, memory)] * number)
    return estimates


def attempt(reason: str, asked: Need, wall: float | None = None, **used: float) -> Attempt:
    """Return an attempt whose job asked for a need, and that failed."""
    times = {} if wall is None else {"wall": wall}
    return Attempt(
        1,
        failure={"kind": "remote", "reason": reason, "message": "words"},
        asked=asked.asked(asked.within(FULL, stop=60), FULL),
        times=times,
        used=used,
    )


def test_a_request_follows_the_prediction_with_its_margin() -> None:
    need = need_of(RULES, known(), 8, 4)
    assert need.seconds == pytest.approx(MARGIN * 1000)
    assert (need.walltime, need.memory) == pytest.approx((1500, 8e9))
    assert need.predicted == pytest.approx({"seconds": 1000, "memory": 4e9})
    asked = need.within(FULL, stop=60)
    assert (asked.walltime, asked.memory) == (26 * 60, 8e9 + OWN_MEMORY)
    assert (asked.ranks, asked.nodes) == (4, 1)
    assert need.within(FULL, stop=60, several=4).walltime == 101 * 60


@pytest.mark.parametrize(
    ("rules", "estimates", "cores"),
    [(RightSizing(), known(), 4), (RULES, known(2), 4), (RULES, known(), 8)],
    ids=["no rule", "too few to trust", "on other cores"],
)
def test_without_a_rule_or_a_prediction_to_trust_all_is_asked_for(
    rules: RightSizing, estimates: Estimates, cores: int
) -> None:
    need = need_of(rules, estimates, 8, cores)
    assert (need.walltime, need.memory) == (None, None)
    assert need.within(FULL, stop=60) == FULL


def test_a_request_is_never_above_the_profile_and_never_below_the_least() -> None:
    much = need_of(RULES, known(seconds=1e6, memory=1e12), 8, 4).within(FULL, stop=60)
    assert much == FULL
    little = need_of(RULES, known(seconds=0.5, memory=1e6), 8, 4).within(FULL, stop=60)
    assert (little.walltime, little.memory) == (11 * 60, 1e9 + OWN_MEMORY)


def test_a_job_lasts_longer_than_it_takes_to_end_its_engine() -> None:
    assert Need(walltime=1.0).within(FULL, stop=600).walltime == 21 * 60


def test_what_ran_out_of_time_gets_twice_what_it_had_and_then_all() -> None:
    first = need_of(RULES, known(), 8, 4)
    cut = attempt("walltime", first, wall=1490.0)
    second = need_of(RULES, known(), 8, 4, [cut])
    assert (second.walltime, second.memory) == (2980.0, first.memory)
    again = need_of(RULES, known(), 8, 4, [cut, attempt("walltime", second, wall=2970.0)])
    assert again.walltime is None
    assert again.seconds == 5940.0


def test_what_ran_out_of_memory_gets_twice_what_it_asked_for_and_then_all() -> None:
    first = need_of(RULES, known(), 8, 4)
    killed = attempt("out-of-memory", first, wall=100.0)
    second = need_of(RULES, known(), 8, 4, [killed])
    assert second.memory == 2 * killed.asked["memory"]
    assert second.walltime == first.walltime
    assert need_of(RULES, known(), 8, 4, [killed, killed]).memory is None


def test_a_loss_between_two_attempts_is_no_reason_to_ask_for_less_again() -> None:
    cut = attempt("walltime", need_of(RULES, known(), 8, 4), wall=1490.0)
    lost = attempt("node-failed", need_of(RULES, known(), 8, 4, [cut]))
    assert need_of(RULES, known(), 8, 4, [cut, lost]).walltime == 2980.0


def test_where_no_system_names_the_limit_more_of_both_is_asked_for() -> None:
    lost = attempt("worker-lost", need_of(RULES, known(), 8, 4))
    second = need_of(RULES, known(), 8, 4, [lost])
    assert second.walltime == 2 * lost.asked["walltime"]
    assert second.memory == 2 * lost.asked["memory"]
    assert more_in_words(lost).startswith("again with more walltime and memory, after worker-lost")
    assert not is_own_doing(lost)


def test_only_what_was_less_than_the_profile_gives_is_our_own_doing() -> None:
    need = need_of(RULES, known(), 8, 4)
    assert is_own_doing(attempt("walltime", need))
    assert is_own_doing(attempt("out-of-memory", need))
    for reason in ("walltime", "out-of-memory"):
        assert not is_own_doing(attempt(reason, ANY))
        assert more_in_words(attempt(reason, ANY)) == ""
    assert not is_own_doing(attempt("job-cancelled", need))
    assert more_in_words(attempt("job-cancelled", need)) == ""


def test_the_record_says_what_was_asked_predicted_and_used() -> None:
    cut = attempt("walltime", need_of(RULES, known(), 8, 4), wall=1490.0, memory=3.2e9)
    assert more_in_words(cut) == (
        "again with more walltime, after walltime: asked for 26 min 00 s and 8.4 GB, predicted "
        "16 min 40 s and 4.0 GB, used 24 min 50 s and 3.2 GB"
    )
    assert cut.asked == pytest.approx(
        {
            "walltime": 1560,
            "memory": 8.4e9,
            "most_walltime": 43200,
            "most_memory": 64e9,
            "predicted_seconds": 1000,
            "predicted_memory": 4e9,
        }
    )
    assert asked_in_words(Attempt(1)) == ""


def test_a_job_for_several_calculations_holds_the_largest() -> None:
    needs = [Need(10.0, 20.0, 3e9), Need(30.0, 5.0, 1e9)]
    assert largest(needs) == Need(30.0, 20.0, 3e9)
    assert largest([*needs, ANY]) == Need(30.0)
    assert largest([]) == ANY
