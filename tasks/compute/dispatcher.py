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
from leadline.tasks.compute.attempt import State, inspect
from leadline.tasks.compute.attempt_files import ask_to_stop, attempt_folder
from leadline.tasks.compute.worker import run_calculation

STOP_SECONDS = 10.0
"""How long a worker has to end an engine that was asked to stop."""
SETTLE_SECONDS = 5.0
"""How long to look for the guardian's sign-off after a worker was lost."""


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
            that arise here: ``worker-lost``, ``not-started`` and
            ``start-refused`` (remote), ``stopped`` (cancelled), and
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
        return _settled(future, request)


def _stopped(future: distributed.Future[dict[str, str]], request: Request, done: Event) -> Result:
    """Leave the stop mark, then wait for a started engine or take back a waiting task."""
    folder = Path(request.folder)
    ask_to_stop(folder, request.attempt)
    started = (attempt_folder(folder, request.attempt) / "running.json").exists()
    if started and (done.wait(STOP_SECONDS) or future.done()):
        return _settled(future, request)
    future.cancel()
    words = "it was asked to stop" + ("" if started else " before it started")
    return _failed(request, FailureKind.CANCELLED, "stopped", words)


def _settled(future: distributed.Future[dict[str, str]], request: Request) -> Result:
    try:
        answer = future.result()
    except (KilledWorker, CancelledError, OSError) as error:
        return _lost(request, error)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        return _failed(request, FailureKind.CONFIGURATION, "worker-error", words)
    if "result" in answer:
        return Result.from_json(answer["result"])
    return _failed(request, FailureKind.REMOTE, "start-refused", answer["refused"])


def _lost(request: Request, error: BaseException) -> Result:
    """Look into the folder for what became of an attempt whose worker was lost."""
    folder, deadline = Path(request.folder), time.monotonic() + SETTLE_SECONDS
    standing = inspect(folder)
    while standing.state in (State.ALIVE, State.UNKNOWN) and time.monotonic() < deadline:
        time.sleep(0.05)
        standing = inspect(folder)
    left = standing.result
    if left is not None and (left.complete or left.attempt == request.attempt):
        return left
    words = f"the worker was lost ({type(error).__name__}: {error}); {standing.why}"
    started = request.attempt in standing.attempts
    return _failed(request, FailureKind.REMOTE, "worker-lost" if started else "not-started", words)


def _failed(request: Request, kind: FailureKind, reason: str, words: str) -> Result:
    failure = Failure(kind, reason, words)
    return Result(request.calculation, request.attempt, converged=False, failure=failure)
