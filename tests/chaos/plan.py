"""From a seed to a plan: which campaign, on which Prefect server, and what befalls it when.

Everything is drawn here and nothing later, so a seed is the same plan each time. Moments
are counted in lines of the engines' log, which go with the campaign and not with the clock.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

WORKERS = 2
HERE, YARD_PROFILE, QUEUE_PROFILE = "here", "yard", "queue"
"""Names of the machine profiles: workers of the run's own, those that outlive it, and a queue."""
WEIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "kill driver": 6,
        "stop driver": 2,
        "kill stopped driver": 1,
        "interrupt": 2,
        "interrupt twice": 2,
        "terminate": 1,
        "kill driver in its start": 3,
        "interrupt in its start": 1,
        "kill worker": 3,
        "stop worker": 1,
        "kill guardian": 3,
        "stop guardian": 1,
        "kill nursery": 2,
        "kill engine": 3,
        "stop engine": 1,
        "cut result": 2,
        "delete caches": 1,
        "second driver": 1,
        "kill all": 3,
    }
)
"""Faults by name, and how often each is drawn."""
SERVER_WEIGHTS: Mapping[str, int] = MappingProxyType(
    {"stop Prefect server": 8, "kill Prefect server": 8}
)
"""Faults of a Prefect server that the campaign has for itself."""
YARD_WEIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "stop scheduler": 2,
        "kill scheduler": 2,
        "cut off worker": 4,
        "silence worker": 3,
        "kill driver for long": 6,
    }
)
"""Faults of a Dask scheduler that stands beside the campaign, and of a worker's way to it."""
DATABASE_WEIGHTS: Mapping[str, int] = MappingProxyType(
    {"stop database": 5, "kill database": 5, "cut database": 5, "silence database": 3}
)
"""Faults of a database server, and of the way to it."""
MORTAL = frozenset({"stop database", "kill database"})
"""Those that hit the server itself, which then is no other campaign's."""
DISK_WEIGHTS: Mapping[str, int] = MappingProxyType({"fill disk": 30})
"""Faults of a disk so small that it can be filled."""
QUEUE_WEIGHTS: Mapping[str, int] = MappingProxyType(
    {
        "cancel job": 16,
        "expire job": 8,
        "set node down": 10,
        "stop controller": 8,
        "kill controller": 10,
        "kill node daemon": 8,
        "kill driver for long": 8,
    }
)
"""Faults of a queue, whose engines run in the jobs of a Slurm that the campaign has for itself."""
QUEUE = 8
"""Of so many seeds in a row one computes on a queue: by turns in workers and in jobs."""
SHORT_JOBS = 0.5
"""Share of those with workers whose jobs end by themselves while the campaign goes on."""
OWN_SERVER = 0.15
"""Share of the plans whose campaign starts a Prefect server of its own."""
YARD = 0.3
"""Share of the plans whose engines run on a Dask scheduler that outlives the driver."""
DATABASE = 0.2
"""Share of the plans whose records are kept by a database server."""
DISK = 0.12
"""Share of the plans that have a small disk, for all of their store or for calculations alone."""
SKEWED = 0.5
"""Share of the plans with a Dask scheduler where a worker's clock is an hour off."""
COLD = 0.05
"""Share of the drivers that start cold, beside those that are hit in their start."""
STEADY = 0.2
"""Share of the plans that refill each free worker; they have no set of labels to compare."""
BUDGET = 14


@dataclass(frozen=True)
class Step:
    """One fault.

    Parameters
    ----------
    fault
        Its name, in the table of ``faults.py``.
    lines
        Lines in the engines' log, beyond those at the last fault, to wait for.
    pause
        Seconds to wait then.
    draw
        In [0, 1): which of several is hit.
    seconds
        How long what is stopped stays so.
    overlaps
        Whether the next faults come while what is stopped is still so.
    """

    fault: str
    lines: int
    pause: float
    draw: float
    seconds: float
    overlaps: bool


@dataclass(frozen=True)
class Plan:
    """What a seed means.

    Parameters
    ----------
    variant
        Name of the campaign in ``VARIANTS``: those of one name end with one set of labels.
    mode
        ``batch`` or ``steady``.
    own_server
        Whether the campaign has a Prefect server for itself, which faults may hit.
    yard
        Whether the engines run on a Dask scheduler that outlives the driver.
    queue
        How calculations go to a queue: its jobs hold ``workers``, or each calculation is one
        of the ``jobs``; empty where they do not.
    short_jobs
        Whether these jobs have time for a few calculations only.
    skew
        Seconds by which the clock of a worker on that scheduler is wrong.
    database
        Whether a database server keeps the records, and no file.
    disk
        What is on a small disk: the ``store``, the ``calculations``, or nothing.
    reader
        Whether a process reads the store all the time.
    cold
        The drivers, by number, that import all that they need themselves.
    steps
        What befalls it, in order.
    """

    seed: int
    variant: str
    mode: str
    own_server: bool
    yard: bool
    queue: str
    short_jobs: bool
    skew: float
    database: bool
    disk: str
    reader: bool
    cold: frozenset[int]
    steps: tuple[Step, ...]

    @property
    def own_database(self) -> bool:
        """Whether a fault hits the database server itself."""
        return any(step.fault in MORTAL for step in self.steps)

    def campaign(self) -> dict[str, Any]:
        """Return the campaign file's content."""
        profile = QUEUE_PROFILE if self.queue else YARD_PROFILE if self.yard else HERE
        return campaign(self.variant, self.mode, profile)


VARIANTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "static": {"engine": {"name": "moody-emt", "seconds": 0.5}},
        "relaxed": {
            "engine": {"name": "moody-emt", "seconds": 0.05},
            # So tight that a relaxation that was cut and went on ends with the same energy.
            "recipe": {"name": "relax", "fmax": 0.001},
        },
        "failing": {
            "engine": {
                "name": "moody-emt",
                "seconds": 0.5,
                "fails": ["AuCu3", "Au2Cu"],
                "nan": ["Au2Cu2"],
            }
        },
        "espresso": {
            "engine": {
                "name": "espresso",
                "pseudopotentials": {"Cu": "Cu.UPF", "Au": "Au.UPF"},
                "ecutwfc": 12,
                "kspacing": 1.0,
            }
        },
    }
)
"""Campaigns; engine faults are drawn by structure, so they are the same in each run."""
PW_FAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "seconds": 0.3,
        "shares": {"segfault": 0.1, "crash-file": 0.1, "forks": 0.2, "needs-calm": 0.2},
        "formulas": {"AuCu3": ["killed", 1], "Cu": ["segfault", 1], "Au": ""},
    }
)
"""What the stand-in for pw.x does to structures; without its elements a campaign rests."""


def campaign(variant: str, mode: str = "batch", profile: str = HERE) -> dict[str, Any]:
    """Return the campaign file's content of a variant."""
    compute = {"workers": WORKERS, "mode": mode, "cuts": 100, "profile": profile}
    return {
        "name": "chaos",
        "candidates": [
            {"source": "orderings", "lattice": "fcc", "elements": ["Cu", "Au"], "max_atoms": 4}
        ],
        "acquisition": {"batch": 4},
        "start": {"random": 4},
        "compute": compute,
        "stop": {"expected_missed": None, "calculations": BUDGET},
        **VARIANTS[variant],
    }


def drawn(seed: int) -> Plan:
    """Return the plan of a seed."""
    chance = random.Random(seed)
    queue, short_jobs = _queue(seed)
    own_server = chance.random() < OWN_SERVER
    yard = chance.random() < YARD and not queue
    database = chance.random() < DATABASE
    disk = chance.choice(("store", "calculations")) if chance.random() < DISK else ""
    disk = "" if queue else disk
    weights = {
        **WEIGHTS,
        **(SERVER_WEIGHTS if own_server else {}),
        **(QUEUE_WEIGHTS if queue else {}),
        **(YARD_WEIGHTS if yard else {}),
        **(DATABASE_WEIGHTS if database else {}),
        **(DISK_WEIGHTS if disk else {}),
    }
    return Plan(
        seed=seed,
        variant=chance.choice(sorted(VARIANTS)),
        mode="steady" if chance.random() < STEADY else "batch",
        own_server=own_server,
        yard=yard,
        queue=queue,
        short_jobs=short_jobs,
        skew=chance.choice((-3600.0, 3600.0)) if chance.random() < SKEWED else 0.0,
        database=database,
        disk=disk,
        reader=chance.random() < 0.5,
        cold=frozenset(run for run in range(20) if chance.random() < COLD),
        steps=tuple(_step(chance, weights) for _ in range(chance.randint(3, 5))),
    )


def _queue(seed: int) -> tuple[str, bool]:
    """Say how a plan uses a queue, by a chance of its own: all other plans stay as they are."""
    turn, place = divmod(seed, QUEUE)
    if place != QUEUE // 2:
        return "", False
    way = ("workers", "jobs")[turn % 2]
    return way, way == "workers" and random.Random(f"jobs of {seed}").random() < SHORT_JOBS


def _step(chance: random.Random, weights: Mapping[str, int]) -> Step:
    (fault,) = chance.choices(list(weights), list(weights.values()))
    return Step(
        fault=fault,
        lines=chance.randint(1, 6),
        pause=round(chance.uniform(0, 0.5), 3),
        draw=chance.random(),
        seconds=round(chance.uniform(1, 6), 1),
        overlaps=chance.random() < 0.5,
    )
