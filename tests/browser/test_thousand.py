"""A thousand quick calculations, on each database that a Prefect server may have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import expect
from postgres_here import postgres_here, programs
from prefect_here import PrefectHere, prefect_here

from leadline.tasks.store.records import CalculationState
from tests.browser.pages import LIMIT_S, Pages
from tests.flows.steered import reading

NAME = "ag-au-cu-many"
COUNT = 1000
WIDE = {"source": "orderings", "lattice": "fcc", "elements": ["Ag", "Au", "Cu"], "max_atoms": 6}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def mortal_prefect(
    request: pytest.FixtureRequest, laid_out_home: Path, tmp_path: Path
) -> Iterator[PrefectHere]:
    """A Prefect server of its own, on one database or the other."""
    with ExitStack() as running:
        url = None
        if request.param == "PostgreSQL":
            if (found := programs()) is None:
                pytest.skip("there is no PostgreSQL; on Debian: apt-get install postgresql")
            url = running.enter_context(postgres_here(found))
        yield running.enter_context(prefect_here(laid_out_home, tmp_path, url))


@pytest.mark.thousand
def test_a_thousand_calculations_lock_no_database_and_the_page_of_their_run_opens(
    own_pages: Pages,
    mortal_prefect: PrefectHere,
    serve: Callable[..., None],
    campaign_file: Callable[..., Path],
    store: Path,
) -> None:
    file = campaign_file(
        NAME,
        candidates=[WIDE],
        acquisition={"name": "random", "batch": COUNT // 2},
        start={"random": COUNT // 2},
        stop={"expected_missed": None, "calculations": COUNT},
    )
    serve(file, api=mortal_prefect.variables)
    page = own_pages.page
    own_pages.open_deployment("campaign", NAME)
    own_pages.quick_run()
    before = len(mortal_prefect.log.read_text())
    own_pages.is_in_state("Stopped", limit=3 * LIMIT_S)
    page.reload()
    own_pages.open_tab("Task Runs")
    calculations = page.get_by_role("link", name=re.compile(r"^[AgCu0-9]+ [0-9a-f]{8}$"))
    own_pages.shows(re.compile(r"^1,0\d\d Task runs$"))
    expect(calculations.first).to_be_visible()
    own_pages.picture("thousand")
    with reading(store) as opened:
        assert len(opened.by_state(CalculationState.DONE)) == 3 + COUNT
    assert "database is locked" not in mortal_prefect.log.read_text()[before:]
