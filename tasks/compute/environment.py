"""What a worker and its engines may know of the driver's environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

_OF_THE_DRIVERS_JOB = ("SBATCH_", "SALLOC_", "SQUEUE_", "SCANCEL_", "SLURM_")
_OF_THE_SITE = ("SLURM_CONF", "SLURM_CLUSTERS")


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a worker and its engines may know: no way to Prefect or to a database.

    They need none, and an engine that prints its environment, as launchers of MPI do
    when they fail, would leave the passwords in its raw files.
    """
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PREFECT_") and not re.match(r"mongodb(\+srv)?://", value)
    }


def for_commands(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the commands of a batch system, and so its jobs, may know of the driver.

    Slurm reads its options from variables, too: those of a driver that is itself a job, or
    of a person's own jobs, would change ours and what we read of the queue.
    """
    return {
        name: value
        for name, value in without_secrets(environment).items()
        if name in _OF_THE_SITE or not name.startswith(_OF_THE_DRIVERS_JOB)
    }
