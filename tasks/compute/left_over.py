"""The batch jobs of drivers that drive no longer: written down in files, cancelled by the next.

The next driver may be on another host, where no process of this one can be seen. It holds
the lease of the campaign, so the lease of all who drove it before is over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from leadline.tasks.compute.attempt_files import is_signed_off, turns
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.batch_systems import JobState
from leadline.tasks.errors import ComputeError
from leadline.tasks.store.owner import is_gone

OWNER = "owner"
"""File that says whose a folder of certificates is."""


@dataclass(frozen=True)
class Driving:
    """Who drives a campaign now.

    Parameters
    ----------
    owner
        The process, as its lease names it.
    former
        Those whose lease of the same campaign, in the same store, is over.
    """

    owner: str
    former: frozenset[str] = frozenset()


@dataclass(frozen=True)
class JobNote:
    """That a driver has a job with a worker in a queue.

    Parameters
    ----------
    job, queue
        The job's id, and the queue that has it; None where that was not known.
    owner
        The driver, as its lease names it.
    """

    job: str
    queue: str | None
    owner: str

    def write(self, folder: Path) -> None:
        """Write it down, so that others find the job when the driver is dead."""
        self._file(folder).write_text(json.dumps(asdict(self)), encoding="utf-8")

    def remove(self, folder: Path) -> None:
        """Forget the job."""
        with suppress(OSError):
            self._file(folder).unlink()

    def _file(self, folder: Path) -> Path:
        return folder / f"job-{self.job}.json"


def job_notes(folder: Path) -> Iterator[JobNote]:
    """Yield what is written down of the jobs of all drivers."""
    for file in sorted(folder.glob("job-*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            read = json.loads(file.read_text(encoding="utf-8"))
            yield JobNote(str(read["job"]), read.get("queue"), str(read["owner"]))


def clear_left_over(queue: BatchQueue, driving: Driving) -> None:
    """Cancel the jobs of drivers that are proved gone, or replaced, and remove their certificates.

    Another queue has other jobs of these numbers. Of who is replaced, and may be asleep,
    an engine that is alive is left to finish: the folder keeps what it gives.
    """
    for note in job_notes(queue.folder):
        if note.owner == driving.owner or not note.queue or note.queue != queue.name:
            continue
        useless = is_gone(note.owner) or (note.owner in driving.former and _is_idle(queue, note))
        if useless and queue.cancel(note.job):
            note.remove(queue.folder)
    kept = {note.owner for note in job_notes(queue.folder)}
    for owner in queue.folder.glob(f"*/{OWNER}"):
        with suppress(OSError):
            who = owner.read_text(encoding="utf-8")
            if is_gone(who) or who in driving.former - kept:
                shutil.rmtree(owner.parent)


def _is_idle(queue: BatchQueue, note: JobNote) -> bool:
    """Tell whether no engine can be alive in a job; False where that is not known."""
    said = queue.said(note.job)
    if said is None or said.state is not JobState.RUNNING:
        return said is not None
    try:
        return queue.listed_as(note.job) not in _jobs_with_engines(queue)
    except ComputeError:  # a turn that cannot be read may be of any job
        return False


def _jobs_with_engines(queue: BatchQueue) -> set[str]:
    """Return the jobs of a queue in which an attempt took its turn and is not signed off."""
    found = set()
    for folder in queue.folder.parent.glob("*/turns"):
        for last in turns(folder.parent)[-1:]:
            if last.job and last.queue == queue.name:
                over = is_signed_off(folder.parent, last.attempt)
                found |= set() if over else {queue.listed_as(last.job)}
    return found
