"""The calculations of a run: what waits, what runs, what has ended."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from threading import Condition, Event

from prefect.futures import PrefectFuture

from leadline.flows.limits import RunLimits
from leadline.flows.steps import calculation_task
from leadline.flows.watching import Watcher
from leadline.tasks.beside import beside
from leadline.tasks.calculate import Desk, Outcome
from leadline.tasks.errors import ComputeError
from leadline.tasks.store.records import Calculation

POLL = 0.2
"""Seconds between two looks at whether to stop."""
Running = PrefectFuture[None]


class Dispatching:
    """Keeps the workers busy, one task run a calculation, and hands out what has ended.

    A thread of its own starts what waits whenever a worker is free, whatever the driver does
    meanwhile. Nothing starts unless ``allowed()`` says that this driver may. ``given_up()``
    says which workers are lost for good, a sentence each: the rest go on, and where none is
    left the run ends.
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
        self.waiting: deque[tuple[Calculation, str]] = deque()
        self.running: dict[str, Running] = {}
        self.stuck: dict[str, str] = {}
        self.started = 0
        self._lost = 0
        self._error: BaseException | None = None
        self._ended: deque[tuple[str, Outcome | BaseException]] = deque()
        self._answered: deque[tuple[Running, Outcome]] = deque()
        self._changed, self._stirred = Condition(), Event()
        self._task = calculation_task(self._carry)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Start what waits, in a thread of its own, until the block ends."""
        context = copy_context()  # by which Prefect knows the flow run
        with beside("dispatching", lambda closing: context.run(self._keep_busy, closing)):
            yield

    def add(self, calculations: Iterable[tuple[Calculation, str]]) -> None:
        """Let calculations wait for a worker, each with its formula."""
        with self._changed:
            self.waiting.extend(calculations)
        self._stirred.set()

    def room(self, ahead: int = 0) -> int:
        """Return how many calculations could start now beside what waits and runs.

        ``ahead`` of them are to wait when every worker has one.
        """
        with self._changed:
            return max(self.slots + ahead - len(self.waiting) - len(self.running), 0)

    @property
    def over(self) -> bool:
        """True if nothing runs, nothing may start, and all that ended was handed over."""
        with self._changed:
            left = self.running or self._answered or self._error
            return not left and not (self.waiting and self._may_start())

    def run(
        self,
        *,
        until: Callable[[], bool],
        ended: Callable[[Outcome], None],
        meanwhile: Callable[[], object] = lambda: None,
        more: Callable[[], bool] = lambda: False,
    ) -> None:
        """Hand over what ends until all has, or ``until`` says that it is enough.

        ``meanwhile`` is called several times a second, and may add calculations; as long
        as it may come to that, ``more()`` says so. A stop that was asked for starts
        nothing more; what runs is waited for, or ended where that was asked for too. The
        first error that is the driver's business is raised once nothing runs any more.

        Raises
        ------
        ComputeError
            If no worker is left.
        """
        while not self.over or (more() and self._may_start()):
            meanwhile()
            while self._answered:
                running, outcome = self._answered.popleft()
                running.wait()
                if outcome.waiting:
                    self.stuck[outcome.calculation.id] = outcome.waiting
                ended(outcome)
            if self._error is None and until():
                return
            if self._error is not None and not self.running:
                raise self._error
            with self._changed:
                if not self._answered:
                    self._changed.wait(POLL)

    def wait_for_all(self, seconds: float) -> None:
        """Give what runs some seconds to end, once it was told to: then its records are whole."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self.running and time.monotonic() < deadline:
                self._changed.wait(POLL)

    def _keep_busy(self, closing: Event) -> None:
        while not closing.is_set():
            self._stirred.wait(POLL)
            self._stirred.clear()
            try:
                self._settle()
                self._heed_losses()
                self._refill()
            except BaseException as error:  # this thread has no caller: who waits is told
                self._fail(error)

    def _settle(self) -> None:
        """Free the workers of what has ended, and put it where it is handed over."""
        while self._ended:
            calculation, outcome = self._ended.popleft()
            with self._changed:
                running = self.running.pop(calculation)
                if isinstance(outcome, BaseException):
                    self._error = self._error or outcome
                else:
                    self._answered.append((running, outcome))
                self._changed.notify_all()

    def _heed_losses(self) -> None:
        """Tell of each worker that is lost for good, once; fail if none is left."""
        lost = self.given_up()[self._lost :]
        for words in lost:
            self._lost += 1
            self.slots -= 1
            rest = f"; the campaign goes on with {self.slots}" if self.slots else ""
            self.watcher.note(words + rest)
        if lost and not self.slots:
            raise ComputeError(
                f"no worker is left: {lost[-1]}. What it said stands above. Nothing is lost: see "
                "that this machine has memory and room on the disk, and that its Python still "
                "works (`leadline check FILE`), then run again"
            )

    def _refill(self) -> None:
        while self._error is None and self._may_start():
            with self._changed:
                if not self.waiting or len(self.running) >= self.slots:
                    return
                record, formula = self.waiting.popleft()
                self.started += 1
                self.limits.started += 1
                self.running[record.id] = self._task.submit(record.id, record.structure, formula)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    @property
    def _deserted(self) -> bool:
        return self.slots <= 0

    def _may_start(self) -> bool:
        return not self.watcher.stop_requested and self.limits.room() != 0 and self.allowed()

    def _seconds_of_next(self) -> float:
        with self._changed:
            return self.desk.expects(self.waiting[0][0] if self.waiting else None)

    def _carry(self, calculation: str) -> Outcome:
        """Carry one calculation; runs in a thread of its own."""
        try:
            outcome = self.desk.carry(calculation, lambda: self.watcher.stop_now or self._deserted)
        except BaseException as error:
            self._end(calculation, error)
            raise
        self._end(calculation, outcome)
        return outcome

    def _end(self, calculation: str, outcome: Outcome | BaseException) -> None:
        self._ended.append((calculation, outcome))
        self._stirred.set()
