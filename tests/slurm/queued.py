"""A cluster of the tests' own Slurm, and calculations on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from leadline.tasks.calculation import FailureKind, Request, Result
from leadline.tasks.compute.cluster import Cluster, open_cluster
from leadline.tasks.compute.profile import Profile
from leadline.tasks.compute.right_sizing import ANY, Need
from leadline.tasks.settings import validated

if TYPE_CHECKING:
    from tests.tasks.compute.conftest import Observer

NEED = {"memory": "300 MB", "walltime": "10 min"}
QUICK = {"poll": 1, "margin": 20, "interface": "lo", "dashboard": None}
Opening = Callable[..., Any]
"""Opens a cluster, with the settings that a test changes."""


def on_slurm(root: Path, way: str) -> Opening:
    """Return what opens a cluster of the Slurm that the environment names."""

    @contextmanager
    def opened(jobs: int = 1, need: dict[str, Any] = NEED, **changes: Any) -> Iterator[Cluster]:
        cluster = {"kind": "slurm", "way": way, "jobs": jobs, "resources": need}
        given = {"name": "queue", "cluster": {**cluster, **QUICK, **changes}}
        with open_cluster(validated(Profile, given, "profile"), root=root) as standing:
            yield standing

    return opened


def end(cluster: Cluster, request: Request, need: Need = ANY) -> Result:
    """Run a calculation to its end."""
    with cluster.dispatcher.run(request, lambda: False, need=need) as result:
        return result


def begun(
    pool: ThreadPoolExecutor, cluster: Cluster, request: Request, observe: Observer
) -> tuple[Future[Result], list[psutil.Process]]:
    """Begin a calculation; return what it will come to, and its engine's processes now."""
    coming = pool.submit(end, cluster, request)
    return coming, observe.acting(request)


def why(result: Result) -> tuple[FailureKind, str]:
    """Return whose fault it was that there is no answer, and the reason."""
    assert result.failure is not None, result
    return result.failure.kind, result.failure.reason
