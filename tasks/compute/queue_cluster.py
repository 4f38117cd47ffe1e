"""A cluster of Dask workers in the jobs of a batch system, opened for a driver."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import distributed
from distributed.security import Security
from distributed.utils import get_ip

from leadline.tasks.compute.batch_queue import BatchQueue
from leadline.tasks.compute.crew import Crew
from leadline.tasks.compute.dispatcher import Dispatcher
from leadline.tasks.compute.left_over import OWNER, Driving
from leadline.tasks.compute.queue_settings import QueueCluster, Resources
from leadline.tasks.compute.queue_worker import CERTIFICATES
from leadline.tasks.compute.right_sizing import Need
from leadline.tasks.compute.roster import Roster
from leadline.tasks.compute.silence import quiet_scheduler

MODULE = "leadline.tasks.compute.queue_worker"
SEVERAL = 4
"""Calculations for which a worker's job asks for time, where it asks for less than it may."""


@contextmanager
def queue_cluster(
    queue: BatchQueue, driving: Driving
) -> Iterator[tuple[distributed.Client, Dispatcher, Crew]]:
    """Open a scheduler here and workers in batch jobs, and end all of it with the block.

    Parameters
    ----------
    queue
        The batch system; its folder is one that the nodes see under the same path.
    driving
        Who the driver is, and who was it before.

    Raises
    ------
    ComputeError
        If the folder cannot be written.
    """
    settings, folder = queue.settings, queue.folder
    folder.mkdir(parents=True, exist_ok=True)
    security = Security.temporary()
    roster = Roster(settings.resources)
    with ExitStack() as stack:
        tls = stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="tls-"))
        _write_certificates(security, Path(tls), driving.owner)
        stack.enter_context(quiet_scheduler())
        scheduler = stack.enter_context(
            distributed.LocalCluster(
                n_workers=0,
                host=None if settings.interface else get_ip(),
                interface=settings.interface,
                security=security,
                # Dask opens a port for its own health in any case.
                dashboard_address=settings.dashboard or "127.0.0.1:0",
                scheduler_kwargs={"dashboard": settings.dashboard is not None},
                silence_logs=logging.CRITICAL,  # what became of a worker, its calculation says
            )
        )
        scheduler.scheduler.add_plugin(roster)
        client = stack.enter_context(
            distributed.Client(scheduler, security=security, set_as_default=False)
        )
        address = scheduler.scheduler_address

        def submit(name: str, need: Need) -> str:
            asked = need.within(settings.resources, settings.margin, SEVERAL)
            options = _options(settings, asked, tls)
            return queue.submit(MODULE, address, name, options, asked)

        crew = Crew(
            queue,
            roster,
            submit=submit,
            dismiss=lambda worker: client.loop.add_callback(
                scheduler.scheduler.close_worker, worker
            ),
            driving=driving,
        )
        with crew.at_work():
            yield client, Dispatcher(client, roster=roster, queue=queue), crew


def _options(settings: QueueCluster, asked: Resources, tls: str) -> list[str]:
    """Return what a worker is told, which is what it tells the driver when it comes."""
    return [
        *("--tls", tls, "--walltime", f"{asked.walltime:.0f}", "--memory", f"{asked.memory:.0f}"),
        *("--margin", f"{settings.margin:.0f}"),
        *(("--interface", settings.interface) if settings.interface else ()),
    ]


def _write_certificates(security: Security, folder: Path, owner: str) -> None:
    """Write what a worker needs, for nobody but this user to read."""
    for key, name in CERTIFICATES.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_text(getattr(security, key), encoding="utf-8")
    (folder / OWNER).write_text(owner, encoding="utf-8")
