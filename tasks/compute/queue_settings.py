"""What a machine profile says of a batch system: its name, and what one calculation needs.

The resources are given once; ``batch_systems`` says them in the words of each system.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from leadline.tasks.quantities import Bytes, Seconds

JOBS = "batch-jobs"
"""Folder of what belongs to batch jobs, under that of the calculations."""
SYSTEMS = Literal["slurm", "pbs", "sge", "lsf", "oar", "htcondor"]


class Resources(BaseModel):
    """What one calculation needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: int = Field(default=1, ge=1)
    """Nodes."""
    ranks: int = Field(default=1, ge=1)
    """MPI processes over all nodes; what ``{ranks}`` in an engine's launcher becomes."""
    threads: int = Field(default=1, ge=1)
    """OpenMP threads of each process."""
    gpus: int = Field(default=0, ge=0)
    """GPUs of each node."""
    memory: Bytes = Field(default=4e9, gt=0)
    """Memory of each node: bytes, or e.g. ``32 GB``."""
    walltime: Seconds = Field(default=3600.0, ge=60)
    """Time of one batch job, which may hold several calculations: seconds, or e.g. ``12 h``."""

    @model_validator(mode="after")
    def _ranks_fill_nodes(self) -> Self:
        if self.ranks % self.nodes:
            raise ValueError(
                f"found {self.ranks} ranks on {self.nodes} nodes; allowed: as many on each node"
            )
        return self

    @property
    def cores(self) -> int:
        """Cores of each node."""
        return self.ranks // self.nodes * self.threads


class QueueCluster(BaseModel):
    """A batch system: calculations run in its jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SYSTEMS
    """Which one."""
    way: Literal["workers", "jobs"] = "workers"
    """``workers``: jobs hold Dask workers, each for many calculations, and end with the driver.
    ``jobs``: each calculation is a job of its own, which goes on when the driver ends."""
    jobs: int = Field(default=4, ge=1)
    """Batch jobs at a time, those that wait included: as many calculations at once."""
    resources: Resources = Resources()
    queue: str | None = None
    """Queue or partition; None takes the system's default."""
    account: str | None = None
    """Account or project that pays."""
    directives: tuple[str, ...] = ()
    """Further directives of the system, without its prefix, e.g. ``--exclusive``."""
    prologue: tuple[str, ...] = ()
    """Lines of shell before the worker starts, e.g. ``module load espresso``."""
    interface: str | None = None
    """Network interface by which jobs reach the driver, e.g. ``ib0``; None takes the default."""
    python: str | None = None
    """Interpreter on the nodes; None takes the driver's own path."""
    scratch: Path | None = None
    """Folder on the nodes for the workers' own files; None takes the temporary folder."""
    parallel_environment: str = "mpi"
    """sge: parallel environment that grants more than one slot."""
    disk: Bytes = Field(default=10e9, gt=0)
    """htcondor: disk of one job: bytes, or e.g. ``10 GB``."""
    margin: Seconds = Field(default=60.0, ge=5)
    """Seconds before a job's end at which its engine is ended, so that all is written."""
    idle: Seconds = Field(default=600.0, ge=0)
    """Seconds after which a worker that has nothing to do gives its job back."""
    poll: Seconds = Field(default=15.0, gt=0)
    """Seconds between two looks at the queue."""
    dashboard: str | None = "127.0.0.1:0"
    """Address of the Dask dashboard; port 0 takes a free one; None shows none."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.kind == "htcondor" and self.resources.nodes > 1:
            raise ValueError(
                f"found resources.nodes {self.resources.nodes} with htcondor, whose jobs run on "
                "one node; allowed: 1"
            )
        if self.resources.walltime <= 2 * self.margin:
            raise ValueError(
                f"found a walltime of {self.resources.walltime:g} s and a margin of "
                f"{self.margin:g} s; allowed: a walltime more than twice the margin"
            )
        return self
