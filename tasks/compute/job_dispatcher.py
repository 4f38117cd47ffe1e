"""Sends each calculation as a batch job of its own, and waits for what it leaves in its folder.

For sites whose nodes reach no driver, and for drivers that sleep: a job goes on when its
driver ends, and the next one takes it up again by the name that stands in the folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock

from leadline.tasks.calculation import Failure, FailureKind, Request, Result
from leadline.tasks.compute.attempt import State, Watch, give_up, inspect, take_over
from leadline.tasks.compute.attempt_files import (
    Running,
    ask_to_stop,
    attempt_folder,
    write_whole,
)
from leadline.tasks.compute.batch_job import REQUEST, Submission, asked_for, submitted
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.batch_systems import CAUSES, JobState, Said
from leadline.tasks.compute.dispatcher import (
    LOST_WITH_JOB,
    NOT_STARTED,
    STOP_SECONDS,
    WORKER_LOST,
    failed,
    proved_by,
    see_to_end,
    sign_off_by_word,
    traced,
    with_word,
)
from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.compute.right_sizing import ANY, UNCLEAR, Need
from leadline.tasks.errors import ComputeError, WriteError
from leadline.tasks.writing import explained_writing

MODULE = "leadline.tasks.compute.batch_job"
LOOK_SECONDS = 1.0
"""Between two looks at the folder of a calculation."""


class DetachedError(Exception):
    """A driver leaves, and its batch job goes on: no error, the next run takes it up."""


@dataclass(frozen=True)
class Sent:
    """An attempt at a calculation that was sent away as a batch job.

    Parameters
    ----------
    calculation, folder, attempt
        Which one, and the folder of the calculation.
    job, queue
        Id of the job, and the queue that has it; None for a job of our own where that did
        not say which it is.
    asked
        What it asked for.
    """

    calculation: str
    folder: Path
    attempt: int
    job: str
    queue: str | None
    asked: Mapping[str, float]
    watch: Watch = field(default_factory=Watch)

    def left(self) -> Result | None:
        """Return what it gave once all of it has ended; None while it may go on."""
        standing = take_over(self.folder, self.watch)
        if standing.state is State.FINISHED:
            return standing.result
        ended = standing.state is State.GONE and self.attempt in standing.attempts
        return standing.result if ended else None

    def over(self, said: Said, cancelled: Callable[[], bool]) -> Result:
        """Return what it left once its job is over: late, or why there is nothing."""
        found = see_to_end(self.folder, self.attempt, cancelled)
        words = f"batch job {self.job} is over: {said.word}"
        sign_off_by_word(self.folder, self.attempt, self.watch, words, cancelled)
        if found is not None and (found.complete or found.attempt == self.attempt):
            return with_word(found, self.job, said)
        started = self.attempt in inspect(self.folder).attempts
        if not started:
            give_up(self.folder, self.attempt)
        reason = CAUSES.get(said.word, WORKER_LOST if started else NOT_STARTED)
        words = f"batch job {self.job} left no answer: {said.word}"
        return traced(self.failed(FailureKind.REMOTE, reason, words), self.folder)

    def failed(self, kind: FailureKind, reason: str, words: str) -> Result:
        """Return the result of this attempt, which gave none."""
        return failed(self.calculation, self.attempt, kind, reason, words, self.asked)


class JobDispatcher:
    """Sends calculations to a batch system, from as many threads as one likes.

    Parameters
    ----------
    queue
        The batch system.
    """

    def __init__(self, queue: BatchQueue) -> None:
        self._queue = queue
        self.leaves: Callable[[], bool] = lambda: False
        """Says that the driver wants to end and to let its jobs go on."""
        self._submitting, self._under_way = Lock(), set[str]()

    @contextmanager
    def run(
        self,
        request: Request,
        cancelled: Callable[[], bool],
        poll: float = LOOK_SECONDS,
        need: Need = ANY,
    ) -> Iterator[Result]:
        """Submit one attempt and give its result; see :meth:`Dispatcher.run`.

        Its job asks for what it needs, within what the profile gives.

        Raises
        ------
        DetachedError
            If the driver leaves before the job is over.
        ComputeError
            If the batch system takes no job, and none of ours is under way.
        WriteError
            If the folder of calculations takes no more files.
        """
        folder, settings = Path(request.folder), self._queue.settings
        resources = need.within(settings.resources, settings.margin)
        request = replace(request, asked=need.asked(resources, settings.resources))
        directory = attempt_folder(folder, request.attempt)
        with explained_writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            write_whole(directory / REQUEST, json.dumps(request.to_plain()))
        job = self._submitted(folder, request.attempt, resources, cancelled, poll)
        if job is None:
            words = "it was stopped while the queue took no more jobs"
            yield failed(
                request.calculation, request.attempt, FailureKind.CANCELLED, "stopped", words
            )
            return
        self._note(directory, job)
        sent = Sent(
            request.calculation, folder, request.attempt, job, self._queue.name, request.asked
        )
        result = self._end(sent, cancelled, poll)
        assert result is not None  # of our own queue
        yield result

    @contextmanager
    def resume(
        self, calculation: str, folder: Path, attempt: int, cancelled: Callable[[], bool]
    ) -> Iterator[Result | None]:
        """Take up the job of an earlier driver; None where the attempt has none in this queue."""
        noted = submitted(folder, attempt)
        if noted is None or noted.queue is None:
            yield None
        else:
            asked = asked_for(folder, attempt)
            sent = Sent(calculation, folder, attempt, noted.job, noted.queue, asked)
            yield self._end(sent, cancelled, LOOK_SECONDS)

    def site_for(self, engine: str, sites: int) -> None:
        """Return None: all cells have the same."""

    def proves_gone(self, running: Running) -> bool | None:
        """Tell whether the queue says that the job around an attempt is over; None if not its."""
        return proved_by(self._queue, running)

    def _has(self, sent: Sent) -> bool | None:
        """Tell whether a job is of our queue; None while that does not say which it is."""
        if sent.queue is None:
            return True
        return None if self._queue.name is None else sent.queue == self._queue.name

    def _submitted(
        self,
        folder: Path,
        attempt: int,
        resources: Resources,
        cancelled: Callable[[], bool],
        poll: float,
    ) -> str | None:
        """Submit a job, once the queue takes it; None if cancelled before.

        A queue that is away, or takes no more for now while jobs of ours are under way, is
        no trouble.
        """
        options = [
            *("--walltime", f"{resources.walltime:.0f}"),
            *("--margin", f"{self._queue.settings.margin:.0f}"),
        ]
        submit = partial(self._queue.submit, MODULE, str(folder), str(attempt), options, resources)
        while True:
            with self._submitting:
                alone = not self._under_way
                try:
                    job = submit()
                except ComputeError:
                    if alone and not (cancelled() or self.leaves() or self._queue.is_away()):
                        raise
                else:
                    self._under_way.add(job)
                    return job
            again = time.monotonic() + self._queue.settings.poll
            while time.monotonic() < again:
                if cancelled():
                    return None
                if self.leaves():
                    raise DetachedError("the queue took no more jobs; the next run submits it")
                time.sleep(min(poll, self._queue.settings.poll))

    def _note(self, directory: Path, job: str) -> None:
        """Write down which job runs an attempt; one that nobody could find again is cancelled."""
        try:
            with explained_writing(directory):
                Submission(self._queue.settings.kind, job, self._queue.name).note(directory)
        except WriteError:
            self._under_way.discard(job)
            self._queue.cancel(job)
            raise

    def _end(self, sent: Sent, cancelled: Callable[[], bool], poll: float) -> Result | None:
        self._under_way.add(sent.job)
        try:
            return self._followed(sent, cancelled, poll)
        finally:
            self._under_way.discard(sent.job)

    def _followed(self, sent: Sent, cancelled: Callable[[], bool], poll: float) -> Result | None:
        """Return what a job gave, or why nothing; None where it is of another queue."""
        while (ours := self._has(sent)) is not False:
            # The queue first, the folder second: an answer may land between the two looks.
            said = self._queue.said(sent.job) if ours else None
            if (left := sent.left()) is not None:
                return self._explained(sent, left) if ours else left
            if said is not None and said.state is JobState.ENDED:
                return sent.over(said, cancelled)
            if cancelled():
                return self._stopped(sent)
            if self.leaves():
                words = f"batch job {sent.job} goes on; the next run takes in its answer"
                raise DetachedError(words)
            time.sleep(poll)
        return None

    def _explained(self, sent: Sent, left: Result) -> Result:
        """Return what was left with the system's own word: it was lost, or memory ran out."""
        failure = left.failure
        if failure is None or failure.reason not in (*UNCLEAR, *LOST_WITH_JOB):
            return left
        said = self._queue.last_word(sent.job)
        if said is None or CAUSES.get(said.word) != "out-of-memory":
            return left if said is None else with_word(left, sent.job, said)
        words = f"{failure.message}; batch job {sent.job}: {said.word}"
        return replace(left, failure=Failure(FailureKind.REMOTE, "out-of-memory", words))

    def _stopped(self, sent: Sent) -> Result:
        """Ask for the end of an engine, then of its job."""
        ask_to_stop(sent.folder, sent.attempt)
        deadline = time.monotonic() + STOP_SECONDS
        said = self._queue.said(sent.job) if self._has(sent) else None
        waits = said is not None and said.state is JobState.WAITING
        while not waits and time.monotonic() < deadline:
            if (left := sent.left()) is not None:
                return left
            time.sleep(0.2)
        heard = self._has(sent) and self._queue.cancel(sent.job)
        what = "was cancelled" if heard else "is not known to have ended: its queue was silent"
        words = f"batch job {sent.job} {what}"
        return sent.failed(FailureKind.CANCELLED, "stopped", words)


def open_jobs(queue: BatchQueue) -> JobDispatcher:
    """Return what sends calculations as jobs; ComputeError where its folder cannot be written."""
    try:
        queue.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ComputeError(f"the folder of calculations cannot be written: {error}") from None
    return JobDispatcher(queue)
