"""Clusters: where calculations run, opened for a driver as a Dask client."""

from __future__ import annotations

import logging
import tempfile
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
import distributed
from distributed.security import Security

from leadline.tasks.compute import worker
from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.dispatcher import Dispatch, Dispatcher
from leadline.tasks.compute.job_dispatcher import JobDispatcher, open_jobs
from leadline.tasks.compute.left_over import Driving
from leadline.tasks.compute.local_cluster import LocalWorker, local_cluster
from leadline.tasks.compute.profile import AnyCluster, Profile, SchedulerCluster
from leadline.tasks.compute.queue_cluster import queue_cluster
from leadline.tasks.compute.queue_settings import JOBS, QueueCluster
from leadline.tasks.compute.resource_classes import ResourceClass, SizedDispatcher
from leadline.tasks.compute.silence import warnings_alone
from leadline.tasks.errors import ComputeError
from leadline.tasks.store.owner import this_process

QUIET = {
    "distributed.scheduler.allowed-failures": 0,  # a lost worker is the driver's to judge
    "distributed.scheduler.work-stealing": False,  # a claimed calculation stays where it is
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,
}


def _at_will(workers: int) -> int:
    """Return what is asked for: where each calculation is a batch job, nothing is opened."""
    return workers


@dataclass(frozen=True)
class Cluster:
    """An open cluster.

    Parameters
    ----------
    client
        The Dask client; None where each calculation is a batch job of its own.
    dispatcher
        Sends calculations to its workers.
    dashboard
        Address of the Dask dashboard, or None.
    notes
        What a person should know of it, one sentence each.
    kept
        The workers that are started again when they die; none on a scheduler that already runs.
    jobs
        Batch jobs that it may have; None where its workers are there already.
    """

    client: Any
    dispatcher: Dispatch
    dashboard: str | None
    notes: tuple[str, ...] = ()
    kept: Sequence[LocalWorker] = ()
    jobs: int | None = None
    hire: Callable[[int], int] = _at_will
    """Asks for so many calculations at a time, and returns how many there can be."""
    rehearse: Callable[[], str] = str
    """Asks whether a batch system would take a job, and submits none; see ``BatchQueue``."""

    def resized(self, workers: int) -> int:
        """Let so many calculations run at a time; return how many that can be in all.

        More workers are opened where the cluster is ours. Fewer leave some without work.
        """
        return self.hire(workers)

    @property
    def slots(self) -> int:
        """How many calculations can run at a time."""
        return self.jobs or sum(self.client.nthreads().values())

    @property
    def capacity(self) -> int:
        """How many calculations can run at a time once each worker is up that was opened."""
        return len(self.kept) or self.slots

    def leave_when(self, asked: Callable[[], bool]) -> None:
        """Let batch jobs of one calculation each go on without this driver, once it is asked."""
        if isinstance(self.dispatcher, JobDispatcher):
            self.dispatcher.leaves = asked

    @property
    def outlives_limits(self) -> bool:
        """Whether what was started goes on when a run has reached its limit."""
        return isinstance(self.dispatcher, JobDispatcher)

    def given_up(self) -> tuple[str, ...]:
        """Return a sentence for each worker that is not started again; they get no fewer."""
        return tuple(each.given_up for each in self.kept if each.given_up)

    @property
    def parts(self) -> tuple[Cluster, ...]:
        """The clusters that it is made of: itself."""
        return (self,)


