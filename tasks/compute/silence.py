"""What Dask logs of the schedulers that we open, kept from the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_scheduler() -> Iterator[None]:
    """Drop what a scheduler in this process logs of lost workers: their calculations say it.

    ``silence_logs`` of a cluster reaches Dask's own handlers alone, and Prefect has others.
    """

    def is_critical(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.CRITICAL

    logger = logging.getLogger("distributed.scheduler")
    logger.addFilter(is_critical)
    try:
        yield
    finally:
        logger.removeFilter(is_critical)
