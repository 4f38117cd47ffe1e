from __future__ import annotations

from dataclasses import replace

import pytest

from leadline.surrogate.missed import Missed
from leadline.surrogate.stopping import Limits, Progress, verdict

MIDWAY = Progress(
    calculations=40,
    hours=2.0,
    unknown=100,
    barren_rounds=1,
    missed=Missed(3.0, 0.06, 0.002, 0.1),
    z_spread=1.1,
    predictions=30,
    node_hours=7.25,
    price=0.5,
)
NO_LIMITS = Limits()


def test_without_an_answer_the_search_goes_on_with_its_evidence() -> None:
    answer = verdict(NO_LIMITS, MIDWAY)
    assert not answer.stop
    assert answer.rule is None
    assert (answer.evidence["expected_missed"], answer.evidence["none_missed"]) == (3.0, 0.06)
    assert "none is missed has a probability of 0.06" in answer.words


@pytest.mark.parametrize(
    ("limit", "progress", "words"),
    [
        (2.0, MIDWAY, "once fewer than 2 are expected"),
        (5.0, replace(MIDWAY, predictions=12), "once 20 predictions were answered; 12 are"),
        (5.0, replace(MIDWAY, z_spread=2.4), "off by 2.40 times their stated spread"),
    ],
)
def test_a_search_that_goes_on_says_what_its_evidence_lacks(
    limit: float, progress: Progress, words: str
) -> None:
    assert words in verdict(Limits(expected_missed=limit), progress).words


@pytest.mark.parametrize(
    ("limits", "rule", "words"),
    [
        (Limits(calculations=40), "calculations", "40 of 40 calculations"),
        (Limits(hours=1.5), "hours", "2.00 of 1.5 hours"),
        (Limits(node_hours=7.0), "node_hours", "spent: 7.25 of 7 node-hours. The model"),
        (Limits(node_hours=7.5), "node_hours", "7.25 of 7.5 node-hours, and another may take 0.5."),
        (
            Limits(rounds_without_discovery=1),
            "rounds_without_discovery",
            "last round found nothing",
        ),
        (Limits(expected_missed=3.5), "expected_missed", "expects 3.00 finds among the 100"),
    ],
)
def test_each_rule_stops_at_its_limit_and_says_so(limits: Limits, rule: str, words: str) -> None:
    answer = verdict(limits, MIDWAY)
    assert (answer.stop, answer.rule) == (True, rule)
    assert words in answer.words


@pytest.mark.parametrize(
    "limits",
    [
        Limits(calculations=41),
        Limits(hours=2.1),
        Limits(node_hours=7.75),
        Limits(rounds_without_discovery=2),
        Limits(expected_missed=3.0),
    ],
)
def test_no_rule_stops_before_its_limit(limits: Limits) -> None:
    assert not verdict(limits, MIDWAY).stop


@pytest.mark.parametrize("z", [0.4, 1.26, 1.99])
def test_a_stop_by_evidence_says_how_far_predictions_were_off(z: float) -> None:
    answer = verdict(Limits(expected_missed=3.5), replace(MIDWAY, z_spread=z))
    assert answer.stop
    assert f"off by {z:.2f} times their stated spread, which both numbers allow" in answer.words


def test_an_empty_pool_ends_every_search() -> None:
    answer = verdict(NO_LIMITS, replace(MIDWAY, unknown=0))
    assert (answer.stop, answer.rule) == (True, "pool_exhausted")


@pytest.mark.parametrize(
    "doubtful",
    [
        replace(MIDWAY, z_spread=2.1),
        replace(MIDWAY, z_spread=None),
        replace(MIDWAY, predictions=19),
        replace(MIDWAY, missed=None),
    ],
)
def test_a_model_that_is_not_borne_out_stops_nothing(doubtful: Progress) -> None:
    assert not verdict(Limits(expected_missed=5.0), doubtful).stop


def test_a_spent_budget_says_what_is_left_and_whether_to_believe_it() -> None:
    limits = Limits(calculations=40)
    assert "expects 3.00 finds" in verdict(limits, MIDWAY).words
    assert "not borne out" in verdict(limits, replace(MIDWAY, predictions=3)).words
    assert "not known" in verdict(limits, replace(MIDWAY, missed=None)).words