@dataclass(frozen=True)
class Clusters(Cluster):
    """The clusters of a campaign whose cells go to several, by their size.

    Parameters
    ----------
    clusters
        From the one for the smallest cells up.
    """

    clusters: tuple[Cluster, ...] = ()

    @property
    def parts(self) -> tuple[Cluster, ...]:
        """The clusters that it is made of."""
        return self.clusters

    def resized(self, workers: int) -> int:
        """Let so many calculations run at a time on the cluster for the smallest cells."""
        first, *larger = self.clusters
        return first.resized(workers) + sum(each.capacity for each in larger)

    def given_up(self) -> tuple[str, ...]:
        """Return a sentence for each worker that is not started again; they get no fewer."""
        return tuple(words for each in self.clusters for words in each.given_up())

    @property
    def slots(self) -> int:
        """How many calculations can run at a time on all of them."""
        return sum(each.slots for each in self.clusters)

    @property
    def capacity(self) -> int:
        """How many calculations can run at a time once each worker is up that was opened."""
        return sum(each.capacity for each in self.clusters)

    def leave_when(self, asked: Callable[[], bool]) -> None:
        """Let batch jobs of one calculation each go on without this driver, once it is asked."""
        for each in self.clusters:
            each.leave_when(asked)

    @property
    def outlives_limits(self) -> bool:
        """Whether all that was started goes on when a run has reached its limit."""
        return all(each.outlives_limits for each in self.clusters)


@contextmanager
def open_cluster(
    profile: Profile,
    workers: int | None = None,
    root: Path | None = None,
    driving: Driving | None = None,
) -> Iterator[Cluster]:
    """Open the clusters of a profile, and close what was opened at the end.

    Parameters
    ----------
    profile
        The machine.
    workers
        Calculations at a time on the cluster for the smallest cells; None takes the
        profile's number. A scheduler that already runs has the workers that it has.
    root
        Folder of calculations; a batch system needs it.
    driving
        Who drives the campaign, and who did before; None where there is none.

    Raises
    ------
    ComputeError
        If no scheduler or no worker answers in time; the message says which.
    """
    with dask.config.set({**QUIET, **profile.dask}), warnings_alone(), ExitStack() as stack:
        driving = driving or Driving(this_process())
        first = stack.enter_context(_opened(profile, profile.cluster, workers, root, driving))
        if not profile.larger:
            yield first
            return
        more = [
            stack.enter_context(_opened(profile, each.cluster, None, root, driving))
            for each in profile.larger
        ]
        yield _sized(profile, [first, *more])


def _sized(profile: Profile, clusters: list[Cluster]) -> Clusters:
    """Return several clusters as one, which sends each calculation to its own."""
    first = clusters[0]
    settings = [(0, profile.cluster), *((each.above, each.cluster) for each in profile.larger)]
    classes = [
        ResourceClass(above, cluster.dispatcher, partial(profile.site, cluster=of))
        for (above, of), cluster in zip(settings, clusters, strict=True)
    ]
    return Clusters(
        client=first.client,
        dispatcher=SizedDispatcher(classes),
        dashboard=next((each.dashboard for each in clusters if each.dashboard), None),
        notes=tuple(note for each in clusters for note in each.notes),
        clusters=tuple(clusters),
    )


@contextmanager
def _opened(
    profile: Profile,
    settings: AnyCluster,
    workers: int | None,
    root: Path | None,
    driving: Driving,
) -> Iterator[Cluster]:
    if isinstance(settings, SchedulerCluster):
        with _existing(settings) as cluster:
            yield cluster
    elif isinstance(settings, QueueCluster):
        with _queued(settings, workers, root, driving) as cluster:
            yield cluster
    else:
        dask_settings = {**QUIET, **profile.dask}
        with local_cluster(settings, workers, dask_settings) as (client, crew):
            link = client.dashboard_link if settings.dashboard else None
            yield Cluster(client, Dispatcher(client), link, kept=crew.hands, hire=crew.hire)


