"""Sends calculations to a cluster and waits for their ends; every end is a Result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import MappingProxyType
from typing import Protocol

import distributed
from distributed.scheduler import KilledWorker

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute.attempt import (
    State,
    Watch,
    give_up,
    inspect,
    take_over,
    wait_for_result,
)
from leadline.tasks.compute.attempt_files import (
    Running,
    ask_to_stop,
    attempt_folder,
    sign_off,
    used_until_lost,
)
from leadline.tasks.compute.batch_queue import CAUSE_SECONDS, BatchQueue
from leadline.tasks.compute.batch_systems import CAUSES, JobState, Said
from leadline.tasks.compute.right_sizing import ANY, Need
from leadline.tasks.compute.roster import Hand, Roster
from leadline.tasks.compute.worker import run_calculation
from leadline.tasks.engines.engine import EngineSite

NOT_STARTED, REFUSED = "not-started", "start-refused"
WORKER_LOST, KILLED = "worker-lost", "killed"
LOST_WITH_JOB = (NOT_STARTED, WORKER_LOST, KILLED)
"""Reasons of failures behind which the end of a batch job may stand."""
IDLE = (NOT_STARTED, REFUSED)
"""Reasons of attempts for which no engine started: they say nothing of the calculation."""
STOP_SECONDS = 10.0
"""How long a worker has to end an engine that was asked to stop."""
FOLDER_POLL = 0.2
"""Seconds between two looks at the folder of a calculation whose worker was lost."""

GONE_SECONDS = 5.0
"""How long Dask has to notice that the worker of a task is gone."""
FETCH_SECONDS = 10.0
"""How long the answer of a finished task may be on its way.

