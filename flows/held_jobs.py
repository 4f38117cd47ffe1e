"""Batch jobs of a campaign that run only once a person has done something."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

from leadline.tasks.compute.batch_job import submitted
from leadline.tasks.compute.queue_settings import JOBS, SYSTEMS, QueueCluster
from leadline.tasks.errors import ComputeError
from leadline.tasks.store.records import CalculationState, Campaign
from leadline.tasks.viewing import CampaignReader

OPEN = (CalculationState.CLAIMED, CalculationState.RUNNING)


def held_jobs(reader: CampaignReader) -> dict[str, str]:
    """Return why jobs of a campaign are held, in the words of their queue, by id.

    The batch system is asked where it answers here, and as the queue that has the jobs;
    elsewhere nothing is known of them.
    """
    of_queue: defaultdict[str, set[str]] = defaultdict(set)
    roots = set[Path]()
    for folder, attempt in _open_attempts(reader):
        roots.add(folder.parent)
        sent = submitted(folder, attempt)
        if sent is not None and sent.queue:
            of_queue[sent.queue].add(sent.job)
    for root in roots:
        for queue, job in _jobs_of_workers(root / JOBS, reader.campaign):
            of_queue[queue].add(job)
    return {
        job: why
        for queue, jobs in of_queue.items()
        for root in sorted(roots)[:1]
        for job, why in _held_in(queue, jobs, root / JOBS).items()
    }


def _open_attempts(reader: CampaignReader) -> Iterator[tuple[Path, int]]:
    """Yield the folder of each calculation that is under way, and the number of its attempt."""
    for record in reader.book.calculations.values():
        last = record.attempts[-1] if record.attempts and record.state in OPEN else None
        if last is not None and last.where.get("folder"):
            yield Path(last.where["folder"]), last.number


def _jobs_of_workers(folder: Path, campaign: Campaign) -> Iterator[tuple[str, str]]:
    """Yield queue and id of the jobs that the campaign's driver has submitted for workers."""
    for file in folder.glob("job-*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["owner"] == campaign.owner and record["queue"]:
                yield str(record["queue"]), str(record["job"])


def _held_in(queue: str, jobs: set[str], folder: Path) -> dict[str, str]:
    from leadline.tasks.compute.batch_queue import BatchQueue  # loads dask: for those with jobs

    kind = queue.partition("/")[0]
    if kind not in get_args(SYSTEMS):
        return {}
    with suppress(ComputeError):
        system = BatchQueue(QueueCluster(kind=kind), folder)
        if system.name == queue:
            return system.held(sorted(jobs))
    return {}
