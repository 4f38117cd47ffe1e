"""Picks that wait for a person, decided about on Prefect's page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from leadline.tasks.store.records import CalculationState, Proposal, ProposalState
from tests.browser.pages import Pages
from tests.flows.steered import proposals, reading, until

NAME, ELEMENTS = "cu-au-asked", ("Cu", "Au")


def test_waiting_picks_open_their_form_and_its_verdicts_are_kept(
    pages: Pages, serve: Callable[..., None], campaign_file: Callable[..., Path], store: Path
) -> None:
    serve(campaign_file(NAME, review={"silence": "wait"}))
    pages.open_deployment("campaign", NAME)
    pages.quick_run()
    picks = until(lambda: proposals(store, NAME))
    _decided(pages, picks)
    one, *others = until(lambda: _decided_about(store))
    assert one.state is ProposalState.VETOED
    assert {each.state for each in others} <= {ProposalState.APPROVED, ProposalState.LINKED}
    assert one.verdict is not None
    assert (one.verdict["why"], one.verdict["by"]) == ("too costly", "Ada")
    assert one.verdict["how"] == "the form in Prefect"
    until(lambda: _done(store) == len(ELEMENTS) + len(others))


def _done(store: Path) -> int:
    with reading(store) as opened:
        return len(opened.by_state(CalculationState.DONE))


def _decided(pages: Pages, picks: list[Proposal]) -> None:
    pages.open_run_named(f"review {NAME}")
    pages.shows("4 picks of cu-au-asked for round 1", "Press Resume to decide.")
    pages.shows(*(each.structure[:8] for each in picks))
    pages.page.get_by_role("button", name="Resume", exact=True).click()
    form = pages.page.get_by_role("dialog")
    for each in picks:
        expect(
            form.get_by_role("listitem").filter(has_text=each.structure[:12])
        ).to_be_in_viewport()
    expect(form.get_by_role("listitem")).to_have_count(len(picks))
    pages.field("Approve All (Optional)").get_by_role("switch").click()
    veto = pages.field("Veto (Optional)")
    veto.get_by_role("button", name="Add item").click()
    pages.field("Rank").locator("textarea").fill("1")
    pages.field("Why").locator("textarea").fill("too costly")
    pages.field("By (Optional)").locator("textarea").fill("Ada")
    form.get_by_text(picks[0].structure[:12]).scroll_into_view_if_needed()
    pages.picture("review", height=1500)
    pages.send(form.get_by_role("button", name="Submit", exact=True), "resume")
    expect(form).to_be_hidden()
    pages.is_in_state("Completed")
    pages.shows("3 approved, 1 vetoed")


def _decided_about(store: Path) -> list[Proposal]:
    """The picks of the first round, once none of them waits; those of the next may."""
    found = [each for each in proposals(store, NAME) if each.round == 1]
    decided = all(each.state is not ProposalState.PROPOSED for each in found)
    return found if decided else []
