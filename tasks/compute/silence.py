"""What Dask logs of clusters, kept from the terminal."""

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


@contextmanager
def warnings_alone() -> Iterator[None]:
    """Have Dask log no line for each worker and connection, whoever shows what it logs."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)
