"""What libraries log to the terminal while a live display stands on it."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def through_stderr() -> Iterator[None]:
    """Have handlers that hold the terminal itself write to ``sys.stderr`` instead.

    Inside a live display ``sys.stderr`` prints above the display; a handler made
    before holds the terminal and would write across it.
    """
    terminal = (sys.__stdout__, sys.__stderr__)
    held = [
        (each, each.stream)
        for each in all_handlers()
        if isinstance(each, logging.StreamHandler) and each.stream in terminal
    ]
    for handler, _ in held:
        _point(handler, sys.stderr)
    try:
        yield
    finally:
        for handler, stream in held:
            _point(handler, stream)


def all_handlers() -> list[logging.Handler]:
    """Return the handlers of all loggers."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    found = (each.handlers for each in loggers if isinstance(each, logging.Logger))
    return list(dict.fromkeys(handler for handlers in found for handler in handlers))


def _point(handler: logging.StreamHandler[Any], stream: Any) -> None:
    handler.setStream(stream)
    console = getattr(handler, "console", None)  # as Prefect's handler has, which prints by it
    if isinstance(console, Console):
        console.file = stream