Where its worker dies before it is fetched, Dask begins the task anew, and waits for ever if it
may run nowhere else; the folder has what the answer said.
"""


class Dispatcher:
    """Sends calculations to the workers of a client, from as many threads as one likes.

    Parameters
    ----------
    client
        The Dask client.
    roster
        Workers of batch jobs, of which each calculation takes one; None leaves the
        choice to Dask.
    queue
        The batch system of these jobs.
    """

    def __init__(
        self,
        client: distributed.Client,
        roster: Roster | None = None,
        queue: BatchQueue | None = None,
    ) -> None:
        self._client, self.roster, self._queue = client, roster, queue

    @contextmanager
    def run(
        self,
        request: Request,
        cancelled: Callable[[], bool],
        poll: float = 0.2,
        need: Need = ANY,
    ) -> Iterator[Result]:
        """Run one attempt and give its result; the Dask future is held until the block ends.

        Record the result inside the block. Neither Dask nor this method runs
        anything twice: each further attempt is a request of its own.

        Parameters
        ----------
        request
            The attempt.
        cancelled
            Asked every ``poll`` seconds; once it says True the engine is ended.
        poll
            Seconds.
        need
            What it is thought to need: the batch job that it goes to has as much.

        Returns
        -------
        Iterator[Result]
            The result of this attempt, or the complete one of another. Failures
            that arise here: ``worker-lost``, ``NOT_STARTED`` and
            ``REFUSED`` (remote), ``stopped`` (cancelled), and
            ``worker-error`` (configuration). After the remote ones only
            :func:`inspect` says whether the next attempt may start.
        """
        hand = self.roster.take(need, cancelled, poll) if self.roster else None
        if self.roster and hand is None:
            yield _failed(request, FailureKind.CANCELLED, "stopped", "it was stopped in the queue")
            return
        if self.roster and hand:
            request = replace(request, asked=need.asked(hand.resources, self.roster.full))
        future = self._client.submit(
            run_calculation,
            request.to_plain(),
            key=f"calculation-{request.calculation}-{request.attempt}",
            pure=False,
            retries=0,
            workers=[hand.address] if hand else None,
        )
        try:
            try:
                result = self._end(future, request, cancelled, poll, hand)
            finally:
                if self.roster and hand:
                    self.roster.give_back(hand)
            yield self._caused(request, result, hand, cancelled)
        finally:
            future.release()

    @contextmanager
    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> Iterator[Result | None]:
        """Give nothing: no task of an earlier driver is left."""
        yield None

    def site_for(self, engine: str, sites: int) -> None:
        """Return None: all cells have the same."""

    def proves_gone(self, running: Running) -> bool | None:
        """Tell whether the queue says that the job around an attempt is over; None if not its."""
        return None if self._queue is None else proved_by(self._queue, running)

    def _end(
        self,
        future: distributed.Future[dict[str, str]],
        request: Request,
        cancelled: Callable[[], bool],
        poll: float,
        hand: Hand | None,
    ) -> Result:
        done, gone_since = Event(), float("inf")
        future.add_done_callback(lambda _: done.set())
        while not (done.wait(poll) or future.done()):
            if cancelled():
                return _stopped(future, request, done)
            # A task whose only worker left before it began would wait for it for ever.
            if self.roster and hand and not self.roster.has(hand):
                gone_since = min(gone_since, time.monotonic())
                if time.monotonic() - gone_since > GONE_SECONDS:
                    future.cancel()
                    return _lost(request, OSError("its worker left"), cancelled)
        return _settled(future, request, cancelled)

    def _caused(
        self, request: Request, result: Result, hand: Hand | None, cancelled: Callable[[], bool]
    ) -> Result:
        """Return a result that was lost with its batch job together with the system's own word.

        That word is the proof, too, that nothing of it is alive on a node that we do not see.
        """
        if hand is None or self._queue is None or not _was_lost(result):
            return result
        folder, watch = Path(request.folder), Watch()
        watch.look(folder)
        said = self._queue.last_word(hand.job)
        if said is None:
            return result
        over = f"batch job {hand.job} is over: {said.word}"
        sign_off_by_word(folder, request.attempt, watch, over, cancelled)
        return with_word(result, hand.job, said)


class Dispatch(Protocol):
    """What sends calculations away and gives their results: by Dask, or as batch jobs."""

    def run(
        self,
        request: Request,
        cancelled: Callable[[], bool],
        poll: float = 0.2,
        need: Need = ANY,
    ) -> AbstractContextManager[Result]:
        """Run one attempt and give its result; see :meth:`Dispatcher.run`."""

    def site_for(self, engine: str, sites: int) -> EngineSite | None:
        """Return what the machine says of an engine for such a cell; None if all have the same."""

    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> AbstractContextManager[Result | None]:
        """Take up an attempt that an earlier driver sent away; None where none goes on."""

    def proves_gone(self, running: Running) -> bool | None:
        """Tell whether nothing of an attempt can be alive any more; None where it can't tell."""


def proved_by(queue: BatchQueue, running: Running) -> bool | None:
    """Tell whether the queue that has the job around an attempt says that it is over.

    Another one may have a job of the same number, or say of none of ours that it is there:
    it is not asked. None if so, or if there is no answer in time.
    """
    said, deadline = None, time.monotonic() + CAUSE_SECONDS
    while running.job and running.queue and said is None and time.monotonic() < deadline:
        name = queue.name
        if name not in (None, running.queue):
            return None
        said = queue.said(running.job) if name else None
        time.sleep(0.0 if said else 1.0)
    return None if said is None else said.state is JobState.ENDED


def with_word(result: Result, job: str, said: Said) -> Result:
    """Return a result that was lost with its job together with the word for the job's end."""
    failure = result.failure
    if failure is None or not _was_lost(result):
        return result
    words = f"{failure.message}; batch job {job}: {said.word}"
    reason = CAUSES.get(said.word, failure.reason)
    return replace(result, failure=Failure(failure.kind, reason, words))


def _was_lost(result: Result) -> bool:
    return result.failure is not None and result.failure.reason in LOST_WITH_JOB


