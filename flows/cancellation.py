"""A run that is cancelled in Prefect stops, whatever started it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from leadline.flows.watching import Watcher

LOOK = 3.0
"""Seconds between two looks at the flow run's state."""


@contextmanager
def cancelled_in_prefect(watch: Watcher) -> Iterator[None]:
    """Ask Prefect every few seconds whether this flow run was cancelled."""
    mine, ended = flow_run.id, threading.Event()
    if mine is None:
        yield
        return
    thread = threading.Thread(
        target=_look, args=(UUID(str(mine)), watch, ended), name="cancellation", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _look(mine: UUID, watch: Watcher, ended: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not ended.wait(LOOK):
            try:
                state = client.read_flow_run(mine).state
            except Exception:  # a server that is away cancels nothing; the next look asks again
                continue
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                watch.note("cancelled in Prefect; ending what runs")
                watch.cancel()
                return
