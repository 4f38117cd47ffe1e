"""A Prefect server that is away for a while in mid-run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from prefect_here import PrefectHere

from leadline.tasks.store.records import CalculationState
from tests.browser.pages import Pages
from tests.flows.steered import engines, reading, until

NAME = "cu-au-away"
AWAY_S = 30.0


def test_a_run_ends_right_whose_server_was_away_for_half_a_minute(
    own_pages: Pages,
    mortal_prefect: PrefectHere,
    serve: Callable[..., None],
    campaign_file: Callable[..., Path],
    store: Path,
) -> None:
    engine = {"name": "moody-emt", "seconds": 8.0}
    file = campaign_file(NAME, engine=engine, stop={"expected_missed": None, "calculations": 12})
    serve(file, api=mortal_prefect.variables)
    own_pages.open_deployment("campaign", NAME)
    run = own_pages.quick_run()
    until(lambda: len(engines(store)) > 4)
    begun = len(engines(store))
    mortal_prefect.server.end()
    since = time.monotonic()
    until(lambda: time.monotonic() - since > AWAY_S and len(engines(store)) > begun)
    mortal_prefect.start_again()
    own_pages.open_run(run)
    own_pages.is_in_state("Stopped")
    own_pages.picture("away")
    with reading(store) as opened:
        assert len(opened.by_state(CalculationState.DONE)) == 2 + 12
