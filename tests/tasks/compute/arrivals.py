"""Workers of batch jobs that come, without their jobs."""

from __future__ import annotations

from types import SimpleNamespace

from leadline.tasks.compute.queue_settings import Resources
from leadline.tasks.compute.roster import WALLTIME, Roster


def join(roster: Roster, address: str, job: str, asked: Resources | None = None) -> None:
    """Let a worker come whose job asked for so much, or all it may, and is a minute old."""
    asked = asked or roster.full
    plain = {"walltime": asked.walltime, "memory": asked.memory}
    said = {WALLTIME: {"job": job, "seconds": asked.walltime - 60.0, "asked": plain}}
    scheduler = SimpleNamespace(workers={address: SimpleNamespace(extra=said)})
    roster.add_worker(scheduler, address)
