"""Sends calculations to a cluster and waits for their ends; every end is a Result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import distributed
from distributed.scheduler import KilledWorker

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute.attempt import inspect, wait_for_result
from leadline.tasks.compute.attempt_files import ask_to_stop, attempt_folder
from leadline.tasks.compute.worker import run_calculation

NOT_STARTED, REFUSED = "not-started", "start-refused"
IDLE = (NOT_STARTED, REFUSED)
"""Reasons of attempts for which no engine started: they say nothing of the calculation."""
STOP_SECONDS = 10.0
"""How long a worker has to end an engine that was asked to stop."""
FOLDER_POLL = 0.2
"""Seconds between two looks at the folder of a calculation whose worker was lost."""


class Dispatcher:
    """Sends calculations to the workers of a client, from as many threads as one likes."""

    def __init__(self, client: distributed.Client) -> None:
        self._client = client

    @contextmanager
    def run(
        self, request: Request, cancelled: Callable[[], bool], poll: float = 0.2
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

        Returns
        -------
        Iterator[Result]
            The result of this attempt, or the complete one of another. Failures
            that arise here: ``worker-lost``, ``NOT_STARTED`` and
            ``REFUSED`` (remote), ``stopped`` (cancelled), and
            ``worker-error`` (configuration). After the remote ones only
            :func:`inspect` says whether the next attempt may start.
        """
        future = self._client.submit(
            run_calculation,
            request.to_plain(),
            key=f"calculation-{request.calculation}-{request.attempt}",
            pure=False,
            retries=0,
        )
        try:
            yield self._end(future, request, cancelled, poll)
        finally:
            future.release()

    def _end(
        self,
        future: distributed.Future[dict[str, str]],
        request: Request,
        cancelled: Callable[[], bool],
        poll: float,
    ) -> Result:
        done = Event()
        future.add_done_callback(lambda _: done.set())
        while not (done.wait(poll) or future.done()):
            if cancelled():
                return _stopped(future, request, done)
        return _settled(future, request, cancelled)


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
        answer = future.result()
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
    words = f"the worker was lost ({type(error).__name__}: {error}); {standing.why}"
    started = request.attempt in standing.attempts
    return _failed(request, FailureKind.REMOTE, "worker-lost" if started else NOT_STARTED, words)


def _never() -> bool:
    return False


def _failed(request: Request, kind: FailureKind, reason: str, words: str) -> Result:
    failure = Failure(kind, reason, words)
    return Result(request.calculation, request.attempt, converged=False, failure=failure)
