"""The calculations of a run: what waits, what runs, what has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue

from prefect.futures import PrefectFuture

from leadline.flows.limits import RunLimits
from leadline.flows.steps import calculation_task
from leadline.flows.watching import Watcher
from leadline.tasks.calculate import Desk, Outcome
from leadline.tasks.errors import ComputeError
from leadline.tasks.store.records import Calculation

POLL = 0.2
"""Seconds between two looks at whether to stop."""


class Dispatching:
    """Keeps the workers busy, one task run a calculation, and hands out what has ended.

    Nothing starts unless ``allowed()`` says that this driver may. ``given_up()`` says which
    workers are lost for good, a sentence each: the rest go on, and where none is left the
    run ends.
    """

    def __init__(
        self,
        desk: Desk,
        slots: int,
        limits: RunLimits,
        watcher: Watcher,
        allowed: Callable[[], bool] = lambda: True,
        given_up: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.desk, self.slots, self.limits, self.watcher = desk, slots, limits, watcher
        self.allowed, self.given_up = allowed, given_up
        limits.outlook = self._seconds_of_next
        self._lost = 0
        self.waiting: deque[tuple[Calculation, str]] = deque()
        self.running: dict[str, PrefectFuture[None]] = {}
        self.stuck: dict[str, str] = {}
        self.started = 0
        self._ended: SimpleQueue[tuple[str, Outcome | BaseException]] = SimpleQueue()
        self._task = calculation_task(self._carry)

    def add(self, calculations: Iterable[tuple[Calculation, str]]) -> None:
        """Let calculations wait for a worker, each with its formula."""
        self.waiting.extend(calculations)

    @property
    def free(self) -> int:
        """Calculations that could start now beside what waits and runs."""
        return max(self.slots - len(self.waiting) - len(self.running), 0)

    def run(self, *, until_one: bool, ended: Callable[[Outcome], None]) -> None:
        """Run what waits until all has ended, or ``until_one`` worker is free.

        A stop that was asked for starts nothing more; what runs is waited for,
        or ended where that was asked for too. The first error that is the
        driver's business is raised once nothing runs any more.

        Raises
        ------
        ComputeError
            If no worker is left.
        """
        error: BaseException | None = None
        while self.running or (self.waiting and self._may_start() and error is None):
            error = error or self._heed_losses()
            while self.waiting and self._may_start() and error is None and self._has_slot():
                self._start(*self.waiting.popleft())
            outcome = self._next()
            if isinstance(outcome, BaseException):
                error = error or outcome
            elif outcome is not None:
                self._note(outcome)
                ended(outcome)
                if until_one and not self.waiting:
                    break
        if error is not None:
            raise error

    def _heed_losses(self) -> ComputeError | None:
        """Tell of each worker that is lost for good, once; an error if none is left."""
        lost = self.given_up()[self._lost :]
        for words in lost:
            self._lost += 1
            self.slots -= 1
            rest = f"; the campaign goes on with {self.slots}" if self.slots else ""
            self.watcher.note(words + rest)
        if not lost or self.slots:
            return None
        return ComputeError(
            f"no worker is left: {lost[-1]}. What it said stands above. Nothing is lost: see that "
            "this machine has memory and room on the disk, and that its Python still works "
            "(`leadline check FILE`), then run again"
        )

    @property
    def _deserted(self) -> bool:
        return self.slots <= 0

    def _may_start(self) -> bool:
        return not self.watcher.stop_requested and self.limits.room() != 0 and self.allowed()

    def _seconds_of_next(self) -> float:
        return self.desk.expects(self.waiting[0][0] if self.waiting else None)

    def _has_slot(self) -> bool:
        return len(self.running) < self.slots

    def _start(self, record: Calculation, formula: str) -> None:
        self.started += 1
        self.limits.started += 1
        self.running[record.id] = self._task.submit(record.id, formula)

    def _carry(self, calculation: str) -> Outcome:
        """Carry one calculation; runs in a thread of its own."""
        try:
            outcome = self.desk.carry(calculation, lambda: self.watcher.stop_now or self._deserted)
        except BaseException as error:
            self._ended.put((calculation, error))
            raise
        self._ended.put((calculation, outcome))
        return outcome

    def _next(self) -> Outcome | BaseException | None:
        try:
            calculation, outcome = self._ended.get(timeout=POLL)
        except Empty:
            return None
        self.running.pop(calculation).wait()
        return outcome

    def _note(self, outcome: Outcome) -> None:
        record = outcome.calculation
        if outcome.waiting:
            self.stuck[record.id] = outcome.waiting
