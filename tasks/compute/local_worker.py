"""A Dask worker of a cluster that leadline opens: one process, one calculation at a time.

Run as ``python -m leadline.tasks.compute.local_worker`` with one JSON line on
standard input, which stays open: when it closes, the driver is gone or done,
and the worker ends at once; its engines end with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from threading import Thread
from types import MappingProxyType
from typing import Any

import dask
from distributed import Worker
from distributed.security import Security

NOTHING: Mapping[str, Callable[[Worker], Any]] = MappingProxyType({})


async def serve(
    orders: dict[str, Any], says: Mapping[str, Callable[[Worker], Any]] = NOTHING
) -> None:
    """Work for the scheduler that the orders name, until it closes this worker.

    ``says`` is what the scheduler is told of this worker when it comes.
    """
    dask.config.set(orders["dask"])
    worker = Worker(
        orders["scheduler"],
        nthreads=1,
        name=orders["name"],
        local_directory=orders["directory"],
        security=Security(require_encryption=True, **orders["tls"]),
        host=orders.get("host"),
        interface=orders.get("interface"),
        death_timeout=orders.get("death_timeout"),
        startup_information=says,
        memory_limit=0,
        dashboard=False,
        silence_logs=logging.ERROR,
    )
    async with worker:
        await worker.finished()


def _end_with_driver() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    # Unbuffered: no reader may hold a lock that an ending interpreter wants.
    with open(0, "rb", buffering=0, closefd=False) as lines:
        given = json.loads(lines.readline())
    Thread(target=_end_with_driver, daemon=True).start()
    # Imported now, the first calculation need not wait for it.
    import leadline.tasks.compute.worker  # noqa: F401

    asyncio.run(serve(given))
