"""What other libraries log to the console while leadline shows its own progress."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import prefect.main  # noqa: F401  sets up Prefect's logging, which then stays as it is
from prefect.logging.handlers import PrefectConsoleHandler

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet_prefect() -> Iterator[None]:
    """Let Prefect print warnings alone: it has a line for every calculation.

    What it sends to its server is left as it is.
    """
    handlers = [each for each in _handlers() if isinstance(each, PrefectConsoleHandler)]
    before = [(each, each.level) for each in handlers]
    for handler in handlers:
        handler.setLevel(max(handler.level, logging.WARNING))
    try:
        yield
    finally:
        for handler, level in before:
            handler.setLevel(level)


@contextmanager
def through_stderr() -> Iterator[None]:
    """Have handlers that hold the terminal itself write to ``sys.stderr`` instead.

    Inside a live display ``sys.stderr`` prints above the display; a handler made
    before holds the terminal and would write across it.
    """
    terminal = (sys.__stdout__, sys.__stderr__)
    held = [
        (each, each.stream)
        for each in _handlers()
        if isinstance(each, logging.StreamHandler) and each.stream in terminal
    ]
    for handler, _ in held:
        _point(handler, sys.stderr)
    try:
        yield
    finally:
        for handler, stream in held:
            _point(handler, stream)


def _point(handler: logging.StreamHandler[Any], stream: Any) -> None:
    handler.setStream(stream)
    if isinstance(handler, PrefectConsoleHandler):
        handler.console.file = stream


def _handlers() -> list[logging.Handler]:
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    found = (each.handlers for each in loggers if isinstance(each, logging.Logger))
    return list(dict.fromkeys(handler for handlers in found for handler in handlers))
