"""The batch jobs of drivers that drive no longer: written down in files, cancelled by the next.

The next driver may be on another host, where no process of this one can be seen. It holds
the lease of the campaign, so the lease of all who drove it before is over.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass

from leadline.tasks.compute.attempt_files import is_signed_off, turns
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.batch_systems import JobState
from leadline.tasks.compute.job_notes import JobNote, job_notes
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
