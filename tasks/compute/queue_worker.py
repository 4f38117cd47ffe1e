"""A Dask worker in a batch job: one calculation at a time, until the job's end is near.

Run by the script of a job as ``python -m leadline.tasks.compute.queue_worker SCHEDULER …``.
It ends when its scheduler does, which lives in the driver.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Worker

from leadline.tasks.compute import worker
from leadline.tasks.compute.local_worker import serve
from leadline.tasks.compute.roster import WALLTIME
from leadline.tasks.engines.compute import batch_job, job_age

CERTIFICATES = {"tls_ca_file": "ca.pem", "tls_worker_cert": "cert.pem", "tls_worker_key": "key.pem"}
"""Files of the folder that ``--tls`` names."""


def orders(options: Namespace) -> dict[str, Any]:
    """Return what the options say, as a worker is told."""
    folder = Path(options.tls)
    return {
        "scheduler": options.scheduler,
        "name": options.name,
        "directory": options.local_directory,
        "tls": {key: str(folder / name) for key, name in CERTIFICATES.items()},
        "interface": options.interface,
        "death_timeout": options.death_timeout,
        "dask": {},
    }


def introduction(given: Namespace, _: Worker) -> dict[str, Any]:
    """Return what the driver is told: the job, how long a calculation may take, what was asked."""
    asked = {"walltime": given.walltime, "memory": given.memory}
    return {"seconds": worker.seconds_left(), "job": batch_job() or "", "asked": asked}


def options(words: list[str]) -> Namespace:
    """Read what dask-jobqueue puts on the command line, and what we add."""
    parser = ArgumentParser(prog="leadline.tasks.compute.queue_worker")
    parser.add_argument("scheduler")
    for name in ("name", "tls", "interface", "local-directory"):
        parser.add_argument(f"--{name}")
    for name in ("walltime", "margin", "memory", "death-timeout"):
        parser.add_argument(f"--{name}", type=float)
    return parser.parse_known_args(words)[0]


if __name__ == "__main__":
    given = options(sys.argv[1:])
    if not Path(given.tls).is_dir():
        sys.exit(
            f"this node does not see {given.tls}: the folder of calculations must be on a disk "
            "that driver and nodes share; name one under `calculations:` of the profile"
        )
    worker.ends_in(given.walltime - given.margin - job_age())
    asyncio.run(serve(orders(given), {WALLTIME: partial(introduction, given)}))