def check_shared_folder(client: distributed.Client, folder: Path) -> int:
    """Prove that driver and workers see one folder, both ways, and that it can hard link.

    Returns
    -------
    int
        How many workers were asked.

    Raises
    ------
    ComputeError
        If a worker does not see what the driver writes, the other way round, or
        cannot make the hard links by which attempts exclude each other.
    """
    token = uuid4().hex
    with _scratch(folder) as here:
        (here / "token").write_text(token, encoding="utf-8")
        answers = client.run(worker.exchange_token, str(here / "token"), on_error="return")
        links = [path for path in here.iterdir() if path.name.endswith(".link")]
        seen = [path.read_text(encoding="utf-8") for path in links]
    wrong = {name: answer for name, answer in answers.items() if answer != token}
    if wrong:
        name, answer = next(iter(wrong.items()))
        raise ComputeError(
            f"{len(wrong)} of {len(answers)} workers cannot share {folder} with the driver; "
            f"{name} answered: {answer!r}. Name a folder under `calculations:` of the profile "
            "that all see under one path and that allows hard links"
        )
    if answers and set(seen) != {token}:
        raise ComputeError(
            f"the driver does not see what workers write into {folder}: they see another folder "
            "under that path; name one that all share under `calculations:` of the profile"
        )
    return len(answers)


@contextmanager
def _existing(settings: SchedulerCluster) -> Iterator[Cluster]:
    tls = settings.address.startswith("tls")
    security = _security(settings) if tls else None
    try:
        client = distributed.Client(
            settings.address, security=security, timeout=settings.timeout, set_as_default=False
        )
    except OSError as error:
        raise ComputeError(
            f"no Dask scheduler answers at {settings.address} within {settings.timeout:g} s "
            f"({error}); start one there, or set `cluster.address` of the profile"
        ) from None
    logging.getLogger("distributed.client").addFilter(_no_leaving)
    with client:
        _wait_for_any(client, settings)
        open_to_all = (
            f"{settings.address} runs whatever arrives there, from whoever can reach it: "
            "use tls:// and certificates"
        )
        notes = () if tls else (open_to_all,)
        yield Cluster(
            client,
            Dispatcher(client),
            client.dashboard_link or None,
            notes,
            hire=lambda workers: min(workers, sum(client.nthreads().values())),
        )


@contextmanager
def _queued(
    settings: QueueCluster, workers: int | None, root: Path | None, driving: Driving
) -> Iterator[Cluster]:
    if root is None:
        raise ComputeError("a batch system needs the folder of calculations, which its nodes see")
    jobs = workers or settings.jobs
    settings = settings.model_copy(update={"jobs": jobs})
    queue = BatchQueue(settings, root / JOBS)
    if settings.way == "jobs":
        yield Cluster(None, open_jobs(queue), None, jobs=jobs, rehearse=queue.rehearse)
        return
    with queue_cluster(queue, driving) as (client, dispatcher, crew):
        link = client.dashboard_link if settings.dashboard else None
        yield Cluster(
            client, dispatcher, link, jobs=jobs, hire=crew.resize, rehearse=queue.rehearse
        )


def _no_leaving(record: logging.LogRecord) -> bool:
    """Drop what Dask calls an error where a client is closed while it looks for its scheduler."""
    return record.exc_info is None or not isinstance(record.exc_info[1], CancelledError)


def _wait_for_any(client: distributed.Client, settings: SchedulerCluster) -> None:
    try:
        client.wait_for_workers(1, timeout=settings.timeout)
    except TimeoutError:
        raise ComputeError(
            f"the Dask scheduler at {settings.address} has no worker after {settings.timeout:g} s; "
            f"start some: `dask worker {settings.address} --nthreads 1`"
        ) from None


def _security(settings: SchedulerCluster) -> Security:
    for key in ("ca", "certificate", "key"):
        path = getattr(settings, key)
        if not path.is_file():
            raise ComputeError(f"cluster.{key} of the profile: there is no file {path}")
    return Security(
        require_encryption=True,
        tls_ca_file=str(settings.ca),
        tls_client_cert=str(settings.certificate),
        tls_client_key=str(settings.key),
    )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as here:
            yield Path(here)
    except OSError as error:
        raise ComputeError(
            f"the folder of calculations {folder} cannot be written: {error}"
        ) from None
