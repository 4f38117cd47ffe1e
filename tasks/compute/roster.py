"""Who is there to compute: the workers of batch jobs, which come late and end at a known time.

Dask hands a task to whichever worker is up, so the first of many jobs to start would get
all of them, and the others nothing. Here a calculation takes one free worker that has time
enough left, and waits while there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

from distributed import SchedulerPlugin

from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.compute.right_sizing import Need, largest
from leadline.tasks.errors import ComputeError

WALLTIME = "walltime"
"""Name under which a worker says how many seconds its job gives it, and which job it is."""
ALL_OF_IT = 0.9
"""Share of a new job's time that is enough for any calculation: more, none can have."""


@dataclass
class Hand:
    """One worker.

    Parameters
    ----------
    address, job
        Of the worker, and id of the batch job around it.
    seconds
        What a calculation had when the worker came.
    resources
        What the job asked for.
    came
        When it came, by the monotonic clock.
    """

    address: str
    job: str
    seconds: float
    resources: Resources
    came: float = field(default_factory=time.monotonic)
    busy: bool = False
    free_since: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that a calculation has now."""
        return self.seconds - (time.monotonic() - self.came)

    def suits(self, need: Need, full: Resources) -> bool:
        """Tell whether a calculation fits, or no job of the ``full`` resources holds it better."""
        best = self.seconds + full.walltime - self.resources.walltime
        has_time = self.left >= min(need.seconds, ALL_OF_IT * best)
        return has_time and self.resources.memory >= need.within(full, stop=0.0).memory


class Roster(SchedulerPlugin):
    """Knows who is there, who is free, and how many are wanted.

    ``full`` is what the profile gives a job at most.
    """

    name = "leadline roster"

    def __init__(self, full: Resources) -> None:
        self.full = full
        self._changed = Condition()
        self._hands: dict[str, Hand] = {}
        self._came: set[str] = set()
        self._wanted: list[Need] = []
        self._trouble = ""
        self.on_change: Callable[[], None] = lambda: None
        """Told when somebody leaves, or is wanted."""

    def add_worker(self, scheduler: Any, worker: str) -> None:
        """Welcome a worker: called by the scheduler."""
        said = scheduler.workers[worker].extra[WALLTIME]
        with self._changed:
            resources = self.full.model_copy(update=said["asked"])
            self._hands[worker] = Hand(worker, said["job"], said["seconds"], resources)
            self._came.add(said["job"])
            self._trouble = ""
            self._changed.notify_all()

    def remove_worker(self, scheduler: Any, worker: str, **_: Any) -> None:
        """Forget a worker: called by the scheduler."""
        with self._changed:
            self._hands.pop(worker, None)
            self._changed.notify_all()
        self.on_change()

    def take(self, need: Need, cancelled: Callable[[], bool], poll: float) -> Hand | None:
        """Wait for a free worker with time and memory enough; None once cancelled.

        Raises
        ------
        ComputeError
            If no worker can come: the message says why.
        """
        with self._changed:
            self._wanted.append(need)
        self.on_change()
        try:
            while not cancelled():
                with self._changed:
                    if hand := self._fitting(need):
                        hand.busy = True
                        return hand
                    if self._trouble:
                        raise ComputeError(self._trouble)
                    self._changed.wait(poll)
            return None
        finally:
            with self._changed:
                self._wanted.remove(need)

    def give_back(self, hand: Hand) -> None:
        """Say that a worker is free again."""
        with self._changed:
            hand.busy, hand.free_since = False, time.monotonic()
            self._changed.notify_all()

    def has(self, hand: Hand) -> bool:
        """Tell whether a worker is still there."""
        return self._hands.get(hand.address) is hand

    @property
    def demand(self) -> int:
        """Workers that are busy or waited for."""
        with self._changed:
            return len(self._wanted) + sum(hand.busy for hand in self._hands.values())

    @property
    def need(self) -> Need:
        """What any of the calculations that wait may run with."""
        with self._changed:
            return largest(self._wanted)

    @property
    def jobs(self) -> frozenset[str]:
        """The batch jobs whose workers are there."""
        with self._changed:
            return frozenset(hand.job for hand in self._hands.values())

    @property
    def came(self) -> frozenset[str]:
        """The batch jobs whose workers are there, or were."""
        with self._changed:
            return frozenset(self._came)

    def let_go(self, idle: float) -> list[Hand]:
        """Return the free workers that have too little for all who wait, or were idle long.

        They get no calculation any more: send them home.
        """
        with self._changed:
            free = [hand for hand in self._hands.values() if not hand.busy]
            late = time.monotonic() - idle
            useless = [
                hand
                for hand in free
                if hand.left <= 0 or self._wanted or hand.free_since < late
                if not any(hand.suits(need, self.full) for need in self._wanted)
            ]
            for hand in useless:
                hand.busy = True
            return useless

    def fail(self, trouble: str) -> None:
        """Say why no worker can come, to all who wait."""
        with self._changed:
            self._trouble = trouble
            self._changed.notify_all()

    def _fitting(self, need: Need) -> Hand | None:
        """Return the free worker with the least time that is enough."""
        free = [hand for hand in self._hands.values() if not hand.busy]
        fitting = [hand for hand in free if hand.suits(need, self.full)]
        return min(fitting, key=lambda hand: hand.left, default=None)
