"""What a person decides of the picks that wait, before it is sent."""

from __future__ import annotations

import re

import pytest

from leadline.flows.review import Verdicts, Veto, form, page
from leadline.flows.review_command import Asked, shown
from leadline.flows.verdicts import Decision, Waiting, WaitingPick
from leadline.tasks.errors import InputError
from leadline.tasks.report.formatting import formula

PICKS = tuple(
    WaitingPick(str(rank), f"{rank}abcdef", formula, "Pm-3m", "It is the most promising.")
    for rank, formula in ((1, "Cu3Au"), (2, "CuAu"), (3, "CuAu3"))
)
WAITING = Waiting("cu-au", (4,), PICKS, "silence approves at 2026-01-01 12:00 UTC")


def test_all_are_approved_but_what_is_vetoed() -> None:
    decision = Decision(approve=["all"], veto={"2": "too soft"}, add=["Au"])
    assert decision.payload(WAITING) == {
        "approve": ["1abcdef", "3abcdef"],
        "veto": {"2abcdef": "too soft"},
        "add": ["Au"],
        "order": [],
    }


def test_an_order_goes_before_what_it_leaves_out() -> None:
    payload = Decision(approve=["all"], order=["3", "1"]).payload(WAITING)
    assert payload["order"] == payload["approve"] == ["3abcdef", "1abcdef", "2abcdef"]


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision(approve=["7"]), "rank '7' names no pick that waits; there: 1, 2, 3"),
        (Decision(veto={"2": " "}), "the veto of 2 gives no reason; say why"),
        (Decision(approve=["2"], veto={"2": "soft"}), "2 is approved and vetoed"),
        (Decision(approve=["1"], order=["3"]), "3 stands in the order and is not approved"),
    ],
)
def test_what_cannot_be_meant_is_refused(decision: Decision, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decision.payload(WAITING)


def test_one_reason_serves_all_vetoes_and_more_serve_one_each() -> None:
    assert Asked(veto=["1", "2"], why=["soft"]).decision.veto == {"1": "soft", "2": "soft"}
    assert Asked(veto=["1", "2"], why=["a", "b"]).decision.veto == {"1": "a", "2": "b"}
    with pytest.raises(InputError, match="found 0 reasons for 2 vetoes"):
        _ = Asked(veto=["1", "2"]).decision


def test_the_form_says_the_same_as_the_command() -> None:
    form = Verdicts(approve_all=True, veto=[Veto(rank="2", why="soft")], order=["3"])
    asked = Asked(approve="all", veto=["2"], why=["soft"], order="3")
    assert form.decision.payload(WAITING) == asked.decision.payload(WAITING)


def test_form_and_terminal_show_each_pick_with_its_reason_and_what_silence_does() -> None:
    form, terminal = page(WAITING), shown(WAITING)
    for words in (form, terminal):
        assert "3 picks of cu-au for round 4 (silence approves at 2026-01-01 12:00 UTC)" in words
        assert all(each.words in words for each in PICKS)
    assert all(each.formula in terminal and formula(each.formula) in form for each in PICKS)
    assert page(WAITING, "rank 7").startswith("**Not taken: rank 7**")


def test_the_form_begins_with_the_picks_and_takes_what_the_plain_one_takes() -> None:
    asked = form(WAITING, "rank 7")
    first, *others = asked.model_json_schema()["properties"].values()
    shown = re.sub(r"\n(?!\n)", " ", first["description"])  # as Prefect's page does
    lines = [line.strip() for line in shown.splitlines() if line.strip()]
    assert lines == [
        *(line for line in page(WAITING, "rank 7").splitlines() if line),
        "approve every pick that you do not veto below",
    ]
    assert all(each["description"] and "cu-au" not in each["description"] for each in others)
    given = {"approve_all": True, "veto": [{"rank": "2", "why": "soft"}]}
    assert asked(**given).decision == Verdicts(**given).decision


def test_a_log_names_each_pick_and_says_why() -> None:
    assert PICKS[0].line == "1: Cu₃Au 1abcdef. It is the most promising."
