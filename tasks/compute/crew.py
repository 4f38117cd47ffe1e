"""Keeps as many workers in a batch system as calculations want, and replaces who is lost.

A job whose worker ended, by walltime, ``scancel`` or a dead node, makes room for another at
once; a worker that is idle for long, or has too little time for what waits, gives its job
back. Which jobs there are stands in files, so that the next driver cancels those of a dead one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread

from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.batch_systems import JobState
from leadline.tasks.compute.job_notes import JobNote
from leadline.tasks.compute.left_over import Driving, clear_left_over
from leadline.tasks.compute.right_sizing import Need
from leadline.tasks.compute.roster import Roster
from leadline.tasks.errors import ComputeError

STILLBORN = 3
"""Jobs in a row that may end before their worker comes."""
CLEAR_SECONDS = 60.0
"""Between two looks at what drivers before this one have left in the queue."""
LEAVE_SECONDS = 30.0
"""How long a driver that ends tries to have its jobs cancelled; the next one does it else."""
WORDS = 600
"""Characters of a dead job's log that are shown."""


class Crew:
    """The batch jobs of one driver.

    Parameters
    ----------
    queue
        The batch system.
    roster
        Who of them has come.
    submit
        Submits a job whose worker has the given name, for such calculations, and returns its id.
    dismiss
        Ends a worker by its address.
    driving
        Who the driver is, and who was it before.
    """

    def __init__(
        self,
        queue: BatchQueue,
        roster: Roster,
        submit: Callable[[str, Need], str],
        dismiss: Callable[[str], None],
        driving: Driving,
    ) -> None:
        self._queue, self._roster = queue, roster
        self._submit, self._dismiss, self._driving = submit, dismiss, driving
        self._most = queue.settings.jobs
        self._jobs: set[str] = set()
        self._came: set[str] = set()
        self._stillborn = 0
        self._numbers = count(1)
        self._cleared = -float("inf")
        self._closing, self._stirred = Event(), Event()
        self._thread = Thread(target=self._keep, name="leadline crew", daemon=True)
        roster.on_change = self._stirred.set

    def resize(self, jobs: int) -> int:
        """Have so many batch jobs at the most from now on; those at work end their calculation."""
        self._most = jobs
        self._stirred.set()
        return jobs

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Keep the jobs inside the block, and cancel what is left of them at its end."""
        self._clear()
        self._thread.start()
        try:
            yield
        finally:
            self._closing.set()
            self._stirred.set()
            self._thread.join()
            self._leave()

    def _leave(self) -> None:
        """Cancel what is left; what the queue did not hear stays written down."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while not (heard := self._queue.cancel(*self._jobs)) and time.monotonic() < deadline:
            time.sleep(1.0)
        for job in self._jobs if heard else ():
            self._forget(job)

    def _keep(self) -> None:
        while not self._closing.is_set():
            self._stirred.wait(self._queue.settings.poll)
            self._stirred.clear()
            try:
                self._tend()
            except ComputeError as error:
                self._roster.fail(str(error))
            except Exception as error:  # this thread has no caller: who waits is told
                words = f"{type(error).__name__}: {error}"
                self._roster.fail(f"the batch jobs cannot be looked after ({words})")

    def _clear(self) -> None:
        if time.monotonic() - self._cleared >= CLEAR_SECONDS:
            self._cleared = time.monotonic()
            clear_left_over(self._queue, self._driving)

    def _tend(self) -> None:
        self._clear()
        for hand in self._roster.let_go(self._queue.settings.idle):
            self._dismiss(hand.address)
        came = self._listed(self._roster.came)
        if came - self._came:
            self._came, self._stillborn = came, 0
        here = self._listed(self._roster.jobs)
        for job in self._jobs - here:
            said = self._queue.said(job)
            if job in self._came or (said is not None and said.state is JobState.ENDED):
                self._lost(job)
        wanted = min(self._most, self._roster.demand)
        for _ in range(len(self._jobs), wanted):
            # Those at work go on alone while whatever else is hired breaks at once.
            if self._stillborn < STILLBORN and not self._closing.is_set():
                self._hire()

    def _hire(self) -> None:
        """Submit one more job.

        A queue that is away, or takes no more for now while some work, is no trouble.
        """
        try:
            job = self._submit(f"leadline-{next(self._numbers)}", self._roster.need)
        except ComputeError:
            if self._jobs or self._queue.is_away():
                return
            raise
        self._jobs.add(job)
        self._note(job).write(self._queue.folder)

    def _lost(self, job: str) -> None:
        """Make room for another job; where none ever comes to work, say what the last one said."""
        self._jobs.discard(job)
        self._forget(job)
        self._stillborn = 0 if job in self._came else self._stillborn + 1
        if self._stillborn >= STILLBORN and not self._roster.jobs:
            self._stillborn = 0
            raise ComputeError(
                f"{STILLBORN} batch jobs in a row ended before their worker came; the last, {job}, "
                f"said: {_last_words(self._queue.folder, job)}. See prologue, python and walltime "
                "under `cluster` of the profile"
            )

    def _listed(self, jobs: frozenset[str]) -> set[str]:
        return {self._queue.listed_as(job) for job in jobs}

    def _forget(self, job: str) -> None:
        self._note(job).remove(self._queue.folder)

    def _note(self, job: str) -> JobNote:
        return JobNote(job, self._queue.name, self._driving.owner)


def _last_words(folder: Path, job: str) -> str:
    whole = re.compile(rf"(?<!\d){re.escape(job)}(?!\d)")
    named = (path for path in folder.iterdir() if path.suffix != ".json" and path.is_file())
    logs = [path for path in named if whole.search(path.name)]
    words = " ".join(path.read_text(errors="replace").strip() for path in sorted(logs))
    return words[-WORDS:] or f"nothing; its log should be in {folder}"
