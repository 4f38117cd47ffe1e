"""A campaign begun from Prefect's form, and all that its pages show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.pages import TALL, Pages
from tests.flows.steered import until

HELP = (
    "the campaign, key by key as in a campaign file",
    "calculations that this run may start; then the campaign rests",
    "stop when fewer phases than this are expected to be missing",
)

BAR = 150
"""Pixels that the bar of the shortest task run has in the graph."""


def test_the_form_starts_a_run_whose_page_and_artifact_show_the_campaign(
    pages: Pages, serve: Callable[..., None], campaign_file: Callable[..., Path]
) -> None:
    serve(campaign_file("cu-au-form", stop={"expected_missed": None, "calculations": 16}))
    pages.open_deployment("campaign", "cu-au-form")
    _filled_in(pages)
    pages.is_in_state("Resting")
    _shows_its_work(pages)
    pages.open_deployment("campaign", "cu-au-form")
    pages.quick_run()
    pages.is_in_state("Stopped")
    pages.page.reload()
    assert until(lambda: drawn(pages.graph()) > 12 * BAR)
    pages.picture("run")
    _shows_what_is_known(pages)


def _filled_in(pages: Pages) -> None:
    pages.open_form()
    pages.shows(*HELP)
    limit = pages.field("calculations (Optional)")
    limit.get_by_role("button", name="int", exact=True).click()
    limit.locator("input").fill("6")
    limit.scroll_into_view_if_needed()
    pages.picture("form")
    pages.run_by_form()


def _shows_its_work(pages: Pages) -> None:
    page = pages.page
    expect(page.get_by_text("cu-au-form, round 1").first).to_be_visible()
    pages.shows(
        "Round 0 opens with 2 picks.",
        re.compile(r"^Au [0-9a-f]{8}: .* eV/atom, an element\.$"),
        "Round 1 opens with 4 picks.",
        "drawn at random for the first round, before any model.",
        re.compile(r"^Round 1 is closed: 4 of 16 calculations"),
    )
    line = page.get_by_text(re.compile(r"^Au [0-9a-f]{8}: ")).first.inner_text()
    assert until(lambda: drawn(pages.graph()) > 6 * BAR)
    pages.open_tab("Task Runs")
    pages.shows("learn from 2 labels", "propose round 1")
    calculations = page.get_by_role("link", name=re.compile(r"^[CuA0-9]+ [0-9a-f]{8}$"))
    expect(calculations).to_have_count(6)
    expect(calculations.filter(has_text=line.partition(":")[0])).to_have_count(1)
    pages.picture("task-runs")


def drawn(picture: Image.Image) -> int:
    """The pixels of a picture that have the full green of what is completed."""
    red, green, blue = np.moveaxis(np.asarray(picture, dtype=int), -1, 0)
    return int(((green > 140) & (red < 80) & (blue < 110)).sum())


def _shows_what_is_known(pages: Pages) -> None:
    pages.open_tab("Artifacts")
    pages.page.get_by_text("campaign-cu-au-form", exact=True).first.click()
    pages.shows(
        "Find every phase within 1 meV/atom of the convex hull.",
        "Why it stopped",
        "What was picked, and why",
        "Where the time went",
    )
    _has_pictures(pages.page, "^Convex hull of Au-Cu", "^[0-9]+ finds? in [0-9]+ calculations")
    finds = pages.page.locator("table").filter(has_text="space group")
    expect(finds).to_contain_text("Cu₃Au")
    pages.shows("picked because it is the most promising of those left")
    pages.picture("artifact", TALL)


def _has_pictures(page: Page, *alts: str) -> None:
    for alt in alts:
        picture = page.get_by_alt_text(re.compile(alt)).first
        expect(picture).to_be_visible()
        assert picture.evaluate("picture => picture.complete && picture.naturalWidth") > 300
