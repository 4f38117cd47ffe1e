"""What Prefect says of a run while it lasts: cancelled there, away, or forgotten.

A run that is cancelled in Prefect stops, whatever started it. A server that is away, or
that was started again with another database, stops nothing: the store is the truth.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.settings import temporary_settings

from leadline.flows.prefect_trouble import IMPATIENT
from leadline.flows.watching import Watcher
from leadline.tasks.beside import beside

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

LOOK = 3.0
"""Seconds between two looks at the flow run's state."""
IN_PREFECT = "in Prefect"
KEPT = "the campaign goes on, and the store keeps every result"


class Sight(StrEnum):
    """How the server stands to this run; the values are what a person is told of a change."""

    KNOWN = "the Prefect server answers again"
    AWAY = f"the Prefect server does not answer: {KEPT}"
    FORGOTTEN = f"the Prefect server answers, and no longer knows this run: {KEPT}"


@contextmanager
def cancelled_in_prefect(watch: Watcher) -> Iterator[None]:
    """Ask Prefect every few seconds for this flow run; tell what changes, obey a cancellation."""
    mine = flow_run.id
    if mine is None:
        yield
        return
    with beside("cancellation", lambda ended: _look(UUID(str(mine)), watch, ended)):
        yield


def _look(mine: UUID, watch: Watcher, ended: threading.Event) -> None:
    seen = Sight.KNOWN
    with temporary_settings(IMPATIENT), get_client(sync_client=True) as client:
        while not ended.wait(LOOK):
            before, (seen, state) = seen, _asked(client, mine)
            if seen is not before:
                watch.note(seen)
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                watch.note(f"cancelled {IN_PREFECT}; ending what runs")
                watch.cancel(IN_PREFECT)
                return


def _asked(client: SyncPrefectClient, mine: UUID) -> tuple[Sight, State | None]:
    try:
        return Sight.KNOWN, client.read_flow_run(mine).state
    except ObjectNotFound:
        return Sight.FORGOTTEN, None
    except Exception:  # whatever the network does; what is away cancels nothing
        return Sight.AWAY, None