def see_to_end(folder: Path, attempt: int, cancelled: Callable[[], bool]) -> Result | None:
    """Wait for an attempt that works on beside us, and end it once we are cancelled.

    Returns
    -------
    Result | None
        What it left; None if it is gone without a word, or can't be told alive.
    """
    left = wait_for_result(folder, attempt, cancelled, FOLDER_POLL)
    if left is None and cancelled():
        ask_to_stop(folder, attempt)
        deadline = time.monotonic() + STOP_SECONDS
        left = wait_for_result(folder, attempt, lambda: time.monotonic() > deadline, FOLDER_POLL)
    return left


def sign_off_by_word(
    folder: Path, attempt: int, watch: Watch, words: str, cancelled: Callable[[], bool]
) -> None:
    """Sign an attempt off because a batch system says that its job is over.

    A counter that rises speaks against that word: a node may be cut off, a listing old or of
    another cluster. It has had time to rise, by :func:`see_to_end`, unless we are cancelled.
    """
    standing = take_over(folder, watch)
    last = standing.attempts[-1] if standing.attempts else None
    if standing.state is State.UNKNOWN and last == attempt and not cancelled():
        sign_off(folder, attempt, words)


def _stopped(future: distributed.Future[dict[str, str]], request: Request, done: Event) -> Result:
    """Leave the stop mark, then wait for a started engine or take back a waiting task."""
    folder = Path(request.folder)
    ask_to_stop(folder, request.attempt)
    started = (attempt_folder(folder, request.attempt) / "running.json").exists()
    if started and (done.wait(STOP_SECONDS) or future.done()):
        return _settled(future, request, _never)
    future.cancel()
    words = "it was asked to stop" + ("" if started else " before it started")
    return _failed(request, FailureKind.CANCELLED, "stopped", words)


def _settled(
    future: distributed.Future[dict[str, str]], request: Request, cancelled: Callable[[], bool]
) -> Result:
    try:
        answer = future.result(timeout=FETCH_SECONDS)
    except (KilledWorker, CancelledError, OSError) as error:
        return _lost(request, error, cancelled)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        return _failed(request, FailureKind.CONFIGURATION, "worker-error", words)
    if "result" in answer:
        return Result.from_json(answer["result"])
    return _failed(request, FailureKind.REMOTE, REFUSED, answer["refused"])


def _lost(request: Request, error: BaseException, cancelled: Callable[[], bool]) -> Result:
    """Look into the folder for what became of an attempt whose worker was lost.

    A worker that is merely cut off, or paused, has an engine that works on: it is
    left to finish, and its answer comes by the folder.
    """
    folder = Path(request.folder)
    left = see_to_end(folder, request.attempt, cancelled)
    if left is not None and (left.complete or left.attempt == request.attempt):
        return left
    standing = inspect(folder)
    words = f"{_who_was_lost(error)}; {standing.why}"
    started = request.attempt in standing.attempts
    if not started:
        give_up(folder, request.attempt)
    reason = WORKER_LOST if started else NOT_STARTED
    return traced(_failed(request, FailureKind.REMOTE, reason, words), folder)


def _who_was_lost(error: BaseException) -> str:
    if isinstance(error, KilledWorker):  # whose own words are advice on Dask
        return f"the worker {error.last_worker.name} at {error.last_worker.address} was lost"
    return f"the worker was lost ({type(error).__name__}: {error})"


def _never() -> bool:
    return False


def _failed(request: Request, kind: FailureKind, reason: str, words: str) -> Result:
    given = (request.calculation, request.attempt, kind, reason, words)
    return failed(*given, asked=request.asked)


def failed(
    calculation: str,
    attempt: int,
    kind: FailureKind,
    reason: str,
    words: str,
    asked: Mapping[str, float] = MappingProxyType({}),
) -> Result:
    """Return the result of an attempt that gave none."""
    failure = Failure(kind, reason, words)
    return Result(calculation, attempt, converged=False, failure=failure, asked=dict(asked))


def traced(result: Result, folder: Path) -> Result:
    """Return the result of an attempt that was lost with what it had used until then."""
    times, used = used_until_lost(folder, result.attempt)
    return replace(result, times=times, used=used)
