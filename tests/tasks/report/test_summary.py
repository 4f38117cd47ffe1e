from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from leadline.tasks.problem import PropertyProblem
from leadline.tasks.report import summary
from leadline.tasks.report.view import ON_HULL, CampaignView, LedgerView, Objective

MakeView = Callable[..., CampaignView]


def test_the_headline_says_finds_effort_and_the_random_expectation(view: CampaignView) -> None:
    found = len(view.found)
    need = found * (view.pool_size + 1) / (found + 1)
    assert summary.headline(view) == (
        f"{found} phases found with 60 of 430 candidates computed. "
        f"A random search would need about {need:.0f} for the same finds."
    )


def test_a_rest_is_spoken_of_only_where_there_is_one(view: CampaignView) -> None:
    on_hull = [phase for phase in view.phases if (phase.energy_above_hull or 0.0) <= ON_HULL]
    assert 2 <= len(on_hull) < len(view.phases)
    for phases, words in (
        (view.phases, f"{len(on_hull)} on the hull, the rest within 3 meV/atom of it"),
        (on_hull, "all on the hull"),
        (on_hull[:1], "on the hull"),
    ):
        assert summary.finds_detail(replace(view, phases=tuple(phases))) == words
    assert summary.finds(replace(view, phases=tuple(on_hull[:1]))) == "1 phase found"


def test_what_was_known_before_is_no_find_of_the_search(view: CampaignView) -> None:
    known = replace(view, phases=tuple(replace(phase, nth=0, round=0) for phase in view.phases))
    assert summary.random_need(known) is None
    assert summary.last_find(known) == 0
    assert "random" not in summary.headline(known)


def test_how_busy_the_workers_were_is_said_where_it_is_known(view: CampaignView) -> None:
    assert summary.use_words(view) == (
        "Workers computed 91 % of the time from the first start to the last; 2.0 % of it they "
        "waited for what was picked to start, and 7.0 % for a pick. Then the last ones ran for "
        "8.0 s."
    )
    assert not summary.use_words(replace(view, ledger=LedgerView()))


def test_saved_calculations_count_all_that_was_computed(view: CampaignView) -> None:
    need = summary.random_need(view)
    assert need is not None
    assert summary.saved(view) == pytest.approx(need - 60)
    assert summary.saved(replace(view, computed=430)) == 0
    assert "of engine time" in summary.saved_words(view)
    assert "engine" not in summary.saved_words(replace(view, ledger=LedgerView()))


def test_before_the_first_answer_nothing_is_claimed(make_view: MakeView) -> None:
    view = make_view(rounds=0)
    assert summary.headline(view) == "No candidate of 430 is computed yet."
    assert summary.why(view) == "It has not started."
    assert summary.saved(view) is None
    assert summary.saved_words(view) == ""


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        ("running", "", "It is running."),
        ("resting", "", "It is resting."),
        ("failed", "the engine is away", "The engine is away."),
    ],
)
def test_a_campaign_without_a_verdict_says_its_state(
    state: str, reason: str, said: str, view: CampaignView
) -> None:
    assert summary.why(replace(view, verdict=None, state=state, reason=reason)) == said


def test_a_property_names_its_threshold_and_its_side(make_view: MakeView) -> None:
    view = make_view(kind="property")
    assert summary.finds_detail(view) == "heat_all at most −0.050 eV/atom"
    better = Objective("property", "", "gap", "eV", sought=PropertyProblem("gap", "maximise", 2.0))
    assert summary.finds_detail(replace(view, objective=better)) == "gap at least 2.000 eV"
    for sought, words in (
        (PropertyProblem("gap"), "best gap"),
        (PropertyProblem("gap", best=5), "the 5 best gap"),
        (PropertyProblem("gap", window=(1.5, 3.0)), "gap from 1.500 to 3.000 eV"),
        (PropertyProblem("gap", target=1.4), "gap nearest to 1.400 eV"),
        (PropertyProblem("gap", best=5, target=1.4), "the 5 gap nearest to 1.400 eV"),
    ):
        other = replace(view, objective=replace(better, sought=sought))
        assert summary.finds_detail(other) == words


def test_calibration_has_units_and_leaves_out_what_is_not_known(view: CampaignView) -> None:
    rows = {name: value for name, value, _ in summary.calibration_rows(view)}
    assert rows["root mean square error"] == "11.1 meV/atom"
    assert rows["answers within the 50 % interval"] == "54 %"
    assert len(rows) == 9
    volts = replace(view, objective=Objective("property", "", "gap", "eV"))
    assert summary.calibration_rows(volts)[0][1] == "0.011 eV"


def test_a_property_without_a_unit_has_no_empty_brackets(make_view: MakeView) -> None:
    bare = Objective(
        "property",
        "minimise heat_all",
        "heat_all",
        "",
        sought=PropertyProblem("heat_all", threshold=0.16),
    )
    view = replace(make_view(kind="property"), objective=bare)
    assert bare.in_unit("predicted") == "predicted"
    assert summary.finds_detail(view) == "heat_all at most 0.160"
    assert summary.calibration_rows(view)[0][1] == "0.011"


def test_evidence_reads_as_words() -> None:
    evidence = {"expected_missed": 0.2134, "rule_held": True, "ids": [1, 2], "limit": None}
    assert summary.evidence_rows(evidence) == [
        ("expected missed", "0.2134"),
        ("rule held", "yes"),
        ("ids", "1, 2"),
        ("limit", "not known"),
    ]


def test_an_unknown_use_of_time_is_shown_by_its_name(view: CampaignView) -> None:
    known = replace(view, ledger=LedgerView({"engine": 10.0, "moving files": 70.0, "queue": 0.0}))
    assert summary.ledger_rows(known) == [
        ("engine", 10.0, "10 s"),
        ("moving files", 70.0, "1 min 10 s"),
    ]
