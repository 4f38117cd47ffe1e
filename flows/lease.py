"""One driver works on a campaign: its lease, kept alive while it does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from leadline.tasks.errors import StoreError
from leadline.tasks.store.store import Store

BEAT = 10.0
"""Seconds between two beats of the lease."""


@contextmanager
def leased(store: Store, name: str, owner: str) -> Iterator[threading.Event]:
    """Hold a campaign's lease; the event is set if somebody else took it over.

    Raises
    ------
    LeaseError
        If another driver works on the campaign; the message names it.
    """
    store.take_lease(name, owner)
    ended, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            with suppress(StoreError):
                if not store.beat(name, owner):
                    lost.set()
                    return

    thread = threading.Thread(target=beat, name=f"lease of {name}", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
        if not lost.is_set():
            store.release_lease(name, owner)
