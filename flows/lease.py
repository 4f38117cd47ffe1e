"""One driver works on a campaign: its lease, kept alive while it does.

A driver may be stopped for minutes, by a signal or with its whole machine, and
find on waking that another carries the campaign on. So before each write that is
the campaign's own it proves that the lease is still its: by a beat of late, which
nobody can have taken over, or by another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from leadline.flows.spec import CampaignSpec
from leadline.flows.store_of import URI, open_for, store_folder
from leadline.tasks.beside import beside
from leadline.tasks.errors import LeaseError, StoreError
from leadline.tasks.store.lock import refuse_where_held
from leadline.tasks.store.store import Store

BEAT = 10.0
"""Seconds between two beats of the lease."""
STALE = 60.0
"""Seconds of silence after which a driver that nothing is known of may be replaced."""


class Lease:
    """The lease of a campaign, while a driver holds it."""

    def __init__(self, store: Store, name: str, owner: str) -> None:
        self._store, self._name, self.owner = store, name, owner
        self._sure_until = 0.0
        self._lost = False

    @property
    def held(self) -> bool:
        """True if the campaign is ours now; False where that cannot be told."""
        with suppress(StoreError):
            return self._is_ours()
        return False

    def check(self) -> None:
        """Return if the campaign is ours now.

        Raises
        ------
        LeaseError
            If another driver took it over.
        StoreError
            If the store cannot be asked.
        """
        if not self._is_ours():
            raise LeaseError(
                f"this driver was silent for more than {STALE:.0f} s, and another has taken "
                f"campaign {self._name} over; it goes on there. What this one computed is kept "
                f"in the folder of calculations. `leadline status {self._name}` says who has it"
            )

    def beat(self) -> None:
        """Show that this driver lives, or learn that another took the campaign over."""
        began = _clock()
        if self._store.beat(self._name, self.owner):
            self._sure_until = began + STALE / 2
        else:
            self._lost = True

    def _is_ours(self) -> bool:
        if not self._lost and _clock() >= self._sure_until:
            self.beat()
        return not self._lost


@contextmanager
def leased(store: Store, name: str, owner: str) -> Iterator[Lease]:
    """Hold a campaign's lease, and beat until the block ends.

    Raises
    ------
    LeaseError
        If another driver works on the campaign; the message names it.
    """
    store.take_lease(name, owner, STALE)
    lease = Lease(store, name, owner)

    def beat(ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            with suppress(StoreError):
                lease.beat()

    try:
        with beside(f"lease of {name}", beat):
            yield lease
    finally:
        store.release_lease(name, owner)


def refuse_second_driver(spec: CampaignSpec) -> None:
    """Say at once that another process drives a campaign, before anything slow is started.

    This spares a wait and is no lock: :func:`leased` decides.

    Raises
    ------
    StoreLockedError
        If another process holds the embedded store.
    LeaseError
        If a driver that is proved alive holds the campaign.
    """
    if spec.store.uri_from is None and URI not in os.environ:
        refuse_where_held(store_folder())
        return
    with open_for(spec.store, write=False) as store:
        store.refuse_driven(spec.name)


def _clock() -> float:
    """Return seconds that pass also while the machine sleeps, where the system counts them."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
