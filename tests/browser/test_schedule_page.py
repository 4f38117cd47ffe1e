"""A schedule that fires by itself, as Prefect's pages show it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from prefect_here import PrefectHere

from tests.browser.pages import Pages
from tests.flows.steered import until

NAME = "cu-au-often"


def test_a_schedule_begins_run_after_run_by_itself(
    own_pages: Pages,
    mortal_prefect: PrefectHere,
    serve: Callable[..., None],
    campaign_file: Callable[..., Path],
) -> None:
    file = campaign_file(NAME, stop={"expected_missed": None, "calculations": 12})
    serve(file, "--every", "40 s", "--calculations", "4", api=mortal_prefect.variables)
    own_pages.open_deployment("campaign", NAME)
    own_pages.shows("Every 40 seconds")
    page = own_pages.page
    rested = page.locator(".state-badge").filter(has_text="Resting")

    def have_two_rested() -> bool:
        """Look anew: the list of runs does not grow by itself."""
        own_pages.open_runs()
        page.wait_for_timeout(5000)
        return rested.count() > 1

    assert until(have_two_rested)
    named = page.get_by_role("link", name=re.compile(f"^{NAME}, round"))
    expect(named.nth(1)).to_be_visible()
    own_pages.picture("schedule")
