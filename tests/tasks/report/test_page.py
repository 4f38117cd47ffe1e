from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from leadline.tasks.report.page import report_html
from leadline.tasks.report.view import CampaignView, Objective, Phase

MakeView = Callable[..., CampaignView]
VOID = {"meta", "link", "br"}
NASTY = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }} & 铜金 <b>'


class _Page(HTMLParser):
    """Reads a page: its tags, all text, and whether they close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def _read(view: CampaignView) -> _Page:
    page = _Page(report_html(view))
    assert page.open == []
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids)), "an id stands twice"
    return page


def _everywhere(view: CampaignView, text: str) -> CampaignView:
    """Put a text wherever a person, a file or an engine could have written it."""
    rounds = tuple(
        replace(
            each,
            words=text,
            notes=(text,),
            picks=tuple(
                replace(p, formula=text, structure=text, share=text, words=text, failure=text)
                for p in each.picks
            ),
        )
        for each in view.rounds
    )
    verdict = view.verdict and replace(
        view.verdict, rule=text, words=text, evidence={text: text, "list": [text]}
    )
    return replace(
        view,
        name=text,
        state=text,
        reason=text,
        objective=Objective("hull", text, text, text, tolerance=0.003),
        rounds=rounds,
        verdict=verdict,
        phases=tuple(
            replace(p, formula=text, structure=text, space_group=text) for p in view.phases
        ),
        references=tuple(replace(r, source=text, space_group=text) for r in view.references),
        failures=tuple(replace(f, message=text, reason=text, kind=text) for f in view.failures),
        ledger=replace(view.ledger, seconds={text: 1.0}, wasted={text: 1.0}),
        drops={text: 1},
        versions={text: text},
        spec_yaml=text,
        notes=(text,),
        generated=text,
    )


def test_the_page_says_finds_effort_expectation_and_why_it_stopped(view: CampaignView) -> None:
    words = " ".join(_read(view).words.split())
    assert f"{len(view.phases)} phases found" in words
    assert "60 of 430 candidates computed" in words
    assert "calculations by a random search" in words
    assert "Why it stopped. 3 rounds in a row (30 calculations) found no new phase" in words
    assert "Au₃Cu₅" in words
    assert "meV/atom" in words
    assert "12 batch jobs asked for 12 h 00 min" in words


def test_the_page_needs_nothing_but_itself(view: CampaignView) -> None:
    page = _read(view)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "img"})
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action"):
            target = attrs.get(name) or ""
            assert target.startswith(("#", "data:")) or not target, (tag, name, target)
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in report_html(view)
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv") and a.get("content")]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_every_picture_has_words_for_those_who_do_not_see_it(view: CampaignView) -> None:
    pictures = [attrs for _, attrs in _read(view).tags if attrs.get("role") == "img"]
    assert len(pictures) == 6
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in pictures)


def test_what_people_wrote_is_text_and_never_markup(view: CampaignView) -> None:
    tame, wild = _read(_everywhere(view, "tame")), _read(_everywhere(view, NASTY))
    assert [tag for tag, _ in wild.tags] == [tag for tag, _ in tame.tags]
    assert "49" not in re.findall(r"铜金|{{ 7\*7 }}|(?<!\d)49(?!\d)", wild.words)
    assert "{{ 7*7 }} & 铜金" in wild.words


@pytest.mark.parametrize("rounds", [0, 1, 2, 6])
@pytest.mark.parametrize("elements", [("Au", "Cu"), ("Ag", "Au", "Cu"), ("Ag", "Au", "Cu", "Pd")])
def test_every_stage_of_a_campaign_has_a_page(
    rounds: int, elements: tuple[str, ...], make_view: MakeView
) -> None:
    words = _read(make_view(elements, rounds=rounds)).words
    assert ("No round has begun." in words) == (rounds == 0)
    assert ("there is nothing to draw" in words) == (rounds == 0)
    assert ("No prediction has met its answer yet." in words) == (rounds < 2)


def test_a_property_campaign_speaks_of_candidates_and_not_of_hulls(make_view: MakeView) -> None:
    page = _read(replace(make_view(kind="property"), spec_yaml=""))
    assert "candidates found" in page.words
    assert "hull" not in page.words.lower()


def test_a_campaign_in_which_all_failed_says_so(make_view: MakeView) -> None:
    view = make_view(rounds=1)
    failed = tuple(
        replace(p, value=None, nth=None, energy_above_hull=None, state="failed", failure="SCF")
        for p in view.rounds[0].picks
    )
    words = _read(
        replace(
            view,
            rounds=(replace(view.rounds[0], picks=failed),),
            phases=(),
            computed=0,
            failed=10,
            failures=view.failures * 10,
        )
    ).words
    assert "10 failed" in words
    assert "10 answers missing" in " ".join(words.split())
    assert "collapsed" in words


def test_hundreds_of_rounds_and_thousands_of_picks_stay_a_small_page(
    make_view: MakeView,
) -> None:
    text = report_html(make_view(size=12_000, rounds=450, batch=20))
    assert len(text) < 3_000_000
    assert "Earlier rounds" in text
    assert "… and 20 before them." in text


def test_a_round_of_a_thousand_picks_is_cut_and_says_so(make_view: MakeView) -> None:
    text = report_html(make_view(size=3_000, rounds=2, batch=1_000))
    assert len(text) < 2_000_000
    assert "… and 800 more." in text


def test_known_phases_are_not_said_to_be_found_by_a_calculation(view: CampaignView) -> None:
    known = Phase("Cu3Au", "k" * 64, "Pm-3m", (0.25, 0.75), -0.05, 0.0, nth=0, round=0)
    words = _read(replace(view, phases=(known,))).words
    assert "known" in words
    assert "by a random search" not in words


def test_the_same_view_gives_the_same_page(view: CampaignView) -> None:
    assert report_html(view) == report_html(view)
