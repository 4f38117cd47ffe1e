"""What other libraries log to the console while leadline shows its own progress."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import prefect.main  # noqa: F401  sets up Prefect's logging, which then stays as it is
from prefect.exceptions import CancelledRun
from prefect.logging.handlers import PrefectConsoleHandler

from leadline.flows.terminal_logging import all_handlers
from leadline.tasks.errors import LeaseError, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUNS = ("prefect.flow_runs", "prefect.task_runs")
"""Loggers that tell how a run ended."""
_ENGINES = ("prefect.flow_runs", "prefect.engine")
"""Loggers of the process that Prefect starts for a run of a deployment."""
_SENDERS = ("prefect.events", "prefect._internal", "websockets", "EventsWorker", "APILogWorker")
"""Loggers of what carries events and logs to Prefect's server."""


@contextmanager
def quiet_prefect() -> Iterator[None]:
    """Let Prefect print warnings alone: it has a line for every calculation.

    Nor does it print how runs fail, with a traceback for each: leadline says so
    itself. What it sends to its server is left as it is.
    """
    handlers = [each for each in all_handlers() if isinstance(each, PrefectConsoleHandler)]
    before = [(each, each.level) for each in handlers]
    for handler in handlers:
        handler.setLevel(max(handler.level, logging.WARNING))
        handler.addFilter(_says_no_run_failed)
    try:
        yield
    finally:
        for handler, level in before:
            handler.setLevel(level)
            handler.removeFilter(_says_no_run_failed)


@contextmanager
def quiet_senders() -> Iterator[None]:
    """Keep off the console what Prefect says of a server that it cannot reach.

    It prints every event that it could not send, with tracebacks between; leadline
    says once that the server is away, and at the end what it does not know.
    """
    handlers = [each for each in all_handlers() if isinstance(each, logging.StreamHandler)]
    raising, logging.raiseExceptions = logging.raiseExceptions, False  # logs that cannot be sent
    for handler in handlers:
        handler.addFilter(_is_of_no_sender)
    try:
        yield
    finally:
        logging.raiseExceptions = raising
        for handler in handlers:
            handler.removeFilter(_is_of_no_sender)


def leave_to_states() -> None:
    """Have Prefect log no traceback of what ends a run in a state that says all of it."""
    for name in _ENGINES:
        logging.getLogger(name).addFilter(_says_more_than_a_state)


def _says_more_than_a_state(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (LeaseError, StoreLockedError, CancelledRun))


def _says_no_run_failed(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR or not record.name.startswith(_RUNS)


def _is_of_no_sender(record: logging.LogRecord) -> bool:
    return not record.name.startswith(_SENDERS)
