"""Waiting for a database server that is away: the one place where a store does.

What a server that stopped, hangs, changes its primary or refuses connections does to an
operation is unknown: it may have been carried out, and only its answer was lost. So an
operation is told when it is tried again, and then asks first whether it is done already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from leadline.tasks.errors import StoreAwayError
from leadline.tasks.store.server_errors import away_words, is_away, reason_words

T = TypeVar("T")
PAUSE = 1.0
"""Seconds between two tries."""


class Patience:
    """How long the operations of a store wait for a server that is away, from any thread.

    An outage is told once and counted from its beginning, whoever met it first.

    Parameters
    ----------
    seconds
        From the beginning of an outage until operations give up; 0 waits for nothing.
    say
        Told in a sentence when an outage begins and when it is over.
    stopped
        Asked between two tries; once it says True operations give up.
    """

    def __init__(
        self,
        seconds: float = 0.0,
        say: Callable[[str], object] = lambda words: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._seconds, self._say, self._stopped = seconds, say, stopped
        self._outage: _Outage | None = None
        self._lock = threading.Lock()

    def through(self, location: str, operation: Callable[[bool], T]) -> T:
        """Carry an operation through however often the server goes away.

        Parameters
        ----------
        location
            Which server, as people may read it.
        operation
            Called with True where an earlier try may have been carried out.

        Raises
        ------
        StoreAwayError
            If the server is still away when patience ends; where there is none, the
            error itself is raised.
        """
        mine: _Outage | None = None
        while True:
            try:
                answer = operation(mine is not None)
            except Exception as error:
                if not is_away(error):
                    self._over(location, mine)
                    raise
                if not self._seconds:
                    raise
                mine = self._wait(location, error, mine)
            else:
                self._over(location, mine)
                return answer

    def _wait(self, location: str, error: Exception, mine: _Outage | None) -> _Outage:
        """Pause before the next try, and return the outage that it belongs to."""
        with self._lock:
            begins = self._outage is None
            outage = self._outage = self._outage or mine or _Outage()
        left = min(outage.begun, (mine or outage).begun) + self._seconds - time.monotonic()
        if left <= 0 or self._stopped():
            outage.given_up = True
            raise StoreAwayError(self._given_up(location, error, outage)) from None
        if begins:
            self._say(
                f"the database at {location} {away_words(error)} since {outage.since}; waiting up "
                f"to {duration_words(self._seconds)} for it. Engines go on, and what they finish "
                "is kept in its files"
            )
        time.sleep(min(PAUSE, left))
        return mine or outage

    def _over(self, location: str, mine: _Outage | None) -> None:
        """End the outage that an operation has come through, and forget one that was given up."""
        found = self._outage
        if found is None or (mine is None and not found.given_up):
            return
        with self._lock:
            outage, self._outage = self._outage, None
        if outage is not None:
            lasted = duration_words(time.monotonic() - outage.begun)
            self._say(f"the database at {location} answers again after {lasted}")

    def _given_up(self, location: str, error: Exception, outage: _Outage) -> str:
        why = "this run was stopped" if self._stopped() else "this run waits no longer"
        return (
            f"the database at {location} {away_words(error)} since {outage.since} "
            f"({reason_words(error)}); {why}. Nothing is lost: what engines have finished "
            "is kept in their files. Once it answers, the same command carries the campaign on; "
            "store.patience in the campaign file is the time that a run waits"
        )


class _Outage:
    """When the server was first found away."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.given_up = False
        self.since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration_words(seconds: float) -> str:
    """Return a time as people say it."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} seconds"
