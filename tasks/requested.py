"""What batch jobs asked for beside what their calculations used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from leadline.tasks.store.records import Attempt


@dataclass(frozen=True)
class Requested:
    """Walltime and memory of batch jobs.

    Parameters
    ----------
    jobs
        How many there were.
    walltime, used_walltime
        Seconds of all jobs together, and of the engines in them.
    memory, used_memory
        Bytes of a node that a calculation's job asked for, and that it took at its peak:
        means over the calculations whose peak is known; None where none is.
    """

    jobs: int
    walltime: float
    used_walltime: float
    memory: float | None = None
    used_memory: float | None = None


def requested(attempts: Iterable[Attempt]) -> Requested | None:
    """Return what the jobs of attempts asked for; None where there were no jobs.

    A job in which several ran, one after the other, asked once.
    """
    asked = [each for each in attempts if each.asked]
    if not asked:
        return None
    jobs = {each.where.get("job") or id(each): each.asked["walltime"] for each in asked}
    known = [(each.asked["memory"], each.used["memory"]) for each in asked if "memory" in each.used]
    return Requested(
        len(jobs),
        float(sum(jobs.values())),
        float(sum(each.times.get("wall", 0.0) for each in asked)),
        fmean(memory for memory, _ in known) if known else None,
        fmean(used for _, used in known) if known else None,
    )
