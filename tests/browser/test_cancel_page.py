"""A run that is cancelled on Prefect's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client

from leadline.flows.cancellation import LOOK
from leadline.flows.process_settings import process_settings
from leadline.tasks.store.records import CalculationState
from tests.browser.pages import Pages
from tests.flows.steered import campaign_of, reading, running, until

NAME = "cu-au-slow"


def test_cancel_ends_the_engines_and_the_next_run_goes_on(
    pages: Pages,
    serve: Callable[..., None],
    campaign_file: Callable[..., Path],
    store: Path,
    prefect_api: dict[str, str],
) -> None:
    slow = {"name": "moody-emt", "seconds": 20.0}
    serve(campaign_file(NAME, engine=slow, stop={"expected_missed": None, "calculations": 4}))
    pages.open_deployment("campaign", NAME)
    run = pages.quick_run()
    alive = until(lambda: running(store))
    pages.cancel()
    pages.is_in_state("Cancelled")
    pages.picture("cancelled")
    assert not any(each.is_running() for each in alive)
    until(lambda: campaign_of(store, NAME).owner is None)
    _is_in_time(store, run, prefect_api)
    pages.open_deployment("campaign", NAME)
    pages.quick_run()
    pages.is_in_state("Stopped")
    with reading(store) as opened:
        assert len(opened.by_state(CalculationState.DONE)) == 2 + 4


def _is_in_time(store: Path, run: UUID, api: Mapping[str, str]) -> None:
    """Expect each engine's end within 10 s of when the run must have heard of it."""
    with process_settings(api), get_client(sync_client=True) as client:
        states = client.read_flow_run_states(run)
    (asked,) = [each.timestamp for each in states if each.is_cancelling()]
    with reading(store) as opened:
        ended = [each.attempts[-1].ended for each in opened.by_state(CalculationState.CANCELLED)]
    assert len(ended) == 2
    assert all(each and (each - asked).total_seconds() < LOOK + 10 for each in ended)
